"""How to reach a schema registry, as one value that travels to the workers. Pure.

`registry_settings` reads the names that Confluent's Java clients use. Secrets come from a properties file or
the environment, never from a URL, and stay out of `repr` and of every message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import RegistrySettingError
from schemas.loopback import is_loopback
from schemas.subjects import read_strategy

URL = "schema.registry.url"
URL_OPTION = "--schema-registry-url"
USER_INFO = "basic.auth.user.info"
TOKEN = "bearer.auth.token"  # noqa: S105 - the name of a property
STRATEGY = "value.subject.name.strategy"
AUTO_REGISTER = "auto.register.schemas"

_PREFIX = "schema.registry."
_CLIENT_SETTINGS = ("basic.auth.", "bearer.auth.", "ssl.")  # these may carry the prefix, as Java's do


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """`urls` are tried in turn; PEM files must be on every worker. Picklable and hashable.

    `client_certificate_file` holds the certificate chain and its key. `deadline_seconds` bounds one request
    with all its retries, `timeout_seconds` one attempt.
    """

    urls: tuple[str, ...]
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    client_certificate_file: str | None = None
    key_password: str | None = field(default=None, repr=False)
    check_hostname: bool = True
    timeout_seconds: float = 4.0
    deadline_seconds: float = 10.0

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""
        return tuple(secret for secret in (self.password, self.bearer_token, self.key_password) if secret)


@dataclass(frozen=True, slots=True)
class RegistryProperties:
    """What a properties file says: the registry, and how to use it (None: it does not say)."""

    registry: RegistrySettings
    subject_name_strategy: str | None = None
    auto_register: bool | None = None


def _boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def _seconds(value: str) -> float:
    if not value.isdecimal() or not int(value):
        raise ValueError("must be a number of milliseconds above 0")
    return int(value) / 1000


def _user_info(value: str) -> tuple[str, str]:
    user, separator, password = value.partition(":")
    if not separator:
        raise ValueError("must be user:password")
    return user, password


def _token(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be a token without blanks")
    return value


def _only(*allowed: str, remedy: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value.upper() not in allowed:
            raise ValueError(f"only {', '.join(allowed)} is supported; {remedy}")

    return check


def _hostname_check(value: str) -> bool:
    if value not in ("https", ""):
        raise ValueError("must be https, or empty for no check")
    return value == "https"


_PEM = _only("PEM", remedy="convert it with keytool and `openssl pkcs12 -in FILE -out FILE.pem`")
_READERS: dict[str, Callable[[str], Any]] = {
    URL: lambda value: value,
    "basic.auth.credentials.source": _only("USER_INFO", remedy=f"give the credentials in {USER_INFO}"),
    USER_INFO: _user_info,
    "bearer.auth.credentials.source": _only("STATIC_TOKEN", remedy=f"give the token in {TOKEN}"),
    TOKEN: _token,
    "ssl.truststore.location": lambda value: value,
    "ssl.truststore.type": _PEM,
    "ssl.keystore.location": lambda value: value,
    "ssl.keystore.type": _PEM,
    "ssl.key.password": lambda value: value,
    "ssl.endpoint.identification.algorithm": _hostname_check,
    "http.read.timeout.ms": _seconds,
    STRATEGY: lambda value: value,
    AUTO_REGISTER: _boolean,
}
NAMES = tuple(sorted(_READERS))


def registry_settings(
    properties: Mapping[str, str], origin: str, *, url: str | None = None, insecure: bool = False
) -> RegistryProperties:
    """Validated settings from Java-style `properties`; `url` wins over theirs.

    `origin` is where the properties stand, for messages. `insecure` allows unencrypted connections beyond
    this machine. Raises RegistrySettingError.
    """
    read = _read(properties, origin)
    urls = _split_urls(url or read.get(URL), URL_OPTION if url else f"{URL} in {origin}", insecure=insecure)
    user, password = read.get(USER_INFO, (None, None))
    token = read.get(TOKEN)
    if user is not None and token is not None:
        raise RegistrySettingError(origin, f"{USER_INFO} and {TOKEN} exclude each other; remove one")
    settings = RegistrySettings(
        urls,
        user=user,
        password=password,
        bearer_token=token,
        ca_file=read.get("ssl.truststore.location"),
        client_certificate_file=read.get("ssl.keystore.location"),
        key_password=read.get("ssl.key.password"),
        check_hostname=read.get("ssl.endpoint.identification.algorithm", True),
        timeout_seconds=read.get("http.read.timeout.ms", 4.0),
    )
    strategy = read.get(STRATEGY)
    return RegistryProperties(
        settings,
        None if strategy is None else read_strategy(strategy, f"{STRATEGY} in {origin}"),
        read.get(AUTO_REGISTER),
    )


def _read(properties: Mapping[str, str], origin: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for given, value in properties.items():
        name = given
        if given.startswith(_PREFIX) and given.removeprefix(_PREFIX).startswith(_CLIENT_SETTINGS):
            name = given.removeprefix(_PREFIX)
        if name not in _READERS:
            raise RegistrySettingError.unknown(given, origin, NAMES)
        try:
            found[name] = _READERS[name](value.strip())
        except ValueError as error:  # of ours: it never quotes the value
            raise RegistrySettingError(origin, f"{given} {error}") from None
    return found


def _split_urls(value: str | None, setting: str, *, insecure: bool) -> tuple[str, ...]:
    urls = tuple(url.strip().rstrip("/") for url in (value or "").split(",") if url.strip())
    if not urls:
        raise RegistrySettingError(URL_OPTION, f"no address; set it, or {URL} in --schema-registry-config")
    for url in urls:
        _check_url(url, setting, insecure=insecure)
    return urls


def _check_url(url: str, setting: str, *, insecure: bool) -> None:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise RegistrySettingError(
            setting, f"the address holds credentials; give them as {USER_INFO} in --schema-registry-config"
        )
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise RegistrySettingError(setting, f"{url!r} is no address; expected http(s)://host[:port][/path]")
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        raise RegistrySettingError(
            setting,
            f"{url} is not encrypted, and what it answers decides how patients' records are read; "
            "use https, or accept it with --insecure",
        )
