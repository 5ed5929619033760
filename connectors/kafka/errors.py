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
    |   +-- GroupInUse
    |   +-- WrongSecurityProtocol    TLS where the broker speaks none, a login where it takes none, ...
    |   +-- TlsFailed                certificates: ours, or the broker's
    |   +-- AuthenticationFailed
    |   +-- NotAuthorized
    |   +-- TokenRequestFailed       no OAuth token; retryable when the endpoint was away
    |   +-- AwsCredentialsNotFound   for AWS_MSK_IAM; also: no region
    |   +-- PartitionsChanged        of the output topic, under a running job
    |   +-- NotCompacted
    |   +-- NoCompactedTopic         there is none, and it cannot be created
    |   +-- TopicsNotCreated         those of a run's own (topics.py)
    +-- BrokerUnreachable            retryable
    +-- RecordTooLarge
    +-- LostOffsets                  retention removed records before they were read
    +-- DeliveryFailed               retryable: the runner repeats the bundle
    +-- ProducerFenced               retryable: another producer has the transactional.id
    +-- ReadFailed                   retryable
    |   +-- ReadStuck                the library's fault (watched_consumer.py)
    +-- RecordingError               a file of recorded records (recordings/errors.py)

Each message names the setting and the remedy. None carries a password, a key or a record's bytes.
kafka-python's own errors are mapped where its calls are made (`client.map_error`).
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class KafkaConnectorError(Exception):
    """Root of the package's errors; `retryable` says whether the same call may succeed later.

    `problem_text` and `remedy` are the two parts of the message; the second is empty where there is but one.
    """

    retryable = False

    def __init__(self, problem_text: str, remedy: str = "") -> None:
        super().__init__(f"{problem_text} {remedy}" if remedy else problem_text)
        self.problem_text = problem_text
        self.remedy = remedy


class SettingError(KafkaConnectorError):
    """Something the user set is wrong."""


class UnknownProperty(SettingError):
    """A client property that this connector does not have."""

    def __init__(self, name: str, origin: str, known: Sequence[str]) -> None:
        nearest = get_close_matches(name, known, n=1)
        hint = f"Did you mean {nearest[0]!r}?" if nearest else "Remove it."
        super().__init__(f"Unknown Kafka property {name!r} in {origin}.", hint)
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
    """Patients' audio, or a secret, would cross the network unencrypted."""

    def __init__(self, server: str, protocol: str, setting: str = "--bootstrap-servers") -> None:
        what, remedy = "patient data", "Set security.protocol=SSL or SASL_SSL in --command-config"
        if protocol == "http":
            what, remedy = "the client's secret", "Name an https:// address"
        super().__init__(
            f"{protocol} would send {what} unencrypted to {server} ({setting}).",
            f"{remedy}, or pass --insecure to accept it.",
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
            f"Kafka at {servers} has no topic {topic!r} ({setting}).", f"Create it or correct {setting}."
        )
        self.topic = topic
        self.setting = setting


class GroupInUse(SettingError):
    """Offsets cannot be committed: the group's members share its partitions by subscription."""

    def __init__(self, group_id: str) -> None:
        super().__init__(
            f"Cannot commit offsets of group {group_id!r} (--group-id): other consumers have subscribed with "
            "this group. Give this reader a group of its own."
        )
        self.group_id = group_id


class WrongSecurityProtocol(SettingError):
    """The broker's listener is of another kind than security.protocol says."""

    def __init__(self, server: str, protocol: str, found: str, remedy: str) -> None:
        super().__init__(f"Kafka at {server} {found}, but security.protocol is {protocol}.", remedy)
        self.server = server
        self.found = found
        self.protocol = protocol


class TlsFailed(SettingError):
    """No TLS connection, for a reason that a setting mends; `setting` is the property's name."""

    def __init__(self, server: str, setting: str, problem: str, remedy: str) -> None:
        super().__init__(f"No TLS connection to Kafka at {server} ({setting}): {problem}.", remedy)
        self.server = server
        self.setting = setting
        self.problem = problem


_LOGIN_REMEDIES = {
    "OAUTHBEARER": "Check the token's issuer, audience and expiry, and clientId, clientSecret and scope in "
    "sasl.jaas.config (--command-config).",
    "AWS_MSK_IAM": "Check the AWS credentials, their kafka-cluster:Connect permission, the region and this "
    "machine's clock; awsProfileName and awsRoleArn are options in sasl.jaas.config (--command-config).",
}
_PASSWORD_REMEDY = (
    "Check sasl.mechanism and the username and password in sasl.jaas.config (--command-config)."  # noqa: S105
)


class AuthenticationFailed(SettingError):
    """The broker refused the credentials or the SASL mechanism; `reason` is the broker's own, or why not."""

    def __init__(
        self,
        servers: str,
        mechanism: str | None,
        username: str | None,
        reason: str | None = None,
        remedy: str | None = None,
    ) -> None:
        who = f" for user {username!r}" if username else ""
        why = f": {reason.rstrip('. ')}" if reason else ""
        remedy = remedy or _LOGIN_REMEDIES.get(mechanism or "", _PASSWORD_REMEDY)
        super().__init__(f"Kafka at {servers} refused the {mechanism or 'SASL'} login{who}{why}.", remedy)
        self.username = username
        self.mechanism = mechanism
        self.reason = reason


