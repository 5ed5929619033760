"""Whether a job may do what it is about to do: the topics exist, and the ACLs allow each operation.

Nothing is written and no group or transaction is touched: the broker is asked which operations it allows on
the topics; group and transactional id are tried with requests that it authorizes first and then refuses,
because the member or producer that they name does not exist.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import errors as kafka_errors
from kafka.protocol.consumer import HeartbeatRequest
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import EndTxnRequest, InitProducerIdRequest

from connectors.kafka.client import ADVERTISED, ClientConfig
from connectors.kafka.errors import (
    BrokerUnreachable,
    KafkaConnectorError,
    NotAuthorized,
    SettingError,
    UnknownTopic,
)
from connectors.kafka.probing import probe
from connectors.kafka.probing.broker_session import BrokerSession, SessionFailed

READ, WRITE = 3, 4  # of Kafka's AclOperation
_NAMES = {READ: "READ", WRITE: "WRITE"}
_MAX_BROKERS = 10
_NO_TOPIC = (kafka_errors.UnknownTopicOrPartitionError.errno, kafka_errors.InvalidTopicError.errno)
_TRANSACTION_TIMEOUT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a broker said: who it is, the addresses that brokers advertise, the topics it was asked for."""

    server: str
    brokers: tuple[tuple[str, int], ...]
    topics: Mapping[str, Any]


def check_connection(
    config: ClientConfig,
    topics: Mapping[str, str],
    *,
    read: Collection[str] = ("--input-topic",),
    group_id: str | None = None,
    transactional_ids: Collection[str] = (),
) -> dict[str, int]:
    """Whether the cluster answers, lets us in, has the topics (option name -> topic) and allows their use.

    The topics of the options in `read` are read, the others written. Returns each topic's number of
    partitions, within about 10 seconds. Raises SettingError (AuthenticationFailed, NotAuthorized, TlsFailed,
    UnknownTopic ...) or BrokerUnreachable.
    """
    cluster = describe_cluster(config, topics.values())
    check_advertised(config, cluster)
    partitions = {}
    for option, topic in topics.items():
        partitions[topic] = check_topic(cluster, option, topic) or 0
        check_operation(cluster, option, topic, READ if option in read else WRITE)
    if group_id is not None:
        check_group(config, group_id)
    if any(option not in read for option in topics):
        check_producer(config)
    for transactional_id in transactional_ids:
        check_transactional_id(config, transactional_id)
    return partitions


def describe_cluster(config: ClientConfig, topics: Iterable[str]) -> Cluster:
    """The cluster's brokers and topics. Raises SettingError or BrokerUnreachable."""
    with _session(config) as session:
        metadata = session.request(_metadata_request(sorted(set(topics))))
        brokers = sorted({(str(broker.host), int(broker.port)) for broker in metadata.brokers})
        return Cluster(session.server, tuple(brokers), {topic.name: topic for topic in metadata.topics})


def topic_exists(config: ClientConfig, topic: str) -> bool:
    """Whether the cluster has the topic. Raises SettingError or BrokerUnreachable."""
    [found] = describe_cluster(config, [topic]).topics.values()
    return found.error_code not in _NO_TOPIC


def _metadata_request(topics: list[str]) -> Any:
    return MetadataRequest(
        topics=[MetadataRequest.MetadataRequestTopic(name=topic) for topic in topics],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=True,
        min_version=1,
    )


