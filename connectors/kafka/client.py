"""Kafka clients from one validated, picklable configuration; the only place that constructs them.

`ClientConfig.build` merges a Java-style properties file (`--command-config`) with single properties
(`--kafka-property`), refuses what it does not know, and refuses to send patient data unencrypted over a
network. The factories add what medstream settles itself. `check_connection` tells at start what is wrong in
one sentence.

kafka-python logs requests, and so passwords and payloads, at DEBUG: its logger is pinned at INFO or above
here, whatever the root logger says.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kafka
from kafka import errors as kafka_errors
from kafka.net.connection import KafkaConnection

from connectors.kafka.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    InsecureConnection,
    InvalidBootstrapServers,
    InvalidProperty,
    KafkaConnectorError,
    NotAuthorized,
    UnknownTopic,
    UnreadableCommandConfig,
)
from connectors.kafka.properties import Value, parse_properties, to_settings

DEFAULT_PORT = 9092
CHECK_TIMEOUT_SECONDS = 6.0
"""How long `check_connection` tries to reach a broker."""

_DELIVERY_TIMEOUT_MS = 30_000
_ENCRYPTED = ("SSL", "SASL_SSL")
# Seconds, not kafka-python's 30: a broker that is back must be noticed.
_COMMON: dict[str, Value] = {
    "bootstrap_timeout_ms": 10_000,
    "client_id": "medstream",
    "reconnect_backoff_max_ms": 1_000,
}


class _AtLeastInfo(logging.Filter):
    """Drops what kafka-python logs below INFO, even when someone lowers its logger's level again."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.INFO


def pin_logger() -> None:
    """Keeps kafka-python's loggers at INFO or above: at DEBUG they write passwords and payloads.

    Unless someone asked for INFO, they are at WARNING: each connection is worth a dozen lines to the library.
    """
    root = logging.getLogger("kafka")
    root.setLevel(max(root.level, logging.INFO) if root.level != logging.NOTSET else logging.WARNING)
    for name in ("kafka", *(name for name in logging.root.manager.loggerDict if name.startswith("kafka."))):
        logger = logging.getLogger(name)
        if logger.level != logging.NOTSET:
            logger.setLevel(max(logger.level, logging.INFO))
        if not any(isinstance(existing, _AtLeastInfo) for existing in logger.filters):
            logger.addFilter(_AtLeastInfo())


