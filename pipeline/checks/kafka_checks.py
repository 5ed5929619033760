"""Checks of the cluster: connection, TLS, login, topics, ACLs, and the topic that keeps the progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from connectors.kafka.client import ClientConfig, is_loopback_only
from connectors.kafka.configuration.consistency import security_protocol, uses_sasl, uses_tls
from connectors.kafka.configuration.properties import Value
from connectors.kafka.configuration.weaknesses import weak_authentication, weak_encryption
from connectors.kafka.delivery import PROGRESS_TOPIC
from connectors.kafka.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    KafkaConnectorError,
    NotAuthorized,
    PartitionsChanged,
    TlsFailed,
    WrongSecurityProtocol,
)
from connectors.kafka.probing.access import (
    READ,
    WRITE,
    Cluster,
    check_advertised,
    check_group,
    check_operation,
    check_producer,
    check_topic,
    check_transactional_id,
    describe_cluster,
)
from connectors.kafka.topics import compacted_partitions, create_compacted
from pipeline.checks.check import Check, Doubtful, NotNeeded, NotPossible

_REACHED = (TlsFailed, WrongSecurityProtocol, AuthenticationFailed, NotAuthorized)
_INPUT, _OUTPUT = "--input-topic", "--output-topic"
_LOGIN = "kafka.login"
_PROGRESS = "topic.progress"


class KafkaChecks:
    """The checks of one job's cluster; what one finds out serves the next.

    `topics`: option -> topic, None for one that is not set. `may_create`: create the progress topic where
    there is none, as a job does; else only ask whether it could be.
    """

    def __init__(
        self,
        config: Callable[[], ClientConfig],
        topics: Mapping[str, str | None],
        progress: str | None,
        *,
        group_id: str,
        transactional_id: str | None,
        may_create: bool,
    ) -> None:
        self._make_config = config
        self._topics = topics
        self._progress_topic = progress
        self._group_id = group_id
        self._transactional_id = transactional_id
        self._may_create = may_create
        self.partitions: dict[str, int] = {}
        self._progress_partitions: int | None = None

    def checks(self) -> Iterator[Check]:
        """In the order of their dependencies."""
        yield Check(
            "kafka.settings",
            "read the settings of the Kafka clients",
            self._settings,
            remedy="Correct --command-config, --kafka-property or --bootstrap-servers.",
        )
        yield Check("kafka.broker", "connect to the bootstrap servers", self._broker, ("kafka.settings",))
        yield Check("kafka.tls", "encrypt the connection", self._tls, ("kafka.broker",))
        yield Check(_LOGIN, "log in (SASL), ask for metadata", self._login, ("kafka.tls",))
        yield Check("kafka.advertised", "connect to what brokers advertise", self._advertised, (_LOGIN,))
        for option in self._topics:
            yield from self._topic_checks(option)
        yield Check("acl.group", "commit offsets as --group-id", self._group, (_LOGIN,))
        yield Check("acl.producer", "open an idempotent producer", self._producer, (_LOGIN,))
        yield Check("acl.transactions", "use the transactional ids", self._transactions, (_LOGIN,))
        yield from self._progress_checks()

    def _topic_checks(self, option: str) -> Iterator[Check]:
        kind = option.removeprefix("--").removesuffix("-topic")
        operation, verb = (READ, "read") if option == _INPUT else (WRITE, "write")
        yield Check(f"topic.{kind}", f"find the topic of {option}", lambda: self._topic(option), (_LOGIN,))
        yield Check(
            f"acl.{kind}",
            f"{verb} the topic of {option}",
            lambda: self._operation(option, operation),
            (f"topic.{kind}",),
        )

    def _progress_checks(self) -> Iterator[Check]:
        yield Check(
            _PROGRESS, "find the compacted topic, or create it", self._progress, (_LOGIN, "topic.output")
        )
        yield Check(
            "topic.progress-partitions",
            "compare with the output topic's partitions",
            self._same_partitions,
            (_PROGRESS,),
        )
        yield Check("acl.progress", "read and write the progress topic", self._progress_acl, (_PROGRESS,))

    # Connection

    @cached_property
    def _config(self) -> ClientConfig:
        return self._make_config()

    @cached_property
    def _connection(self) -> Cluster | KafkaConnectorError:
        """The cluster, or why there is none: one attempt for broker, TLS and login."""
        wanted = [topic for topic in (*self._topics.values(), self._progress_topic) if topic is not None]
        try:
            return describe_cluster(self._config, wanted)
        except KafkaConnectorError as error:
            return error

    @property
    def _cluster(self) -> Cluster:
        found = self._connection
        if isinstance(found, KafkaConnectorError):
            raise found
        return found

    def _settings(self) -> str:
        settings = self._config.load()
        origin = self._config.command_config or "no --command-config"
        return f"{security_protocol(settings)}, {origin}"

    def _broker(self) -> str:
        error = self._connection
        if isinstance(error, BrokerUnreachable):
            raise error
        self._refuse_unreached()
        return f"{self._config.bootstrap_servers} answers"

    def _tls(self) -> str:
        error, settings = self._connection, self._config.load()
        if isinstance(error, TlsFailed) or (
            isinstance(error, WrongSecurityProtocol) and "SASL" not in error.found
        ):
            raise error
        self._refuse_unreached()
        self._doubt(weak_encryption, "Set security.protocol to SSL or SASL_SSL, and check host names.")
        if not uses_tls(settings):
            raise NotNeeded(f"security.protocol is {security_protocol(settings)}")
        return "the broker's certificate is trusted"

    def _doubt(self, weakness: Callable[[Mapping[str, Value]], str | None], remedy: str) -> None:
        """Raise Doubtful for a weakness of the way to brokers on other machines."""
        if not is_loopback_only(self._config.bootstrap_servers):
            weak = weakness(self._config.load())
            if weak is not None:
                raise Doubtful(f"{self._config.bootstrap_servers}: {weak}", remedy)

    def _refuse_unreached(self) -> None:
        """Without a token or AWS credentials nobody even connected."""
        if isinstance(self._connection, KafkaConnectorError) and not isinstance(self._connection, _REACHED):
            raise NotNeeded("not tried, since there is nothing to log in with")

    def _login(self) -> str:
        server, settings = self._cluster.server, self._config.load()
        self._doubt(weak_authentication, "Log in (SASL_SSL), or with a certificate (ssl.keystore.location).")
        if not uses_sasl(settings):
            return f"{server} wants no login"
        user = self._config.username
        return f"{settings.get('sasl_mechanism')}{f' as {user!r}' if user else ''} at {server}"

    def _advertised(self) -> str:
        check_advertised(self._config, self._cluster)
        return ", ".join(f"{host}:{port}" for host, port in self._cluster.brokers[:3]) or "none"

    # Topics and ACLs

    def _topic(self, option: str) -> str:
        topic = self._topics[option]
        if topic is None:
            raise NotPossible(f"{option} is not set")
        partitions = check_topic(self._cluster, option, topic)
        if partitions is None:
            raise NotNeeded(f"{topic}: hidden from this user, see its ACL")
        self.partitions[topic] = partitions
        return f"{topic}: {partitions} partition(s)"

    def _operation(self, option: str, operation: int) -> str:
        topic = self._topics[option]
        check_operation(self._cluster, option, topic or "", operation)
        return f"{topic}: allowed"

    def _group(self) -> str:
        check_group(self._config, self._group_id)
        return f"group {self._group_id}: allowed"

    def _producer(self) -> str:
        check_producer(self._config)
        return "allowed"

    def _transactions(self) -> str:
        if self._transactional_id is None:
            raise NotNeeded("--delivery is at-least-once")
        check_transactional_id(self._config, self._transactional_id)
        return f"{self._transactional_id}: allowed"

    # Progress

    def _progress(self) -> str:
        topic, partitions = self._progress_topic, self._output_partitions()
        if topic is None:
            raise NotPossible(f"{_OUTPUT} is not set")
        self._progress_partitions = compacted_partitions(self._config, topic, setting=PROGRESS_TOPIC)
        if self._progress_partitions is not None:
            return f"{topic}: compacted"
        create_compacted(
            self._config, topic, partitions, setting=PROGRESS_TOPIC, dry_run=not self._may_create
        )
        if not self._may_create:
            return f"{topic}: does not exist yet; the job may create it"
        self._progress_partitions = partitions
        return f"{topic}: created"

    def _same_partitions(self) -> str:
        topic, wanted, found = self._topics[_OUTPUT], self._output_partitions(), self._progress_partitions
        if found is None:
            raise NotNeeded("the topic does not exist yet")
        if found != wanted:
            raise PartitionsChanged(str(topic), found, wanted)
        return f"{found} partition(s), as {topic}"

    def _output_partitions(self) -> int:
        """Raises NotPossible where the cluster hides the output topic."""
        topic = self._topics[_OUTPUT]
        if topic not in self.partitions:
            raise NotPossible("the output topic's partitions are not known")
        return self.partitions[str(topic)]

    def _progress_acl(self) -> str:
        if self._progress_partitions is None:
            raise NotNeeded("the topic does not exist yet")
        topic = str(self._progress_topic)
        cluster = describe_cluster(self._config, [topic])  # anew: it may have been created meanwhile
        check_topic(cluster, PROGRESS_TOPIC, topic)
        for operation in (READ, WRITE):
            check_operation(cluster, PROGRESS_TOPIC, topic, operation)
        return f"{topic}: allowed"
