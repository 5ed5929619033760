"""The configuration without a broker: what is refused, what stays secret, what the library's logger may
say.
"""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from kafka import errors as kafka_errors

from connectors.kafka.client import ClientConfig, split_servers
from connectors.kafka.client_logs import Observed, pin_logger
from connectors.kafka.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    InsecureConnection,
    InvalidBootstrapServers,
    InvalidProperty,
    NotAuthorized,
    SettingError,
    UnreadableCommandConfig,
)
from connectors.kafka.probing.access import Cluster, check_advertised

SECRET = "correct-horse"
SCRAM = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.jaas.config": f'ScramLoginModule required username="medstream" password="{SECRET}";',
}


def test_a_config_is_hashable_picklable_and_hides_its_secrets() -> None:
    config = ClientConfig.build("kafka.example:9093", properties=SCRAM)
    assert config == ClientConfig.build("kafka.example:9093", properties=SCRAM)
    assert hash(config) == hash(pickle.loads(pickle.dumps(config)))  # noqa: S301
    assert SECRET not in repr(config)
    assert config.username == "medstream"


def test_single_properties_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("client.id=from-file\nrequest.timeout.ms=1000\n")
    config = ClientConfig.build("localhost:9092", file, {"client.id": "single"})
    assert dict(config.settings) == {"client_id": "single", "request_timeout_ms": 1000}


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "no such file"), (b"\xff\xfe", "not UTF-8"), (b"=1", "line 1")],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "client.properties"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnreadableCommandConfig, match=problem) as caught:
        ClientConfig.build("localhost:9092", file)
    assert str(file) in str(caught.value)


def test_a_codec_without_its_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kafka.codec.has_zstd", lambda: False)
    with pytest.raises(InvalidProperty, match=r"compression\.type.*zstandard.*gzip needs none"):
        ClientConfig.build("localhost:9092", properties={"compression.type": "zstd"})
    ClientConfig.build("localhost:9092", properties={"compression.type": "gzip"})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "[::1]", "kafka.localhost"])
def test_plaintext_is_fine_on_loopback(host: str) -> None:
    assert ClientConfig.build(f"{host}:9092").bootstrap_servers == f"{host}:9092"


@pytest.mark.parametrize("servers", ["kafka.example:9092", "10.0.0.1:9092", "localhost:9092,10.0.0.1:9092"])
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_plaintext_to_the_network_needs_insecure(servers: str, protocol: str) -> None:
    properties = {"security.protocol": protocol}
    if protocol == "SASL_PLAINTEXT":
        properties = SCRAM | properties
    with pytest.raises(InsecureConnection, match="--insecure"):
        ClientConfig.build(servers, properties=properties)
    ClientConfig.build(servers, properties=properties, insecure=True)
    ClientConfig.build(servers, properties={"security.protocol": "SSL"})


@pytest.mark.parametrize(
    ("value", "servers"),
    [
        ("a", [("a", 9092)]),
        ("a:1, b:2", [("a", 1), ("b", 2)]),
        ("[::1]:9093,[fe80::1]", [("[::1]", 9093), ("[fe80::1]", 9092)]),
    ],
)
def test_servers(value: str, servers: list[tuple[str, int]]) -> None:
    assert split_servers(value) == servers


@pytest.mark.parametrize("value", ["", "a:1,", ":9092", "a:port", "a:0", "a:70000", "::1:9092", "a:1:2"])
def test_bad_servers_are_refused(value: str) -> None:
    with pytest.raises(InvalidBootstrapServers, match="--bootstrap-servers"):
        split_servers(value)


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"security.protocol": "SASL_SSL"}, "sasl.mechanism"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}, "sasl.jaas.config"),
        ({"sasl.mechanism": "PLAIN"}, "security.protocol"),
        (
            {"security.protocol": "SSL", "ssl.truststore.location": "/nowhere/ca.pem"},
            "ssl.truststore.location",
        ),
    ],
)
def test_contradictions_are_named(properties: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidProperty, match=named):
        ClientConfig.build("localhost:9092", properties=properties)


def test_the_librarys_logger_never_goes_below_info(caplog: pytest.LogCaptureFixture) -> None:
    inner = logging.getLogger("kafka.net.connection")
    levels = logging.getLogger("kafka").level, inner.level
    try:
        logging.getLogger("kafka").setLevel(logging.DEBUG)
        inner.setLevel(logging.DEBUG)
        pin_logger()
        assert not logging.getLogger("kafka").isEnabledFor(logging.DEBUG)
        assert not inner.isEnabledFor(logging.DEBUG)
        inner.setLevel(logging.DEBUG)  # someone insists: the filter still holds
        with caplog.at_level(logging.DEBUG):
            inner.debug("payload %s", SECRET)
            inner.info("connected")
        assert SECRET not in caplog.text
        assert "connected" in caplog.text
    finally:
        logging.getLogger("kafka").setLevel(levels[0])
        inner.setLevel(levels[1])


