"""Java-style client properties, as every Kafka tool takes them, to settings. Pure.

`parse_properties` reads the text of a `.properties` file; `to_settings` translates names and values. The
names are those of Kafka's consumer, producer and admin client (4.4). One that is not in the table is refused:
with the nearest name, or with the reason why it has no effect here, so that no line of the file is without
effect.

Settings are kafka-python's keyword arguments and, for what it does not know, our own: `ssl_cadata`,
`ssl_certdata`, `ssl_keydata` (PEM text), `ssl_ciphers`, `ssl_protocols`, `oauth_...` and `iam_...`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.kafka.configuration.jaas import read_jaas
from connectors.kafka.configuration.refused_properties import reason_for_refusal
from connectors.kafka.errors import InvalidProperty, UnknownProperty

Value = str | int | bool | None

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM")


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


def _pem_only(value: str) -> Value:
    if value.upper() != "PEM":
        raise ValueError(
            "only PEM stores can be read; convert yours with `keytool -importkeystore ... "
            "-deststoretype PKCS12` and `openssl pkcs12 -in FILE -out FILE.pem`"
        )
    return None


def _pem(value: str) -> str:
    if "-----BEGIN" not in value:
        raise ValueError("must be PEM text (-----BEGIN ...)")
    return value + "\n"


def _protocols(value: str) -> str:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names or not set(names) <= set(TLS_PROTOCOLS):
        raise ValueError(f"must list some of {', '.join(TLS_PROTOCOLS)}; older ones are not offered")
    return ",".join(names)


def _token_url(value: str) -> str:
    if not re.match(r"(https?|file)://", value):
        raise ValueError("must be an https:// address, or file:///... for a file that holds the token")
    return value


def _class(*names: str) -> Callable[[str], Value]:
    """A Java class that does what happens here anyway; another one cannot be used."""

    def read(value: str) -> Value:
        if value.rsplit(".", 1)[-1] not in names:
            raise ValueError(f"classes of Java's client cannot be used; known are {', '.join(names)}")
        return None

    return read


TLS_PROTOCOLS = ("TLSv1.2", "TLSv1.3")
IAM_OVER_OAUTH = "IAMOAuthBearerLoginCallbackHandler"
_IGNORED = ""  # the value is checked, and says what is so anyway


def _login_handler(value: str) -> Value:
    _class("OAuthBearerLoginCallbackHandler", IAM_OVER_OAUTH)(value)
    return True if value.endswith(IAM_OVER_OAUTH) else None


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
    "security.protocol": Setting("security_protocol", _choice(*PROTOCOLS)),
    "send.buffer.bytes": Setting("send_buffer_bytes", _integer),
    # TLS
    "ssl.cipher.suites": Setting("ssl_ciphers", str),
    "ssl.enabled.protocols": Setting("ssl_protocols", _protocols),
    "ssl.endpoint.identification.algorithm": Setting("ssl_check_hostname", _hostname_check),
    "ssl.key.password": Setting("ssl_password", str),
    "ssl.keystore.certificate.chain": Setting("ssl_certdata", _pem),
    "ssl.keystore.key": Setting("ssl_keydata", _pem),
    "ssl.keystore.location": Setting("ssl_certfile", str),
    "ssl.keystore.type": Setting(_IGNORED, _pem_only),
    "ssl.protocol": Setting("ssl_protocol", _choice("TLS", *TLS_PROTOCOLS)),
    "ssl.truststore.certificates": Setting("ssl_cadata", _pem),
    "ssl.truststore.location": Setting("ssl_cafile", str),
    "ssl.truststore.type": Setting(_IGNORED, _pem_only),
    # SASL
    "sasl.client.callback.handler.class": Setting(
        _IGNORED, _class("IAMClientCallbackHandler", IAM_OVER_OAUTH)
    ),
    "sasl.login.callback.handler.class": Setting("iam_over_oauth", _login_handler),
    "sasl.login.connect.timeout.ms": Setting("oauth_connect_timeout_ms", _integer),
    "sasl.login.read.timeout.ms": Setting("oauth_read_timeout_ms", _integer),
    "sasl.mechanism": Setting("sasl_mechanism", _choice(*MECHANISMS)),
    "sasl.oauthbearer.client.credentials.client.id": Setting("oauth_client_id", str),
    "sasl.oauthbearer.client.credentials.client.secret": Setting("oauth_client_secret", str),
    "sasl.oauthbearer.header.urlencode": Setting("oauth_header_urlencode", _boolean),
    "sasl.oauthbearer.jwt.retriever.class": Setting(
        _IGNORED, _class("DefaultJwtRetriever", "ClientCredentialsJwtRetriever", "FileJwtRetriever")
    ),
    "sasl.oauthbearer.scope": Setting("oauth_scope", str),
    "sasl.oauthbearer.token.endpoint.url": Setting("oauth_token_url", _token_url),
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
    "transaction.timeout.ms": Setting("transaction_timeout_ms", _integer),
}

_JAAS = "sasl.jaas.config"
_SECRETS = ("sasl.oauthbearer.client.credentials.client.secret", "ssl.key.password", "ssl.keystore.key")
NAMES = tuple(sorted({*TABLE, _JAAS, "config.providers"}))


def is_secret(name: str, value: str) -> bool:
    """Whether nobody may see the value: a password or a key itself, not a reference to where it is."""
    if "${" in value:
        return False
    return name in _SECRETS or (name == _JAAS and re.search(r"(?i)(password|secret)\s*=", value) is not None)


def to_settings(properties: Mapping[str, str], origin: str) -> dict[str, Value]:
    """Settings for the properties; `origin` is where they stand, for messages.

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
    return settings


def _read(name: str, value: str) -> Mapping[str, Value]:
    """Settings of one property. Raises ValueError with what is wrong, LookupError for an unknown name."""
    reason = reason_for_refusal(name)
    if reason is not None:
        raise ValueError(f"is not taken here: {reason}")
    if name == _JAAS:
        return read_jaas(value)
    setting = TABLE[name]
    return {setting.argument: setting.read(value)} if setting.argument else _checked(setting.read(value))


def _checked(_: Value) -> dict[str, Value]:
    """A value that is right and changes nothing."""
    return {}