def check_advertised(config: ClientConfig, cluster: Cluster) -> None:
    """Clients go to the addresses that brokers advertise, not to those of --bootstrap-servers.

    Raises SettingError, or BrokerUnreachable when none of them answers.
    """
    config.check_places(cluster.brokers, ADVERTISED)
    if not cluster.brokers or cluster.server in {f"{host}:{port}" for host, port in cluster.brokers}:
        return
    arguments = config.connection_arguments()
    deadline = time.monotonic() + probe.CONNECT_SECONDS

    def attempt(place: tuple[str, int]) -> KafkaConnectorError | None:
        try:
            probe.explained(config, *place, arguments, deadline).close()
        except KafkaConnectorError as error:
            return error
        return None

    chosen = cluster.brokers[:_MAX_BROKERS]
    with ThreadPoolExecutor(len(chosen), thread_name_prefix="kafka-probe") as threads:
        failures = [error for error in threads.map(attempt, chosen) if error is not None]
    for error in failures:
        if isinstance(error, SettingError):
            raise error
    if len(failures) == len(chosen):
        servers = ", ".join(f"{host}:{port}" for host, port in chosen)
        cause = getattr(failures[0], "cause", "")
        raise BrokerUnreachable(servers, f"{cause}; {cluster.server} advertises it (advertised.listeners)")


def check_topic(cluster: Cluster, option: str, name: str) -> int | None:
    """The topic's number of partitions; None where the cluster hides it from us. Raises UnknownTopic."""
    topic = cluster.topics.get(name)
    code = topic.error_code if topic is not None else kafka_errors.UnknownTopicOrPartitionError.errno
    if code == kafka_errors.TopicAuthorizationFailedError.errno:
        return None
    if topic is None or code:
        raise UnknownTopic(name, option, cluster.server)
    return len(topic.partitions)


def check_operation(cluster: Cluster, option: str, name: str, operation: int) -> None:
    """Raise NotAuthorized unless the operation (READ, WRITE) on the topic is allowed."""
    topic = cluster.topics.get(name)
    hidden = topic is not None and topic.error_code == kafka_errors.TopicAuthorizationFailedError.errno
    allowed = None if topic is None else topic.authorized_operations
    if hidden or (allowed and operation not in allowed):
        raise NotAuthorized(f"topic {name!r} ({option})", cluster.server, _NAMES[operation])


def check_group(config: ClientConfig, group_id: str) -> None:
    """Raise NotAuthorized unless offsets may be committed: a heartbeat of nobody is authorized as a commit
    is, and then refused.
    """
    with _session(config) as session:
        answer = session.request(HeartbeatRequest(group_id=group_id, generation_id=-1, member_id="-"))
        if answer.error_code == kafka_errors.GroupAuthorizationFailedError.errno:
            raise NotAuthorized(f"group {group_id!r} (--group-id)", session.server, "READ")


def check_producer(config: ClientConfig) -> None:
    """Raise NotAuthorized unless a producer may be idempotent.

    Brokers before 2.8 want IDEMPOTENT_WRITE on the cluster, later ones WRITE on any topic.
    """
    request = InitProducerIdRequest(
        transactional_id=None,
        transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        producer_id=-1,
        producer_epoch=-1,
    )
    with _session(config) as session:
        if session.request(request).error_code == kafka_errors.ClusterAuthorizationFailedError.errno:
            raise NotAuthorized("the cluster with an idempotent producer", session.server, "IDEMPOTENT_WRITE")


def check_transactional_id(config: ClientConfig, transactional_id: str) -> None:
    """Raise NotAuthorized unless the id may be used: the end of a transaction that nobody began is
    authorized as a producer's is, and then refused.
    """
    request = EndTxnRequest(
        transactional_id=transactional_id, producer_id=-1, producer_epoch=-1, committed=False, max_version=4
    )
    with _session(config) as session:
        code = session.request(request).error_code
        if code == kafka_errors.TransactionalIdAuthorizationFailedError.errno:
            raise NotAuthorized(f"transactional id {transactional_id!r}", session.server, "WRITE")


@contextmanager
def _session(config: ClientConfig) -> Iterator[BrokerSession]:
    with probe.connect(config) as session:
        try:
            yield session
        except SessionFailed as failure:
            cause = f"it stopped answering ({type(failure.cause).__name__})"
            raise BrokerUnreachable(session.server, cause) from None