def test_errors_of_the_library_become_ours() -> None:
    config = ClientConfig.build("kafka.example:9093", properties=SCRAM)
    timeout = kafka_errors.KafkaTimeoutError("Unable to bootstrap")
    refused = config.map_error(timeout, observed(kafka_errors.SaslAuthenticationFailedError("bad")))
    assert isinstance(refused, AuthenticationFailed)
    assert "'medstream'" in str(refused)
    assert SECRET not in str(refused)
    gone = config.map_error(timeout, observed(kafka_errors.KafkaConnectionError("111 ECONNREFUSED")))
    assert isinstance(gone, BrokerUnreachable)
    assert gone.retryable
    assert "ECONNREFUSED" in str(gone)
    forbidden = config.map_error(kafka_errors.TopicAuthorizationFailedError({"audio"}))
    assert isinstance(forbidden, NotAuthorized)
    assert "topic audio" in str(forbidden)


def observed(error: Exception) -> Observed:
    """What is seen of an error that the library only logs."""
    seen = Observed()
    seen.handle(logging.makeLogRecord({"levelno": logging.ERROR, "args": ("bootstrap-0", error)}))
    return seen


# What travels to the workers


def write_config(path: Path, **changed: str) -> Path:
    properties = SCRAM | {name.replace("_", "."): value for name, value in changed.items()}
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return path


def test_the_contents_of_the_file_do_not_travel(tmp_path: Path) -> None:
    config = ClientConfig.build("kafka.example:9093", write_config(tmp_path / "client.properties"))
    assert SECRET.encode() not in pickle.dumps(config)
    assert dict(config.settings)["sasl_plain_password"] == SECRET


def test_a_worker_without_the_file_is_told_so(tmp_path: Path) -> None:
    file = write_config(tmp_path / "client.properties")
    config, shipping = (ClientConfig.build("kafka.example:9093", file, ship=ship) for ship in (False, True))
    file.unlink()
    with pytest.raises(UnreadableCommandConfig, match=r"every worker needs it .* --ship-command-config"):
        config.load()
    assert shipping.load()["sasl_plain_password"] == SECRET
    assert SECRET not in repr(shipping)
    assert hash(shipping) == hash(pickle.loads(pickle.dumps(shipping)))  # noqa: S301


def test_there_is_nothing_to_ship_without_a_file() -> None:
    with pytest.raises(SettingError, match="--ship-command-config"):
        ClientConfig.build("kafka.example:9093", properties=SCRAM, ship=True)


def test_the_file_of_the_worker_wins_over_what_was_shipped(tmp_path: Path) -> None:
    file = write_config(tmp_path / "client.properties")
    config = ClientConfig.build("kafka.example:9093", file, ship=True)
    write_config(file, client_id="rotated")
    assert config.load()["client_id"] == "rotated"


def test_a_file_that_changes_is_held_to_the_same_rules(tmp_path: Path) -> None:
    file = write_config(tmp_path / "client.properties")
    config = ClientConfig.build("kafka.example:9093", file)
    write_config(file, security_protocol="SASL_PLAINTEXT")
    with pytest.raises(InsecureConnection):
        config.load()


@dataclass
class ScriptedClient:
    """A client of kafka-python's after its bootstrap: the brokers that it knows, whether it is closed."""

    places: list[tuple[str, int]]
    closed: bool = False

    @property
    def _manager(self) -> SimpleNamespace:
        brokers = [SimpleNamespace(host=host, port=port) for host, port in self.places]
        return SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: brokers))

    def close(self) -> None:
        self.closed = True


def test_brokers_elsewhere_that_a_broker_of_this_machine_advertises_need_insecure_too() -> None:
    """As behind a tunnel: clients go to the addresses that brokers advertise."""
    here, elsewhere = ("127.0.0.1", 9092), ("kafka-0.internal", 9092)
    config = ClientConfig.build("localhost:9092")
    client = ScriptedClient([here])
    assert config._checked(client) is client
    assert not client.closed
    client = ScriptedClient([here, elsewhere])
    with pytest.raises(InsecureConnection, match=r"kafka-0\.internal:9092 \(advertised\.listeners"):
        config._checked(client)
    assert client.closed
    cluster = Cluster("127.0.0.1:9092", (elsewhere,), {})
    with pytest.raises(InsecureConnection, match="advertised"):
        check_advertised(config, cluster)
    ClientConfig.build("localhost:9092", insecure=True)._checked(ScriptedClient([elsewhere]))
    tls = ClientConfig.build("localhost:9092", properties={"security.protocol": "SSL"})
    tls._checked(ScriptedClient([elsewhere]))


def test_a_token_endpoint_in_the_clear_needs_insecure() -> None:
    properties = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.token.endpoint.url": "http://idp.example/token",
        "sasl.jaas.config": f'OAuthBearerLoginModule required clientId="c" clientSecret="{SECRET}";',
    }
    with pytest.raises(InsecureConnection, match=r"sasl\.oauthbearer\.token\.endpoint\.url") as caught:
        ClientConfig.build("kafka.example:9093", properties=properties)
    assert SECRET not in str(caught.value)
    ClientConfig.build("kafka.example:9093", properties=properties, insecure=True)
