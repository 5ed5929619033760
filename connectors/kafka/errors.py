"""Errors of the Kafka connector.

    KafkaConnectorError
    +-- SettingError                 something the user set is wrong: no retry helps
    |   +-- UnknownProperty
    |   +-- InvalidProperty
    |   +-- UnreadableCommandConfig
    |   +-- InvalidBootstrapServers
    |   +-- InsecureConnection
    |   +-- InvalidPosition
    |   +-- UnknownTopic
    |   +-- AuthenticationFailed
    |   +-- NotAuthorized
    +-- BrokerUnreachable            retryable
    +-- RecordTooLarge
    +-- LostOffsets                  retention removed records before they were read
    +-- DeliveryFailed               retryable: the runner repeats the bundle
    +-- ReadFailed                   retryable

Each message names the setting and the remedy. None carries a password, a key or a record's bytes.
kafka-python's own errors are mapped where its calls are made (`client.map_error`).
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class KafkaConnectorError(Exception):
    """Root of the package's errors; `retryable` says whether the same call may succeed later."""

    retryable = False


class SettingError(KafkaConnectorError):
    """Something the user set is wrong."""


class UnknownProperty(SettingError):
    """A client property that this connector does not have."""

    def __init__(self, name: str, origin: str, known: Sequence[str]) -> None:
        nearest = get_close_matches(name, known, n=1)
        hint = f"Did you mean {nearest[0]!r}?" if nearest else "Remove it."
        super().__init__(f"Unknown Kafka property {name!r} in {origin}. {hint}")
        self.name = name
        self.nearest = nearest[0] if nearest else None


class InvalidProperty(SettingError):
    """A client property whose value cannot be used; `problem` never quotes a secret."""

    def __init__(self, name: str, origin: str, problem: str) -> None:
        super().__init__(f"Kafka property {name!r} in {origin}: {problem}")
        self.name = name
        self.problem = problem


class UnreadableCommandConfig(SettingError):
    """The properties file cannot be read or parsed."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"Cannot read {path} (--command-config): {problem}")
        self.path = path


class InvalidBootstrapServers(SettingError):
    """The list of brokers is not `host:port[,host:port]`."""

    def __init__(self, value: str, problem: str) -> None:
        super().__init__(f"--bootstrap-servers {value!r}: {problem}; expected host:port[,host:port...]")
        self.value = value


class InsecureConnection(SettingError):
    """Patients' audio would cross the network unencrypted."""

    def __init__(self, server: str, protocol: str) -> None:
        super().__init__(
            f"{protocol} would send patient data unencrypted to {server} (--bootstrap-servers). "
            "Set security.protocol=SSL or SASL_SSL in --command-config, or pass --insecure to accept it."
        )
        self.server = server
        self.protocol = protocol


class InvalidPosition(SettingError):
    """A start or a stop that says no place in a topic."""

    def __init__(self, setting: str, value: str, problem: str) -> None:
        super().__init__(f"{setting}: {value!r} cannot be used: {problem}")
        self.setting = setting
        self.value = value
        self.problem = problem


class UnknownTopic(SettingError):
    """The cluster has no topic of this name."""

    def __init__(self, topic: str, setting: str, servers: str) -> None:
        super().__init__(
            f"Kafka at {servers} has no topic {topic!r} ({setting}). Create it or correct {setting}."
        )
        self.topic = topic
        self.setting = setting


class AuthenticationFailed(SettingError):
    """The broker refused the credentials or the SASL mechanism."""

    def __init__(self, servers: str, mechanism: str | None, username: str | None) -> None:
        who = f" for user {username!r}" if username else ""
        super().__init__(
            f"Kafka at {servers} refused the {mechanism or 'SASL'} login{who}. "
            "Check sasl.mechanism and the username and password in sasl.jaas.config (--command-config)."
        )
        self.username = username
        self.mechanism = mechanism


class NotAuthorized(SettingError):
    """The broker knows the user but does not allow the operation."""

    def __init__(self, resource: str, servers: str) -> None:
        super().__init__(
            f"Kafka at {servers} does not allow this user to use {resource}. "
            "Grant the ACL or change the user in sasl.jaas.config (--command-config)."
        )
        self.resource = resource


class BrokerUnreachable(KafkaConnectorError):
    """No broker of the list answered in time."""

    retryable = True

    def __init__(self, servers: str, cause: str) -> None:
        super().__init__(
            f"No Kafka broker answered at {servers} (--bootstrap-servers): {cause}. "
            "Check address, port and security.protocol, and that the broker is running."
        )
        self.servers = servers
        self.cause = cause


class RecordTooLarge(KafkaConnectorError):
    """A record exceeds what the producer or the topic accepts."""

    def __init__(self, topic: str, size_bytes: int) -> None:
        super().__init__(
            f"A record of {size_bytes} bytes is too large for topic {topic!r}. Raise max.request.size "
            "(--kafka-property) and the topic's max.message.bytes."
        )
        self.topic = topic
        self.size_bytes = size_bytes


class LostOffsets(KafkaConnectorError):
    """Retention removed records that were still to be read: `first_offset` up to, not including,
    `end_offset`.
    """

    def __init__(self, topic: str, partition: int, first_offset: int, end_offset: int) -> None:
        super().__init__(
            f"Kafka no longer has offsets {first_offset} to {end_offset - 1} of {topic}-{partition}: "
            "retention removed them before they were read. Raise the topic's retention.ms and "
            "retention.bytes, or start with --on-lost-offsets skip to go on behind the gap."
        )
        self.topic = topic
        self.partition = partition
        self.first_offset = first_offset
        self.end_offset = end_offset


class DeliveryFailed(KafkaConnectorError):
    """A record was not acknowledged in time; it may or may not be in the topic."""

    retryable = True

    def __init__(self, topic: str, cause: str) -> None:
        super().__init__(
            f"Kafka did not acknowledge a record for topic {topic!r}: {cause}. The bundle is repeated; "
            "if this lasts, check the brokers, the topic's min.insync.replicas and delivery.timeout.ms."
        )
        self.topic = topic
        self.cause = cause


class ReadFailed(KafkaConnectorError):
    """Reading a partition failed in a way that may pass."""

    retryable = True

    def __init__(self, topic: str, partition: int, cause: str) -> None:
        super().__init__(f"Cannot read {topic}-{partition} from Kafka: {cause}.")
        self.topic = topic
        self.partition = partition
        self.cause = cause