class NotAuthorized(SettingError):
    """The broker knows the user but does not allow the operation (READ, WRITE ... as in ACLs)."""

    def __init__(self, resource: str, servers: str, operation: str | None = None) -> None:
        super().__init__(
            f"Kafka at {servers} does not allow this user to {operation or 'use'} {resource}.",
            f"Grant the ACL{f' (operation {operation})' if operation else ''} or change the user in "
            "sasl.jaas.config, or the client certificate (--command-config).",
        )
        self.resource = resource
        self.operation = operation


class TokenRequestFailed(SettingError):
    """There is no OAuth token to log in with. `where` is an address or a file; `problem` has no secret."""

    def __init__(self, where: str, problem: str, *, retryable: bool = False) -> None:
        remedy = "Check the address, and clientId, clientSecret and scope in sasl.jaas.config"
        if "://" not in where:
            remedy = "Whoever writes the file must replace the token before it expires; check the path"
        super().__init__(
            f"No OAuth token from {where} (sasl.oauthbearer.token.endpoint.url): {problem}.",
            f"{remedy} (--command-config).",
        )
        self.where = where
        self.problem = problem
        self.retryable = retryable


class AwsCredentialsNotFound(SettingError):
    """AWS_MSK_IAM needs credentials and a region; `problem` says what is missing."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The AWS_MSK_IAM login is not possible: {problem}.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run with a role, or name awsProfileName or "
            "awsRoleArn (and awsRegion) in sasl.jaas.config (--command-config).",
        )
        self.problem = problem


class PartitionsChanged(SettingError):
    """The output topic has another number of partitions than the progress of its sessions was kept for."""

    def __init__(self, topic: str, expected: int | None, found: int) -> None:
        super().__init__(
            f"Topic {topic!r} (--output-topic) has {found} partitions, but the progress of its sessions is "
            f"kept for {expected or 'another number'}: sessions would move to other partitions and be "
            "published again.",
            "Drain the job, and start it with a new --output-topic; or, if finals of "
            "sessions that are under way may repeat, with a new --progress-topic.",
        )
        self.topic = topic
        self.expected = expected
        self.found = found


class NotCompacted(SettingError):
    """A topic that must keep the last record of each key does not."""

    def __init__(self, topic: str, setting: str, policy: str) -> None:
        super().__init__(
            f"Topic {topic!r} ({setting}) has cleanup.policy={policy}, so what it must remember would be "
            "deleted:",
            f"kafka-configs.sh --alter --topic {topic} --add-config cleanup.policy=compact",
        )
        self.topic = topic
        self.policy = policy


class NoCompactedTopic(SettingError):
    """A compacted topic is missing, and Kafka does not let us create it."""

    def __init__(self, topic: str, setting: str, partitions: int, cause: str) -> None:
        super().__init__(
            f"There is no topic {topic!r} ({setting}), and it could not be created ({cause}):",
            f"kafka-topics.sh --create --topic {topic} --partitions {partitions} "
            "--config cleanup.policy=compact",
        )
        self.topic = topic
        self.partitions = partitions


class BrokerUnreachable(KafkaConnectorError):
    """No broker of the list answered in time."""

    retryable = True

    def __init__(self, servers: str, cause: str) -> None:
        super().__init__(
            f"No Kafka broker answered at {servers} (--bootstrap-servers): {cause}.",
            "Check address, port and security.protocol, and that the broker is running.",
        )
        self.servers = servers
        self.cause = cause


class RecordTooLarge(KafkaConnectorError):
    """A record exceeds what the producer or the topic accepts."""

    def __init__(self, topic: str, size_bytes: int | None) -> None:
        size = "" if size_bytes is None else f" of {size_bytes} bytes"
        super().__init__(
            f"A record{size} is too large for topic {topic!r}. Raise max.request.size "
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

    def __init__(self, topic: str, cause: str, what_next: str = "The bundle is repeated") -> None:
        super().__init__(
            f"Kafka did not acknowledge a record for topic {topic!r}: {cause}. {what_next}; "
            "if this lasts, check the brokers, the topic's min.insync.replicas and delivery.timeout.ms."
        )
        self.topic = topic
        self.cause = cause


class ProducerFenced(KafkaConnectorError):
    """Another producer has taken the transactional.id over."""

    retryable = True

    def __init__(self, transactional_id: str) -> None:
        super().__init__(
            f"Another producer took over transactional.id {transactional_id!r}; this one must not write any "
            "more. The bundle is repeated. If this goes on, two jobs write with one --sink-id: give each its "
            "own, and its own --progress-topic."
        )
        self.transactional_id = transactional_id


class ReadFailed(KafkaConnectorError):
    """Reading a partition failed in a way that may pass."""

    retryable = True

    def __init__(self, topic: str, partition: int, cause: str) -> None:
        super().__init__(f"Cannot read {topic}-{partition} from Kafka: {cause}.")
        self.topic = topic
        self.partition = partition
        self.cause = cause


class ReadStuck(ReadFailed):
    """A call of kafka-python had not returned long after its time; its consumer was closed."""

    def __init__(self, topic: str, partition: int, waited_seconds: float) -> None:
        cause = f"a call had not returned after {waited_seconds:.0f} s, and its consumer was closed"
        super().__init__(topic, partition, cause)
        self.waited_seconds = waited_seconds
