"""Whether a job may do what it is about to do: the topics exist, and the ACLs allow each operation.

Nothing is written and no group or transaction is touched: the broker is asked which operations it allows on
the topics; group and transactional id are tried with requests that it authorizes first and then refuses,
because the member or producer that they name does not exist.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import errors as kafka_errors
from kafka.protocol.consumer import HeartbeatRequest
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import EndTxnRequest, InitProducerIdRequest

from connectors.kafka import probe
from connectors.kafka.broker_session import BrokerSession, SessionFailed
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import (
    BrokerUnreachable,
    KafkaConnectorError,
    NotAuthorized,
    SettingError,
    UnknownTopic,
)

READ, WRITE = 3, 4  # of Kafka's AclOperation
_NAMES = {READ: "READ", WRITE: "WRITE"}
_MAX_BROKERS = 10
_NO_TOPIC = (kafka_errors.UnknownTopicOrPartitionError.errno, kafka_errors.InvalidTopicError.errno)
_TRANSACTION_TIMEOUT_MS = 60_000


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
    session = probe.connect(config)
    with session:
        try:
            metadata = session.request(_metadata_request(sorted(set(topics.values()))))
            _check_brokers(config, session, metadata.brokers)
            partitions = _check_topics(session.server, metadata.topics, topics, read)
            if group_id is not None:
                _check_group(session, group_id)
            if any(option not in read for option in topics):
                _check_producer(session)
            for transactional_id in transactional_ids:
                _check_transactional_id(session, transactional_id)
        except SessionFailed as failure:
            cause = f"it stopped answering ({type(failure.cause).__name__})"
            raise BrokerUnreachable(session.server, cause) from None
    return partitions


def topic_exists(config: ClientConfig, topic: str) -> bool:
    """Whether the cluster has the topic. Raises SettingError or BrokerUnreachable."""
    with probe.connect(config) as session:
        try:
            [found] = session.request(_metadata_request([topic])).topics
        except SessionFailed as failure:
            cause = f"it stopped answering ({type(failure.cause).__name__})"
            raise BrokerUnreachable(session.server, cause) from None
    return found.error_code not in _NO_TOPIC


def _metadata_request(topics: list[str]) -> Any:
    return MetadataRequest(
        topics=[MetadataRequest.MetadataRequestTopic(name=topic) for topic in topics],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=True,
        min_version=1,
    )


def _check_brokers(config: ClientConfig, session: BrokerSession, brokers: Collection[Any]) -> None:
    """Clients go to the addresses that brokers advertise, not to those of --bootstrap-servers."""
    places = {(broker.host, broker.port) for broker in brokers}
    if not places or (session.host, session.port) in places:
        return
    arguments = config.connection_arguments()
    deadline = time.monotonic() + probe.CONNECT_SECONDS

    def attempt(place: tuple[str, int]) -> KafkaConnectorError | None:
        try:
            probe.explained(config, *place, arguments, deadline).close()
        except KafkaConnectorError as error:
            return error
        return None

    chosen = sorted(places)[:_MAX_BROKERS]
    with ThreadPoolExecutor(len(chosen), thread_name_prefix="kafka-probe") as threads:
        failures = [error for error in threads.map(attempt, chosen) if error is not None]
    for error in failures:
        if isinstance(error, SettingError):
            raise error
    if len(failures) == len(chosen):
        servers = ", ".join(f"{host}:{port}" for host, port in chosen)
        cause = getattr(failures[0], "cause", "")
        raise BrokerUnreachable(servers, f"{cause}; {session.server} advertises it (advertised.listeners)")


def _check_topics(
    server: str, found: Collection[Any], topics: Mapping[str, str], read: Collection[str]
) -> dict[str, int]:
    by_name = {topic.name: topic for topic in found}
    partitions = {}
    for option, name in topics.items():
        topic, operation = by_name.get(name), READ if option in read else WRITE
        resource = f"topic {name!r} ({option})"
        code = topic.error_code if topic is not None else kafka_errors.UnknownTopicOrPartitionError.errno
        if code == kafka_errors.TopicAuthorizationFailedError.errno:
            raise NotAuthorized(resource, server, _NAMES[operation])
        if topic is None or code:
            raise UnknownTopic(name, option, server)
        allowed = topic.authorized_operations
        if allowed and operation not in allowed:
            raise NotAuthorized(resource, server, _NAMES[operation])
        partitions[name] = len(topic.partitions)
    return partitions


def _check_group(session: BrokerSession, group_id: str) -> None:
    """A heartbeat of nobody: authorized as a commit of offsets is, and then refused."""
    answer = session.request(HeartbeatRequest(group_id=group_id, generation_id=-1, member_id="-"))
    if answer.error_code == kafka_errors.GroupAuthorizationFailedError.errno:
        raise NotAuthorized(f"group {group_id!r} (--group-id)", session.server, "READ")


def _check_producer(session: BrokerSession) -> None:
    """Brokers before 2.8 want IDEMPOTENT_WRITE on the cluster, later ones WRITE on any topic."""
    request = InitProducerIdRequest(
        transactional_id=None,
        transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        producer_id=-1,
        producer_epoch=-1,
    )
    answer = session.request(request)
    if answer.error_code == kafka_errors.ClusterAuthorizationFailedError.errno:
        raise NotAuthorized("the cluster with an idempotent producer", session.server, "IDEMPOTENT_WRITE")


def _check_transactional_id(session: BrokerSession, transactional_id: str) -> None:
    """The end of a transaction that nobody began: authorized as a producer's is, and then refused."""
    request = EndTxnRequest(
        transactional_id=transactional_id, producer_id=-1, producer_epoch=-1, committed=False, max_version=4
    )
    answer = session.request(request)
    if answer.error_code == kafka_errors.TransactionalIdAuthorizationFailedError.errno:
        raise NotAuthorized(f"transactional id {transactional_id!r}", session.server, "WRITE")
