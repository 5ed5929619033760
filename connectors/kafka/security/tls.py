"""TLS towards the brokers: an `ssl.SSLContext` from settings, and one that follows the files it was made of.

kafka-python takes any object with `wrap_socket` for its `ssl_context`. `ReloadingContext` is one: for each
new connection it looks whether the settings or the files have changed, and loads them again if so. A
rotation that is half done (a certificate without its key) leaves the context as it was, with a warning.
"""

from __future__ import annotations

import logging
import os
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from connectors.kafka.configuration.properties import Value
from connectors.kafka.errors import InvalidProperty, SettingError

_LOG = logging.getLogger(__name__)

TRUST, TRUST_TEXT = "ssl.truststore.location", "ssl.truststore.certificates"
KEYS, KEYS_TEXT = "ssl.keystore.location", "ssl.keystore.certificate.chain"
_ORIGIN = "--command-config or --kafka-property"
_FILES = {"ssl_cafile": TRUST, "ssl_certfile": KEYS}
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def build_context(settings: Mapping[str, Value]) -> ssl.SSLContext:
    """A client's context; TLS 1.2 and 1.3, the system's authorities unless others are named.

    Raises InvalidProperty with the property at fault.
    """
    for argument, name in _FILES.items():
        _check_file(settings.get(argument), name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _limit_versions(context, settings)
    context.check_hostname = settings.get("ssl_check_hostname", True) is not False
    _trust(context, settings)
    _identify(context, settings)
    return context


def has_client_certificate(settings: Mapping[str, Value]) -> bool:
    """Whether a client certificate is configured."""
    return bool(settings.get("ssl_certfile") or settings.get("ssl_certdata"))


class ReloadingContext:
    """What kafka-python needs of an SSLContext, as new as the settings and files are at each connection."""

    def __init__(self, load: Callable[[], Mapping[str, Value]]) -> None:
        """`load` returns the settings as they are now."""
        self._load = load
        self._lock = threading.Lock()
        self._made_of: Any = None
        self._context: ssl.SSLContext | None = None

    def current(self) -> ssl.SSLContext:
        """The context for the next connection. Raises SettingError if there has never been a valid one."""
        with self._lock:
            try:
                settings = self._load()
                made_of = _fingerprint(settings)
                if self._context is None or made_of != self._made_of:
                    self._context, self._made_of = build_context(settings), made_of
            except SettingError as error:
                if self._context is None:
                    raise
                _LOG.warning("Going on with the TLS settings as they were: %s", error)
            return self._context

    def wrap_socket(self, sock: Any, **arguments: Any) -> ssl.SSLSocket:
        """`SSLContext.wrap_socket` of the current context."""
        return self.current().wrap_socket(sock, **arguments)


def _fingerprint(settings: Mapping[str, Value]) -> Any:
    """Changes with the settings and with the files that they name."""
    files: list[tuple[int, ...] | None] = []
    for argument in _FILES:
        file = settings.get(argument)
        if file:
            try:
                found = os.stat(str(file))  # noqa: PTH116 - follows the links of a mounted secret
                files.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                files.append(None)
    return sorted((name, str(value)) for name, value in settings.items() if name.startswith("ssl_")), files


def _limit_versions(context: ssl.SSLContext, settings: Mapping[str, Value]) -> None:
    named = str(settings.get("ssl_protocols") or settings.get("ssl_protocol") or "TLS")
    versions = sorted(_VERSIONS[name] for name in named.split(",") if name in _VERSIONS)
    # Java's ssl.protocol names the newest one only.
    if settings.get("ssl_protocols") and versions:
        context.minimum_version = versions[0]
    if versions:
        context.maximum_version = versions[-1]
    suites = settings.get("ssl_ciphers")
    if suites is not None:
        _limit_suites(context, str(suites))


def _limit_suites(context: ssl.SSLContext, suites: str) -> None:
    """Java's names, or OpenSSL's. Those of TLS 1.3 cannot be chosen in Python and are always offered."""
    wanted = [name.strip() for name in suites.replace(":", ",").split(",") if name.strip()]
    if not wanted:
        return
    older = [_openssl_name(name) for name in wanted if not _is_tls13(name)]
    if not older:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return
    try:
        context.set_ciphers(":".join(older))
    except ssl.SSLError:
        raise InvalidProperty("ssl.cipher.suites", _ORIGIN, "names no suite that OpenSSL knows") from None


def _is_tls13(name: str) -> bool:
    return name.startswith("TLS_") and "_WITH_" not in name


def _openssl_name(name: str) -> str:
    """TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 -> ECDHE-RSA-AES128-GCM-SHA256."""
    if "_WITH_" not in name:
        return name
    exchange, cipher = name.removeprefix("TLS_").split("_WITH_", 1)
    cipher = cipher.replace("AES_128", "AES128").replace("AES_256", "AES256")
    cipher = cipher.replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305").replace("_CBC", "")
    prefix = "" if exchange == "RSA" else f"{exchange}_"
    return f"{prefix}{cipher}".replace("_", "-")


def _check_file(file: Value, name: str) -> None:
    if file is None:
        return
    path = Path(str(file))
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InvalidProperty(name, _ORIGIN, f"there is no file {path}") from None
    except OSError as error:
        raise InvalidProperty(name, _ORIGIN, f"{path}: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        raise InvalidProperty(
            name,
            _ORIGIN,
            f"{path} is no PEM file; convert it with `keytool -importkeystore ... -deststoretype PKCS12` and "
            "`openssl pkcs12 -in FILE -out FILE.pem`",
        )


def _trust(context: ssl.SSLContext, settings: Mapping[str, Value]) -> None:
    file, text = settings.get("ssl_cafile"), settings.get("ssl_cadata")
    if file is None and text is None:
        context.load_default_certs()
        return
    name = TRUST if file is not None else TRUST_TEXT
    try:
        context.load_verify_locations(cafile=file, cadata=text)  # type: ignore[arg-type]
    except (ssl.SSLError, ValueError):
        raise InvalidProperty(name, _ORIGIN, "holds no certificate that can be read") from None


def _identify(context: ssl.SSLContext, settings: Mapping[str, Value]) -> None:
    """Load the client's certificate and key."""
    file, chain, key = (settings.get(name) for name in ("ssl_certfile", "ssl_certdata", "ssl_keydata"))
    if file is None and chain is None:
        return
    password = str(settings.get("ssl_password") or "")
    if file is not None:
        _load_chain(context, str(file), password, KEYS)
        return
    with tempfile.NamedTemporaryFile(prefix="medstream-", suffix=".pem") as store:  # OpenSSL reads files only
        store.write(f"{key}\n{chain}".encode())
        store.flush()
        _load_chain(context, store.name, password, KEYS_TEXT)


def _load_chain(context: ssl.SSLContext, file: str, password: str, name: str) -> None:
    asked = []

    def answer() -> str:  # always one: without, OpenSSL would ask at the terminal
        asked.append(True)
        return password

    try:
        context.load_cert_chain(file, password=answer)
    except ssl.SSLError as error:
        raise _key_problem(error.reason or "", name, password if asked else None) from None
    except ValueError:
        raise InvalidProperty("ssl.key.password", _ORIGIN, "is too long") from None


def _key_problem(reason: str, name: str, password: str | None) -> InvalidProperty:
    """`password`: what the key was tried with; None when OpenSSL did not ask for one."""
    if "MISMATCH" in reason:
        return InvalidProperty(name, _ORIGIN, "certificate and private key do not belong together")
    if password is not None:
        problem = "does not open the private key" if password else "is needed: the private key is encrypted"
        return InvalidProperty("ssl.key.password", _ORIGIN, problem)
    return InvalidProperty(name, _ORIGIN, "must hold the private key and its certificate chain, both as PEM")