class Observed(logging.Handler):
    """The exceptions among the arguments of the library's log records.

    `dropped_at_login`: the last connection that was lost had answered ApiVersions and was in its SASL
    exchange. kafka-python drops the broker's refusal when it arrives together with the end of the
    connection (3.0.12, KafkaTCPTransport._read_from_sock), so on a busy machine that is all there is to see
    of a wrong password.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException] = []
        self.dropped_at_login = False

    def emit(self, record: logging.LogRecord) -> None:
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, BaseException):
                self.errors.append(argument)
            elif isinstance(argument, KafkaConnection):
                self.dropped_at_login = bool(argument.sasl_enabled and argument.broker_version)


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How to reach the cluster. Hashable and picklable; settings stay out of `repr`, they may hold a
    password.
    """

    bootstrap_servers: str
    settings: tuple[tuple[str, Value], ...] = field(default=(), repr=False)

    @classmethod
    def build(
        cls,
        bootstrap_servers: str,
        command_config: Path | None = None,
        properties: Mapping[str, str] | None = None,
        *,
        insecure: bool = False,
    ) -> ClientConfig:
        """Validated configuration; `properties` win over the file. Raises SettingError."""
        servers = split_servers(bootstrap_servers)
        settings = _settings_of_file(command_config) if command_config is not None else {}
        settings |= to_settings(properties or {}, "--kafka-property")
        _check_consistency(settings)
        protocol = str(settings.get("security_protocol", "PLAINTEXT"))
        if protocol not in _ENCRYPTED and not insecure:
            for host, port in servers:
                if not _is_loopback(host):
                    raise InsecureConnection(f"{host}:{port}", protocol)
        return cls(",".join(f"{host}:{port}" for host, port in servers), tuple(sorted(settings.items())))

    @property
    def username(self) -> str | None:
        """Name of the SASL user, if there is one."""
        value = dict(self.settings).get("sasl_plain_username")
        return str(value) if value is not None else None

    @property
    def delivery_timeout_seconds(self) -> float:
        """`delivery.timeout.ms`, as given or by default."""
        return float(dict(self.settings).get("delivery_timeout_ms") or _DELIVERY_TIMEOUT_MS) / 1000

    def consumer(self, **arguments: Any) -> Any:
        """A KafkaConsumer without group subscription, reading committed records only. Raises
        KafkaConnectorError.
        """
        defaults = {
            "enable_auto_commit": False,
            "auto_offset_reset": "none",  # an offset out of range is ours to report
            "allow_auto_create_topics": False,
            "isolation_level": "read_committed",
            "metrics_enabled": False,
        }
        return self._open(kafka.KafkaConsumer, defaults, arguments)

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

    def _open(self, client: Any, defaults: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        pin_logger()
        wanted = {**_COMMON, **defaults, **dict(self.settings), **arguments}
        known = {name: value for name, value in wanted.items() if name in client.DEFAULT_CONFIG}
        with _observing() as observed:
            try:
                return client(bootstrap_servers=self.bootstrap_servers.split(","), **known)
            except (kafka_errors.KafkaError, OSError) as error:
                raise self.map_error(error, observed) from None

    def map_error(self, error: Exception, observed: Observed | None = None) -> KafkaConnectorError:
        """kafka-python's error as ours; `observed` is what it only logged."""
        causes = [error, *reversed(observed.errors if observed else [])]
        refused = any(isinstance(cause, _REFUSED_LOGIN) for cause in causes)
        if refused or (observed and observed.dropped_at_login):
            mechanism = dict(self.settings).get("sasl_mechanism")
            return AuthenticationFailed(self.bootstrap_servers, str(mechanism or "SASL"), self.username)
        for cause in causes:
            if isinstance(cause, kafka_errors.AuthorizationError):
                return NotAuthorized(_resource(cause), self.bootstrap_servers)
        return BrokerUnreachable(self.bootstrap_servers, _reason(causes))


_REFUSED_LOGIN = (
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
)


def check_connection(config: ClientConfig, topics: Mapping[str, str]) -> dict[str, int]:
    """Whether the cluster answers, lets us in and has the topics (option name -> topic), within about 8
    seconds.

    Returns each topic's number of partitions. Raises BrokerUnreachable, AuthenticationFailed, NotAuthorized,
    UnknownTopic.
    """
    timeout_ms = round(CHECK_TIMEOUT_SECONDS * 1000)
    admin = config.admin(
        bootstrap_timeout_ms=timeout_ms, request_timeout_ms=timeout_ms, reconnect_backoff_max_ms=250
    )
    try:
        described = admin.describe_topics(sorted(set(topics.values()))) if topics else []
    except kafka_errors.KafkaError as error:
        raise config.map_error(error) from None
    finally:
        admin.close()
    found = {topic["name"]: topic for topic in described}
    return {topic: _partitions(config, found.get(topic), topic, option) for option, topic in topics.items()}


def _partitions(config: ClientConfig, description: Mapping[str, Any] | None, topic: str, option: str) -> int:
    code = (
        description["error_code"]
        if description is not None
        else kafka_errors.UnknownTopicOrPartitionError.errno
    )
    if code == kafka_errors.TopicAuthorizationFailedError.errno:
        raise NotAuthorized(f"topic {topic!r} ({option})", config.bootstrap_servers)
    if description is None or code:
        raise UnknownTopic(topic, option, config.bootstrap_servers)
    return len(description["partitions"])


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


def _is_loopback(host: str) -> bool:
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _settings_of_file(path: Path) -> dict[str, Value]:
    try:
        properties = parse_properties(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableCommandConfig(str(path), error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise UnreadableCommandConfig(str(path), "it is not UTF-8 text") from None
    except ValueError as error:
        raise UnreadableCommandConfig(str(path), str(error)) from None
    return to_settings(properties, f"{path} (--command-config)")


def _check_consistency(settings: Mapping[str, Value]) -> None:
    protocol = str(settings.get("security_protocol", "PLAINTEXT"))
    origin = "--command-config or --kafka-property"
    if protocol.startswith("SASL_"):
        mechanism = settings.get("sasl_mechanism")
        if mechanism is None:
            raise InvalidProperty("sasl.mechanism", origin, f"is needed with security.protocol={protocol}")
        if mechanism != "AWS_MSK_IAM" and "sasl_plain_password" not in settings:
            raise InvalidProperty("sasl.jaas.config", origin, f"is needed with sasl.mechanism={mechanism}")
    elif "sasl_mechanism" in settings or "sasl_plain_password" in settings:
        problem = f"{protocol} sends no SASL login; use SASL_SSL"
        raise InvalidProperty("security.protocol", origin, problem)
    for argument, name in (
        ("ssl_cafile", "ssl.truststore.location"),
        ("ssl_certfile", "ssl.keystore.location"),
    ):
        file = settings.get(argument)
        if file is not None and not Path(str(file)).is_file():
            raise InvalidProperty(name, origin, f"there is no file {file}")


@contextmanager
def _observing() -> Iterator[Observed]:
    """What kafka-python logs while it retries; a refused login ends in a bootstrap timeout, and the cause
    is in the arguments of its log records only (3.0.12, KafkaConnectionManager._do_bootstrap and _connect).
    """
    observed = Observed()
    logger = logging.getLogger("kafka")
    logger.addHandler(observed)
    try:
        yield observed
    finally:
        logger.removeHandler(observed)


def _reason(causes: list[BaseException]) -> str:
    """The most telling cause, as text without line breaks."""
    telling = [cause for cause in causes if not isinstance(cause, kafka_errors.KafkaTimeoutError)]
    cause = telling[0] if telling else causes[0]
    return " ".join(str(cause).split())[:200] or type(cause).__name__


def _resource(error: BaseException) -> str:
    names = ", ".join(map(str, error.args[0])) if error.args and isinstance(error.args[0], set) else ""
    return f"topic {names}" if names else "the cluster"
