"""Kafka clients from one validated, picklable configuration; the only place that constructs them.

`ClientConfig.build` merges a Java-style properties file (`--command-config`) with single properties
(`--kafka-property`), refuses what it does not know, and refuses to send patient data unencrypted over a
network. The factories add what medstream settles itself.

What the file holds does not travel with the configuration: a worker reads it at the same path, and reads it
anew for every client it opens and every connection that logs in, so that rotated credentials count.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kafka
import kafka.codec
from kafka import errors as kafka_errors

from connectors.kafka.client_logs import Observed, observing, pin_logger
from connectors.kafka.configuration.consistency import (
    ORIGIN,
    check_consistency,
    security_protocol,
    uses_sasl,
    uses_tls,
)
from connectors.kafka.configuration.properties import Value
from connectors.kafka.configuration.property_files import read_properties, settings_of
from connectors.kafka.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    InsecureConnection,
    InvalidBootstrapServers,
    InvalidProperty,
    KafkaConnectorError,
    NotAuthorized,
    SettingError,
    UnreadableCommandConfig,
)
from connectors.kafka.security.login import Login
from connectors.kafka.security.tls import ReloadingContext, build_context
from connectors.kafka.watched_consumer import WatchedConsumer
from schemas.loopback import is_loopback

pin_logger()

DEFAULT_PORT = 9092
ADVERTISED = "advertised.listeners of the brokers"

_DELIVERY_TIMEOUT_MS = 30_000
# Seconds, not kafka-python's 30: a broker that is back must be noticed.
_COMMON: dict[str, Value] = {
    "bootstrap_timeout_ms": 10_000,
    "client_id": "medstream",
    "reconnect_backoff_max_ms": 1_000,
}

Properties = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How to reach the cluster. Hashable and picklable; what may hold a password stays out of `repr`."""

    bootstrap_servers: str
    properties: Properties = field(default=(), repr=False)
    """Single properties; they win over the file's."""
    command_config: str | None = None
    """Absolute path of the properties file, read wherever a client is opened."""
    shipped: Properties | None = field(default=None, repr=False)
    """The file's contents for workers that do not have it; None unless asked for."""
    insecure: bool = False

    @classmethod
    def build(
        cls,
        bootstrap_servers: str,
        command_config: Path | None = None,
        properties: Mapping[str, str] | None = None,
        *,
        insecure: bool = False,
        ship: bool = False,
    ) -> ClientConfig:
        """Validated configuration; `properties` win over the file. Raises SettingError.

        With `ship` the file's contents travel with it, for workers without the file; secrets are among them.
        """
        if ship and command_config is None:
            raise SettingError("--ship-command-config has nothing to send without --command-config")
        servers = ",".join(f"{host}:{port}" for host, port in split_servers(bootstrap_servers))
        path = str(command_config.absolute()) if command_config is not None else None
        shipped = tuple(sorted(read_properties(path).items())) if ship and path is not None else None
        config = cls(servers, tuple(sorted((properties or {}).items())), path, shipped, insecure)
        settings = config.load()
        _check_codec(settings)
        if uses_tls(settings):
            build_context(settings)
        return config

    def load(self) -> dict[str, Value]:
        """The settings as files and environment are now (see `properties`). Raises SettingError."""
        settings = settings_of(self._in_file(), self.command_config, dict(self.properties))
        check_consistency(settings)
        self._check_encryption(settings)
        return settings

    @property
    def settings(self) -> tuple[tuple[str, Value], ...]:
        """`load()` as sorted pairs."""
        return tuple(sorted(self.load().items()))

    @property
    def username(self) -> str | None:
        """Name of the SASL user, if there is one."""
        value = self.load().get("sasl_plain_username")
        return str(value) if value is not None else None

    @property
    def delivery_timeout_seconds(self) -> float:
        """`delivery.timeout.ms`, as given or by default."""
        return float(self.load().get("delivery_timeout_ms") or _DELIVERY_TIMEOUT_MS) / 1000

    def consumer(self, **arguments: Any) -> Any:
        """A KafkaConsumer without group subscription, reading committed records only; its reads raise
        ReadStuck rather than wait for ever. Raises KafkaConnectorError.
        """
        defaults = {
            "enable_auto_commit": False,
            "auto_offset_reset": "none",  # an offset out of range is ours to report
            "allow_auto_create_topics": False,
            "isolation_level": "read_committed",
            "metrics_enabled": False,
        }
        return self._open(WatchedConsumer, defaults, arguments)

    def producer(self, **arguments: Any) -> Any:
        """An idempotent KafkaProducer, acks=all, 5 ms linger, 256 KiB batches. Raises KafkaConnectorError."""
        defaults = {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 5,
            "batch_size": 262_144,
            "delivery_timeout_ms": _DELIVERY_TIMEOUT_MS,
            "request_timeout_ms": 10_000,
            "max_block_ms": 10_000,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        return self._open(kafka.KafkaProducer, defaults, arguments)

    def admin(self, **arguments: Any) -> Any:
        """A KafkaAdminClient. Raises KafkaConnectorError."""
        return self._open(kafka.KafkaAdminClient, {}, arguments)

    def connection_arguments(self) -> dict[str, Any]:
        """Every argument of a kafka-python client that comes from the settings, TLS and login included.

        Raises SettingError: also when there is no token or no AWS credentials to log in with.
        """
        settings = self.load()
        own = ("ssl_", "oauth_", "iam_", "sasl_", "login_")
        arguments: dict[str, Any] = {
            name: value for name, value in settings.items() if not name.startswith(own)
        }
        if uses_tls(settings):
            arguments["ssl_context"] = tls = _context(self)
            tls.current()
        if uses_sasl(settings):
            arguments |= login_of(self).arguments()
        return arguments

    def map_error(self, error: Exception, observed: Observed | None = None) -> KafkaConnectorError:
        """kafka-python's error as ours; `observed` is what it only logged."""
        causes = [error, *reversed(observed.errors if observed else [])]
        for cause in causes:
            if isinstance(cause, KafkaConnectorError):
                return cause
        refused = next((cause for cause in causes if isinstance(cause, _REFUSED_LOGIN)), None)
        if refused is not None or (observed and observed.dropped_at_login):
            return self._refused_login()
        for cause in causes:
            if isinstance(cause, kafka_errors.AuthorizationError):
                return NotAuthorized(_resource(cause), self.bootstrap_servers)
        return BrokerUnreachable(self.bootstrap_servers, _reason(causes))

    def _in_file(self) -> dict[str, str]:
        if self.command_config is None:
            return {}
        try:
            return read_properties(self.command_config)
        except UnreadableCommandConfig:
            if self.shipped is None:
                raise
            return dict(self.shipped)

    def _check_encryption(self, settings: Mapping[str, Value]) -> None:
        if self.insecure:
            return
        self.check_places(split_servers(self.bootstrap_servers), "--bootstrap-servers", settings)
        url = urlsplit(str(settings.get("oauth_token_url") or ""))
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            raise InsecureConnection(url.hostname or "", "http", "sasl.oauthbearer.token.endpoint.url")

    def check_places(
        self, places: Iterable[tuple[str, int]], setting: str, settings: Mapping[str, Value] | None = None
    ) -> None:
        """Raise InsecureConnection for a broker that would be sent patient data unencrypted."""
        settings = self.load() if settings is None else settings
        if self.insecure or uses_tls(settings):
            return
        for host, port in places:
            if not is_loopback(host):
                raise InsecureConnection(f"{host}:{port}", security_protocol(settings), setting)

    def _refused_login(self) -> AuthenticationFailed:
        login_of(self).refused()
        settings = self.load()
        mechanism = str(settings.get("sasl_mechanism") or "SASL")
        return AuthenticationFailed(self.bootstrap_servers, mechanism, self.username)

    def _open(self, client: Any, defaults: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        pin_logger()
        _check_codec(self.load())
        wanted = {**_COMMON, **defaults, **self.connection_arguments(), **arguments}
        known = {name: value for name, value in wanted.items() if name in client.DEFAULT_CONFIG}
        with observing() as observed:
            try:
                return self._checked(client(bootstrap_servers=self.bootstrap_servers.split(","), **known))
            except (kafka_errors.KafkaError, OSError) as error:
                mapped = self.map_error(error, observed)
        if isinstance(mapped, BrokerUnreachable | AuthenticationFailed):
            from connectors.kafka.probing.probe import diagnose

            mapped = diagnose(self) or mapped
        raise mapped

    def _checked(self, client: Any) -> Any:
        """The client, unless it would go to brokers elsewhere that one on this machine advertises."""
        cluster = client._metadata if isinstance(client, kafka.KafkaProducer) else client._manager.cluster
        try:
            self.check_places([(broker.host, broker.port) for broker in cluster.brokers()], ADVERTISED)
        except InsecureConnection:
            client.close()
            raise
        return client


_CODECS = {"snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}


def _check_codec(settings: Mapping[str, Value]) -> None:
    """Of the codecs only gzip is in Python itself; without its library kafka-python stops at an assertion."""
    name = settings.get("compression_type")
    if name in _CODECS and not getattr(kafka.codec, f"has_{name}")():
        package = _CODECS[str(name)]
        problem = f"{name} needs the Python package {package}, here and on every worker; gzip needs none"
        raise InvalidProperty("compression.type", ORIGIN, problem)


_REFUSED_LOGIN = (
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
)

_CONTEXTS: dict[ClientConfig, ReloadingContext] = {}
_LOGINS: dict[ClientConfig, Login] = {}
_LOCK = threading.Lock()


def login_of(config: ClientConfig) -> Login:
    """The process's login for this configuration."""
    with _LOCK:
        if config not in _LOGINS:
            host = split_servers(config.bootstrap_servers)[0][0]
            _LOGINS[config] = Login(config.load, host)
        return _LOGINS[config]


def _context(config: ClientConfig) -> ReloadingContext:
    with _LOCK:
        if config not in _CONTEXTS:
            _CONTEXTS[config] = ReloadingContext(config.load)
        return _CONTEXTS[config]


def split_servers(value: str) -> list[tuple[str, int]]:
    """(host, port) of each server in `host:port[,host:port]`. Raises InvalidBootstrapServers."""
    servers = []
    for server in (part.strip() for part in value.split(",")):
        match = re.fullmatch(r"(\[[^\]]+\]|[^:]*)(?::(.*))?", server)
        if match is None:
            raise InvalidBootstrapServers(value, f"{server!r} has too many colons; write IPv6 as [::1]:9092")
        host, port = match[1], match[2] or str(DEFAULT_PORT)
        if not host:
            raise InvalidBootstrapServers(value, "a host is missing")
        if not (port.isdecimal() and 0 < int(port) < 65536):
            raise InvalidBootstrapServers(value, f"{port!r} is no port")
        servers.append((host, int(port)))
    return servers


def is_loopback_only(servers: str) -> bool:
    """Whether every server of the list is on this machine. Raises InvalidBootstrapServers."""
    return all(is_loopback(host) for host, _ in split_servers(servers))


def _reason(causes: list[BaseException]) -> str:
    """The most telling cause, as text without line breaks."""
    telling = [cause for cause in causes if not isinstance(cause, kafka_errors.KafkaTimeoutError)]
    cause = telling[0] if telling else causes[0]
    return " ".join(str(cause).split())[:200] or type(cause).__name__


def _resource(error: BaseException) -> str:
    names = ", ".join(map(str, error.args[0])) if error.args and isinstance(error.args[0], set) else ""
    return f"topic {names}" if names else "the cluster"
