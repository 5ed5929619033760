"""Properties of Kafka's Java clients that are not taken, and why: what medstream settles itself, and what
only exists in a Java virtual machine. Pure.
"""

from __future__ import annotations

SET_BY_MEDSTREAM: dict[str, str] = {
    "acks": "medstream always waits for all in-sync replicas",
    "allow.auto.create.topics": "medstream never creates topics by reading or writing them",
    "auto.commit.interval.ms": "offsets are committed with Beam's checkpoints",
    "auto.offset.reset": "use --start-from",
    "bootstrap.servers": "use --bootstrap-servers",
    "buffer.memory": "medstream bounds what is in flight itself",
    "enable.auto.commit": "offsets are committed with Beam's checkpoints",
    "enable.idempotence": "medstream's producer is always idempotent",
    "group.id": "use --group-id",
    "key.deserializer": "medstream reads the bytes itself",
    "key.serializer": "medstream writes the bytes itself",
    "max.in.flight.requests.per.connection": "the idempotent producer keeps the order with Kafka's default",
    "max.poll.records": "use the source's own limit",
    "retries": "records are sent again until delivery.timeout.ms",
    "transactional.id": "medstream names its transactions itself",
    "value.deserializer": "medstream reads the bytes itself",
    "value.serializer": "medstream writes the bytes itself",
}

_NO_GROUP = "medstream assigns partitions itself and joins no group"
_NO_PARTITIONER = "records are partitioned by key, as Java's default partitioner does"
_METRICS = "metrics are Beam's"
_JVM = "it is about the Java virtual machine"
_NO_KERBEROS = "Kerberos is not supported; use a SCRAM or OAUTHBEARER listener, or client certificates"
_PEM_PASSWORD = "PEM stores have no password; for an encrypted key use ssl.key.password"  # noqa: S105
_REFRESH = "a token is replaced before it expires"
_ASSERTIONS = "of OAuth's grants only client_credentials is supported"
_BROKER_SIDE = "the broker validates tokens, not the client"
_NOT_IN_CLIENT = "kafka-python has no such setting"

_WITHOUT_EFFECT: dict[str, str] = {
    "bootstrap.controllers": "medstream talks to brokers; use --bootstrap-servers",
    "bootstrap.resolve.timeout.ms": _NOT_IN_CLIENT,
    "compression.gzip.level": _NOT_IN_CLIENT,
    "compression.lz4.level": _NOT_IN_CLIENT,
    "compression.zstd.level": _NOT_IN_CLIENT,
    "default.api.timeout.ms": "use request.timeout.ms and max.block.ms",
    "enable.metrics.push": _METRICS,
    "exclude.internal.topics": "topics are named one by one",
    "group.instance.id": _NO_GROUP,
    "group.protocol": _NO_GROUP,
    "group.remote.assignor": _NO_GROUP,
    "heartbeat.interval.ms": _NO_GROUP,
    "interceptor.classes": _JVM,
    "max.poll.interval.ms": _NO_GROUP,
    "metadata.cluster.check.enable": _NOT_IN_CLIENT,
    "metadata.max.idle.ms": _NOT_IN_CLIENT,
    "partition.assignment.strategy": _NO_GROUP,
    "partitioner.class": _NO_PARTITIONER,
    "retry.backoff.max.ms": "use retry.backoff.ms",
    "sasl.login.class": _JVM,
    "sasl.login.retry.backoff.max.ms": "a token is asked for three times, then the client connects anew",
    "sasl.login.retry.backoff.ms": "a token is asked for three times, then the client connects anew",
    "security.providers": _JVM,
    "session.timeout.ms": _NO_GROUP,
    "socket.connection.setup.timeout.max.ms": _NOT_IN_CLIENT,
    "socket.connection.setup.timeout.ms": _NOT_IN_CLIENT,
    "ssl.engine.factory.class": _JVM,
    "ssl.keymanager.algorithm": _JVM,
    "ssl.keystore.password": _PEM_PASSWORD,
    "ssl.provider": _JVM,
    "ssl.secure.random.implementation": _JVM,
    "ssl.trustmanager.algorithm": _JVM,
    "ssl.truststore.password": _PEM_PASSWORD,
    "transaction.two.phase.commit.enable": "medstream ends its transactions itself",
}
_PREFIXES: dict[str, str] = {
    "metadata.recovery.": _NOT_IN_CLIENT,
    "metric.": _METRICS,
    "metrics.": _METRICS,
    "partitioner.": _NO_PARTITIONER,
    "sasl.kerberos.": _NO_KERBEROS,
    "sasl.login.refresh.": _REFRESH,
    "sasl.oauthbearer.allow.unverified.": _BROKER_SIDE,
    "sasl.oauthbearer.assertion.": _ASSERTIONS,
    "sasl.oauthbearer.clock.skew.": _BROKER_SIDE,
    "sasl.oauthbearer.expected.": _BROKER_SIDE,
    "sasl.oauthbearer.jwks.": _BROKER_SIDE,
    "sasl.oauthbearer.jwt.validator.": _BROKER_SIDE,
    "sasl.oauthbearer.scope.claim.": _BROKER_SIDE,
    "sasl.oauthbearer.sub.claim.": _BROKER_SIDE,
    "share.": "medstream reads partitions, not share groups",
}


def reason_for_refusal(name: str) -> str | None:
    """Why a property of Java's clients is not taken; None for one that is, or that does not exist."""
    exact = SET_BY_MEDSTREAM.get(name) or _WITHOUT_EFFECT.get(name)
    if exact:
        return exact
    return next((reason for prefix, reason in _PREFIXES.items() if name.startswith(prefix)), None)
