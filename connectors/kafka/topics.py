"""Topics as a job needs them: Kafka's own id of one, a compacted one that is created if there is none, and
topics that a run has for itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import NoCompactedTopic, NotCompacted, SettingError, UnknownTopic

_COMPACTED = {
    "cleanup.policy": "compact",
    # Only closed segments are compacted: small ones, and soon, or a reader has hours of updates to read.
    "segment.bytes": str(16 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
}


def topic_id(config: ClientConfig, topic: str, *, setting: str) -> str:
    """Kafka's own id of the topic, which one that is created anew under its name does not share.

    "" when the broker tells none (before Kafka 2.8). Raises UnknownTopic and the errors of
    `ClientConfig.admin`.
    """
    with _Admin(config) as admin:
        described = _describe(admin, topic)
    if described is None:
        raise UnknownTopic(topic, setting, config.bootstrap_servers)
    found = described.get("topic_id")
    return str(found) if found and int(getattr(found, "int", 1)) else ""


def ensure_compacted(config: ClientConfig, topic: str, partitions: int, *, setting: str) -> int:
    """The topic's number of partitions; it is created, compacted, with `partitions`, when there is none.

    Raises the errors of `compacted_partitions` and `create_compacted`.
    """
    found = compacted_partitions(config, topic, setting=setting)
    if found is None:
        create_compacted(config, topic, partitions, setting=setting)
    return found or partitions


def compacted_partitions(config: ClientConfig, topic: str, *, setting: str) -> int | None:
    """The compacted topic's number of partitions; None when there is no such topic.

    Raises NotCompacted for one from which Kafka deletes records by age or size, and the errors of
    `ClientConfig.admin`.
    """
    with _Admin(config) as admin:
        described = _describe(admin, topic)
        if described is None:
            return None
        policy = _cleanup_policy(admin, topic)
        if policy not in (None, "compact"):
            raise NotCompacted(topic, setting, policy)
        return len(described["partitions"])


def create_compacted(
    config: ClientConfig, topic: str, partitions: int, *, setting: str, dry_run: bool = False
) -> None:
    """Create a compacted topic; with `dry_run` only ask whether it could be.

    Raises NoCompactedTopic when it cannot, and the errors of `ClientConfig.admin`.
    """
    wanted = {"num_partitions": partitions, "replication_factor": -1, "configs": _COMPACTED}
    with _Admin(config) as admin:
        try:
            admin.create_topics({topic: wanted}, validate_only=dry_run, wait_for_metadata=not dry_run)
        except kafka_errors.TopicAlreadyExistsError:
            return  # another job was faster
        except kafka_errors.KafkaError as error:
            raise NoCompactedTopic(topic, setting, partitions, type(error).__name__) from None


def create_topics(config: ClientConfig, partitions: Mapping[str, int]) -> None:
    """Create topics, as the brokers' defaults have them, with so many partitions; they have leaders then.

    Raises TopicsNotCreated, also when one is there already, and the errors of `ClientConfig.admin`.
    """
    wanted = {
        topic: {"num_partitions": count, "replication_factor": -1} for topic, count in partitions.items()
    }
    with _Admin(config) as admin:
        try:
            admin.create_topics(wanted, wait_for_metadata=True)
        except kafka_errors.AuthorizationError:
            raise
        except kafka_errors.KafkaError as error:
            raise TopicsNotCreated(list(partitions), type(error).__name__) from None


def delete_topics(config: ClientConfig, topics: Collection[str], group_id: str) -> None:
    """Delete topics, those that there are, and the group that read them.

    Raises NotAuthorized and the errors of `ClientConfig.admin`. A group that stays is no error: it expires.
    """
    with _Admin(config) as admin:
        known = set(admin.list_topics())
        if found := [topic for topic in topics if topic in known]:
            admin.delete_topics(found)
        with suppress(kafka_errors.KafkaError):  # there may be none: it committed nothing
            admin.delete_groups([group_id])


def _describe(admin: Any, topic: str) -> Mapping[str, Any] | None:
    described = [entry for entry in admin.describe_topics([topic]) if entry["name"] == topic]
    return described[0] if described and not described[0]["error_code"] else None


def _cleanup_policy(admin: Any, topic: str) -> str | None:
    """None when we may not know."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    try:
        found = admin.describe_configs([resource], config_filter="all")
        return str(found["topic"][topic]["cleanup.policy"]["value"])
    except (kafka_errors.KafkaError, LookupError):
        return None


class TopicsNotCreated(SettingError):
    """Kafka does not let us create topics that are needed for a while."""

    def __init__(self, topics: Sequence[str], cause: str) -> None:
        super().__init__(
            f"Topics {', '.join(topics)} could not be created ({cause}).",
            "Allow CREATE for topics of this prefix; check the brokers' defaults for new topics.",
        )
        self.topics = tuple(topics)
        self.cause = cause


class _Admin:
    """An admin client for a moment; its errors as ours."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config

    def __enter__(self) -> Any:
        self._admin = self._config.admin()
        return self._admin

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._admin.close()
        if isinstance(error, kafka_errors.KafkaError):
            raise self._config.map_error(error) from None
