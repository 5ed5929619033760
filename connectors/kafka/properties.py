"""Java-style client properties, as every Kafka tool takes them, to kafka-python's keyword arguments. Pure.

`parse_properties` reads the text of a `.properties` file; `to_settings` translates names and values. A
property that is not in the table is refused with the nearest name, and so is one that medstream sets
itself, so that no line of the file is without effect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.kafka.errors import InvalidProperty, UnknownProperty

Value = str | int | bool | None

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "AWS_MSK_IAM")


def parse_properties(text: str) -> dict[str, str]:
    """The names and values of a `.properties` file; a later line wins. Raises ValueError with the line at
    fault.

    Comments (# or !), the separators =, : and blank, continued lines and escapes are those of
    java.util.Properties.
    """
    properties: dict[str, str] = {}
    for number, line in _logical_lines(text):
        match = re.match(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", line, re.DOTALL)
        if match is None or not match[1]:
            raise ValueError(f"line {number} has no property name")
        try:
            properties[_unescape(match[1])] = _unescape(match[2])
        except ValueError:
            raise ValueError(f"line {number} has a broken \\u escape") from None
    return properties


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """(number of the first line, text) of each property, continued lines joined, comments and blanks left
    out.
    """
    lines: list[tuple[int, str]] = []
    open_line: tuple[int, str] | None = None
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        line = raw.lstrip(" \t\f")
        if open_line is None and (not line or line[0] in "#!"):
            continue
        start, joined = open_line or (number, "")
        joined += line
        if (len(joined) - len(joined.rstrip("\\"))) % 2:
            open_line = (start, joined[:-1])
        else:
            open_line = None
            lines.append((start, joined))
    if open_line is not None:
        lines.append(open_line)
    return lines


_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        escape = match[1]
        return chr(int(escape[1:], 16)) if len(escape) == 5 else _ESCAPES.get(escape, escape)

    if re.search(r"(?<!\\)(?:\\\\)*\\u(?![0-9A-Fa-f]{4})", text):
        raise ValueError("broken escape")
    return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", character, text, flags=re.DOTALL)


@dataclass(frozen=True, slots=True)
class Setting:
    """One property: the keyword arguments it becomes and how its value is read."""

    argument: str
    read: Callable[[str], Value]


def _integer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def _choice(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


def _codec(value: str) -> str | None:
    return None if value == "none" else _choice("gzip", "snappy", "lz4", "zstd")(value)


def _hostname_check(value: str) -> bool:
    return _choice("https", "")(value) == "https"


TABLE: dict[str, Setting] = {
    "client.dns.lookup": Setting(
        "client_dns_lookup", _choice("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only")
    ),
    "client.id": Setting("client_id", str),
    "client.rack": Setting("client_rack", str),
    "connections.max.idle.ms": Setting("connections_max_idle_ms", _integer),
    "metadata.max.age.ms": Setting("metadata_max_age_ms", _integer),
    "receive.buffer.bytes": Setting("receive_buffer_bytes", _integer),
    "reconnect.backoff.max.ms": Setting("reconnect_backoff_max_ms", _integer),
    "reconnect.backoff.ms": Setting("reconnect_backoff_ms", _integer),
    "request.timeout.ms": Setting("request_timeout_ms", _integer),
    "retry.backoff.ms": Setting("retry_backoff_ms", _integer),
    "sasl.kerberos.service.name": Setting("sasl_kerberos_service_name", str),
    "sasl.mechanism": Setting("sasl_mechanism", _choice(*MECHANISMS)),
    "security.protocol": Setting("security_protocol", _choice(*PROTOCOLS)),
    "send.buffer.bytes": Setting("send_buffer_bytes", _integer),
    "ssl.cipher.suites": Setting("ssl_ciphers", lambda value: value.replace(",", ":")),
    "ssl.endpoint.identification.algorithm": Setting("ssl_check_hostname", _hostname_check),
    "ssl.key.password": Setting("ssl_password", str),
    "ssl.keystore.location": Setting("ssl_certfile", str),
    "ssl.truststore.location": Setting("ssl_cafile", str),
    # readers
    "check.crcs": Setting("check_crcs", _boolean),
    "fetch.max.bytes": Setting("fetch_max_bytes", _integer),
    "fetch.max.wait.ms": Setting("fetch_max_wait_ms", _integer),
    "fetch.min.bytes": Setting("fetch_min_bytes", _integer),
    "isolation.level": Setting("isolation_level", _choice("read_committed", "read_uncommitted")),
    "max.partition.fetch.bytes": Setting("max_partition_fetch_bytes", _integer),
    # writers
    "batch.size": Setting("batch_size", _integer),
    "compression.type": Setting("compression_type", _codec),
    "delivery.timeout.ms": Setting("delivery_timeout_ms", _integer),
    "linger.ms": Setting("linger_ms", _integer),
    "max.block.ms": Setting("max_block_ms", _integer),
    "max.request.size": Setting("max_request_size", _integer),
}

SET_BY_MEDSTREAM: dict[str, str] = {
    "acks": "medstream always waits for all in-sync replicas",
    "auto.offset.reset": "use --start-from",
    "bootstrap.servers": "use --bootstrap-servers",
    "enable.auto.commit": "offsets are committed with Beam's checkpoints",
    "enable.idempotence": "medstream's producer is always idempotent",
    "group.id": "use --group-id",
    "key.deserializer": "medstream reads the bytes itself",
    "key.serializer": "medstream writes the bytes itself",
    "max.poll.records": "use the source's own limit",
    "transactional.id": "medstream names its transactions itself",
    "value.deserializer": "medstream reads the bytes itself",
    "value.serializer": "medstream writes the bytes itself",
}

_STORE_TYPES = ("ssl.keystore.type", "ssl.truststore.type")
_UNUSED_WITH_PEM = ("ssl.keystore.password", "ssl.truststore.password")
_JAAS = "sasl.jaas.config"
_LOGIN_MODULES = ("PlainLoginModule", "ScramLoginModule", "IAMLoginModule")
NAMES = tuple(sorted({*TABLE, _JAAS, *_STORE_TYPES}))


def to_settings(properties: Mapping[str, str], origin: str) -> dict[str, Value]:
    """kafka-python's keyword arguments for the properties; `origin` is where they stand, for messages.

    Raises UnknownProperty, InvalidProperty.
    """
    settings: dict[str, Value] = {}
    for name, raw in properties.items():
        try:
            settings.update(_read(name, raw.strip()))
        except ValueError as error:
            raise InvalidProperty(name, origin, str(error)) from None
        except LookupError:
            raise UnknownProperty(name, origin, NAMES) from None
    if "ssl_certfile" in settings:  # a PEM key store holds the key and its certificate chain
        settings["ssl_keyfile"] = settings["ssl_certfile"]
    return settings


def _read(name: str, value: str) -> dict[str, Value]:
    """Settings of one property. Raises ValueError with what is wrong, LookupError for an unknown name."""
    if name in SET_BY_MEDSTREAM:
        raise ValueError(f"is not taken here: {SET_BY_MEDSTREAM[name]}")
    if name == _JAAS:
        return _read_jaas(value)
    if name in _STORE_TYPES:
        if value.upper() != "PEM":
            raise ValueError(
                "only PEM stores can be read; convert yours with `keytool -importkeystore ... "
                "-deststoretype PKCS12` and `openssl pkcs12 -in FILE -out FILE.pem`"
            )
        return {}
    if name in _UNUSED_WITH_PEM:
        raise ValueError("PEM stores have no password; for an encrypted key use ssl.key.password")
    setting = TABLE[name]
    return {setting.argument: setting.read(value)}


def _read_jaas(value: str) -> dict[str, Value]:
    """Username and password of `org.apache.kafka...ScramLoginModule required username="u" password="p";`."""
    match = re.fullmatch(
        r"\s*([\w.$]+)\s+(?:required|requisite|sufficient|optional)\b(.*?);?\s*", value, re.DOTALL
    )
    if match is None:
        raise ValueError('must read `LOGIN_MODULE required username="..." password="...";`')
    module = match[1].rsplit(".", 1)[-1]
    if module not in _LOGIN_MODULES:
        raise ValueError(f"the login module must be one of {', '.join(_LOGIN_MODULES)}")
    if module == "IAMLoginModule":
        return {}
    options = {
        name: re.sub(r"\\(.)", r"\1", quoted) if quoted or not bare else bare
        for name, quoted, bare in re.findall(r'(\w+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s";]+))', match[2])
    }
    missing = [name for name in ("username", "password") if name not in options]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing")
    return {"sasl_plain_username": options["username"], "sasl_plain_password": options["password"]}
