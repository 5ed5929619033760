"""A real Kafka broker for tests and the demo: Kafka 4.4, KRaft, one node, on loopback.

The directory holds everything: settings, ports, data, log. An empty one is formatted first; one that was used
before is started again with its data and its ports, also after a kill. The settings beside the usual ones
make a restart take seconds rather than the session timeouts of a cluster.

Ready means that the broker answers a metadata request with itself as a broker: topics can be created.
"""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import ACL, ScramMechanism, UserScramCredentialUpsertion
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local.errors import ServerFailed
from deploy.local.jars import KAFKA_LOCK, ensure_jars
from deploy.local.java import class_path, java_executable
from deploy.local.kafka_security import BrokerSecurity
from deploy.local.processes import ChildProcess, accepts_connections, tail_of
from deploy.local.server import LocalServer

SCRAM_MECHANISM = "SCRAM-SHA-512"

_JVM_OPTIONS = (
    "-Xmx256m",
    "-Xms64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)

# Timeouts of a cluster would make a test wait 13 s for a killed broker; internal topics have one replica.
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "400",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "controlled.shutdown.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}


class KafkaBroker(LocalServer):
    """One broker in `directory`; with `sasl_scram` (user to password) it has a second listener with SASL.

    `security` adds listeners with TLS and SASL, and ACLs (`kafka_security`). `properties` are added to
    server.properties and win over ours.
    """

    name = "Kafka"

    def __init__(
        self,
        directory: Path,
        *,
        sasl_scram: Mapping[str, str] | None = None,
        security: BrokerSecurity | None = None,
        properties: Mapping[str, str] | None = None,
        java: Path | None = None,
        console: Console | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__(directory, detached=detached)
        self._users = dict(sasl_scram or {})
        self._security = security
        self._extra_properties = dict(properties or {})
        self._java = java
        self._console = console
        secured = list(security.listeners) if security is not None else []
        self._ports = self._ports_for(
            ["PLAINTEXT", "CONTROLLER", *(["SASL"] if self._users else []), *secured]
        )

    @property
    def log_path(self) -> Path:
        return self.directory / "kafka.log"

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of the plaintext listener; the same after every restart."""
        return f"127.0.0.1:{self._ports['PLAINTEXT']}"

    @property
    def sasl_bootstrap_servers(self) -> str:
        """`host:port` of the SASL_PLAINTEXT listener. Raises KeyError without `sasl_scram`."""
        return f"127.0.0.1:{self._ports['SASL']}"

    def port(self, listener: str) -> int:
        """Port of a listener by its name (`kafka_security`). Raises KeyError if there is none."""
        return self._ports[listener]

    def allow(self, *acls: ACL) -> None:
        """Create ACLs. Raises kafka.errors.KafkaError."""
        with self._admin() as admin:
            admin.create_acls(list(acls))

    def set_password(self, user: str, password: str) -> None:
        """Give a SCRAM user a password, whether the user exists or not. Raises kafka.errors.KafkaError."""
        with self._admin() as admin:
            _set_passwords(admin, {user: password})

    def create_topics(self, partitions: Mapping[str, int], configs: Mapping[str, str] | None = None) -> None:
        """Create topics with these partition counts, all with `configs`; returns when they have leaders.

        Topics that exist stay as they are. Raises kafka.errors.KafkaError.
        """
        with self._admin() as admin:
            existing = set(admin.list_topics())
            new = {
                topic: {"num_partitions": count, "replication_factor": 1, "configs": dict(configs or {})}
                for topic, count in partitions.items()
                if topic not in existing
            }
            if new:
                admin.create_topics(new, wait_for_metadata=True)

    def _launch(self) -> ChildProcess:
        jars = class_path(ensure_jars(KAFKA_LOCK, console=self._console))
        java = [str(java_executable(self._java)), *_JVM_OPTIONS, "-cp", jars]
        properties = self._write_properties()
        if not (self._data / "meta.properties").exists():
            self._format(java, properties)
        return ChildProcess(
            self.name,
            [*java, "kafka.Kafka", properties],
            log_path=self.log_path,
            directory=self.directory,
            detached=self._detached,
        )

    def _is_ready(self) -> bool:
        if not accepts_connections(self._ports["PLAINTEXT"]):
            return False
        try:
            with self._admin() as admin:
                return bool(admin.describe_cluster()["brokers"]) and self._has_users(admin)
        except KafkaError:
            return False

    def _has_users(self, admin: KafkaAdminClient) -> bool:
        users = {**self._users, **(self._security.users if self._security is not None else {})}
        return not users or _set_passwords(admin, users)

    @contextmanager
    def _admin(self) -> Iterator[KafkaAdminClient]:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers, bootstrap_timeout_ms=5_000)
        try:
            yield admin
        finally:
            admin.close()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _write_properties(self) -> Path:
        listeners = {name: f"{name}://127.0.0.1:{port}" for name, port in self._ports.items()}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "SASL": "SASL_PLAINTEXT"}
        if self._security is not None:
            protocols |= self._security.listeners
        properties = {
            **_PROPERTIES,
            "controller.quorum.voters": f"1@127.0.0.1:{self._ports['CONTROLLER']}",
            "listeners": ",".join(listeners.values()),
            "advertised.listeners": ",".join(url for name, url in listeners.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
            "log.dirs": str(self._data),
            **(_SCRAM_PROPERTIES if self._users else {}),
            **(self._security.properties() if self._security is not None else {}),
            **self._extra_properties,
        }
        path = self.directory / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        return path

    def _format(self, java: list[str], properties: Path) -> None:
        command = [*java, "kafka.tools.StorageTool", "format", "-t", _new_cluster_id(), "-c", str(properties)]
        with self.log_path.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise ServerFailed(
                self.name, "could not format its directory", self.log_path, tail_of(self.log_path)
            )


_SCRAM_PROPERTIES = {
    "sasl.enabled.mechanisms": SCRAM_MECHANISM,
    "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
}


def _set_passwords(admin: KafkaAdminClient, users: Mapping[str, str]) -> bool:
    """Whether it worked. One request for each mechanism: Kafka refuses to change a user twice in one."""
    for mechanism in (ScramMechanism.SCRAM_SHA_512, ScramMechanism.SCRAM_SHA_256):
        credentials = [
            UserScramCredentialUpsertion(user, mechanism, password) for user, password in users.items()
        ]
        if any(admin.alter_user_scram_credentials(credentials).values()):
            return False
    return True


def _new_cluster_id() -> str:
    """A random cluster id as Kafka writes them; no leading dash, which would read as an option."""
    while (cluster_id := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return cluster_id
