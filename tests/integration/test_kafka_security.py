"""Secured connections to a real broker: every way in, every way to get it wrong in one sentence and in
seconds, and credentials that change under a client that stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ACLOperation, ResourceType

from connectors.kafka.audio_log import AudioLog
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    KafkaConnectorError,
    NotAuthorized,
    TlsFailed,
    TokenRequestFailed,
)
from connectors.kafka.probing.access import check_connection, check_producer
from connectors.kafka.publisher import Publisher
from deploy.local.flink import FlinkJobServer
from deploy.local.processes import free_port
from tests.fakes.http_server import LocalHttp
from tests.integration import kafka_probe
from tests.integration.conftest import Measured
from tests.integration.secured_kafka import (
    MTLS,
    PASSWORD,
    REAUTHENTICATE_SECONDS,
    SASL_SSL,
    SSL,
    USER,
    WRONG_PASSWORD,
    SecuredKafka,
    allowed,
    unsigned_token,
)
from tests.integration.security_cases import WAYS_IN, WRONG

_LIMIT_SECONDS = 15.0
IN, OUT, GROUP, TRANSACTIONS = "secured-in", "secured-out", "secured-group", "secured-tx"
SECRETS = (PASSWORD, WRONG_PASSWORD, "not.a.token", "synthetic-secret")
TOPICS = {"--input-topic": IN, "--output-topic": OUT}


@pytest.fixture(scope="module")
def cluster(secured_kafka: SecuredKafka) -> SecuredKafka:
    """With the topics and ACLs that a job needs, and topics of one ACL or none."""
    broker = secured_kafka.broker
    broker.create_topics({IN: 1, OUT: 1, "read-only": 1, "write-only": 1, "nobody": 1})
    broker.allow(
        allowed(ACLOperation.READ, ResourceType.TOPIC, IN),
        allowed(ACLOperation.WRITE, ResourceType.TOPIC, OUT),
        allowed(ACLOperation.READ, ResourceType.TOPIC, "read-only"),
        allowed(ACLOperation.WRITE, ResourceType.TOPIC, "write-only"),
        allowed(ACLOperation.READ, ResourceType.GROUP, GROUP),
        allowed(ACLOperation.WRITE, ResourceType.TRANSACTIONAL_ID, TRANSACTIONS),
    )
    return secured_kafka


@pytest.fixture
def quiet_logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged, at DEBUG."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def check(address: str, properties: dict[str, str], **access: Any) -> dict[str, int]:
    access = {"group_id": GROUP, "transactional_ids": [TRANSACTIONS], **access}
    topics = access.pop("topics", TOPICS)
    return check_connection(ClientConfig.build(address, properties=properties), topics, **access)


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_way_in(cluster: SecuredKafka, way: str) -> None:
    """Through the checks, and through kafka-python's own clients: a record goes out, one comes in."""
    listener, properties = WAYS_IN[way]
    config = ClientConfig.build(cluster.address(listener), properties=properties(cluster))
    found = check_connection(config, TOPICS, group_id=GROUP, transactional_ids=[TRANSACTIONS])
    assert found == {IN: 1, OUT: 1}
    publisher, log = Publisher(config), AudioLog(config)
    publisher.wait([publisher.send(OUT, b"k", b"v", [])])
    assert not log.read(IN, 0, b"k", 0, 0).result(10).records
    publisher.close()
    log.close()


def test_a_hostname_that_the_certificate_does_not_have_passes_when_the_check_is_off(
    cluster: SecuredKafka,
) -> None:
    properties = {**cluster.password("PLAIN"), "ssl.endpoint.identification.algorithm": ""}
    assert check(cluster.address(SASL_SSL, "localhost"), properties) == {IN: 1, OUT: 1}


@pytest.mark.parametrize("secret", ["the-secret", "not-the-secret"])
def test_a_token_from_an_endpoint(cluster: SecuredKafka, secret: str) -> None:
    def answer(request: Any) -> tuple[int, object]:
        import base64

        login = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        if login != "medstream:the-secret":
            return 401, {"error": "invalid_client", "error_description": f"{login} is not known"}
        now = time.time()
        return 200, {"access_token": unsigned_token(USER, now - 1, now + 600), "expires_in": 600}

    with LocalHttp(answer) as server:
        options = f'clientId="medstream" clientSecret="{secret}" scope="kafka"'
        properties = cluster.oauth(f"{server.url}/token", options)
        if secret == "the-secret":
            assert check(cluster.address(SASL_SSL), properties) == {IN: 1, OUT: 1}
            assert len(server.requests) == 1  # one token for all connections
            assert "grant_type=client_credentials&scope=kafka" in server.requests[0].body
        else:
            with pytest.raises(
                TokenRequestFailed, match=r"HTTP 401 \(invalid_client\).*clientSecret"
            ) as caught:
                check(cluster.address(SASL_SSL), properties)
            assert secret not in str(caught.value)


# What goes wrong


@pytest.fixture
def aws_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSYNTHETIC")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "synthetic-secret")


@pytest.mark.usefixtures("aws_key")
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_one_sentence(
    cluster: SecuredKafka, case: str, measured: Measured, quiet_logs: pytest.LogCaptureFixture
) -> None:
    listener, properties, expected, sentence = WRONG[case]
    address = cluster.address(SSL, "localhost") if listener == "localhost" else cluster.address(listener)
    seconds = fails(expected, sentence, lambda: check(address, properties(cluster)))
    measured(f"{case}: {seconds:.2f} s")
    assert not [secret for secret in SECRETS if secret in quiet_logs.text]


@pytest.mark.parametrize("case", ["wrong password, SCRAM", "no authority", "no client certificate"])
def test_a_worker_s_client_says_the_same(cluster: SecuredKafka, case: str, measured: Measured) -> None:
    """There kafka-python tries for its whole bootstrap time (10 s) first; shortened here."""
    listener, properties, expected, sentence = WRONG[case]
    config = ClientConfig.build(cluster.address(listener), properties=properties(cluster))
    seconds = fails(expected, sentence, lambda: config.producer(bootstrap_timeout_ms=1_500))
    measured(f"a worker's client, {case}: {seconds:.2f} s")


def fails(expected: type[KafkaConnectorError], sentence: str, call: Callable[[], object]) -> float:
    """Seconds until the sentence; it is one line, and no secret is in it."""
    began = time.monotonic()
    with pytest.raises(expected, match=sentence) as caught:
        call()
    seconds = time.monotonic() - began
    assert seconds < _LIMIT_SECONDS
    text = str(caught.value)
    assert "\n" not in text
    assert not [secret for secret in SECRETS if secret in text]
    return seconds


def test_nobody_there(cluster: SecuredKafka, measured: Measured) -> None:
    seconds = fails(
        BrokerUnreachable,
        "Connection refused",
        lambda: check(f"127.0.0.1:{free_port()}", cluster.password("PLAIN")),
    )
    measured(f"nobody there: {seconds:.2f} s")
    there = f"127.0.0.1:{free_port()},{cluster.address(SASL_SSL)}"  # one of two is enough
    assert check(there, cluster.password("PLAIN")) == {IN: 1, OUT: 1}


@pytest.mark.parametrize(
    ("access", "sentence"),
    [
        ({"topics": {"--input-topic": "nobody"}}, r"READ topic 'nobody' \(--input-topic\)"),
        ({"topics": {"--input-topic": "write-only"}}, r"READ topic 'write-only'"),
        ({"topics": {"--output-topic": "read-only"}}, r"WRITE topic 'read-only' \(--output-topic\)"),
        ({"topics": {"--output-topic": "no-such-topic"}}, r"WRITE topic 'no-such-topic'"),
        ({"group_id": "others"}, r"READ group 'others' \(--group-id\)"),
        ({"transactional_ids": ["others"]}, r"WRITE transactional id 'others'"),
    ],
)
def test_a_missing_acl_is_named(cluster: SecuredKafka, access: dict[str, Any], sentence: str) -> None:
    fails(
        NotAuthorized,
        rf"does not allow this user to {sentence}.*ACL",
        lambda: check(cluster.address(SASL_SSL), cluster.password("PLAIN"), **access),
    )


def test_a_user_without_any_topic_may_not_produce(cluster: SecuredKafka) -> None:
    properties = cluster.oauth(cluster.write_token("bob", 600, user="bob").as_uri())
    config = ClientConfig.build(cluster.address(SASL_SSL), properties=properties)
    with pytest.raises(NotAuthorized, match="READ topic"):
        check_connection(config, {"--input-topic": IN})
    with pytest.raises(NotAuthorized, match="IDEMPOTENT_WRITE the cluster"):
        check_producer(config)


# Rotation


def test_a_password_that_changes_under_a_producer_that_stays(
    cluster: SecuredKafka, tmp_path: Path, quiet_logs: pytest.LogCaptureFixture
) -> None:
    """The broker makes clients log in anew every few seconds, within the connection."""
    file, secret = tmp_path / "client.properties", tmp_path / "secrets.properties"
    properties = cluster.password("SCRAM-SHA-512", f"${{file:{secret}:password}}", user="rotating")
    properties["config.providers"] = "file"
    properties["config.providers.file.class"] = "org.apache.kafka.common.config.provider.FileConfigProvider"
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    cluster.broker.allow(allowed(ACLOperation.WRITE, ResourceType.TOPIC, OUT, "User:rotating"))

    def rotate(password: str) -> None:
        cluster.broker.set_password("rotating", password)
        secret.write_text(f"password={password}\n")

    rotate("first-horse")
    config = ClientConfig.build(cluster.address(SASL_SSL), file)
    assert "first-horse" not in repr(config)
    publisher = Publisher(config)
    publisher.wait([publisher.send(OUT, b"k", b"1", [])])
    opened = publisher._producer
    rotate("second-horse")
    deadline = time.monotonic() + 2 * REAUTHENTICATE_SECONDS
    while time.monotonic() < deadline:
        publisher.wait([publisher.send(OUT, b"k", b"2", [])])
        time.sleep(0.2)
    assert publisher._producer is opened  # the same one, with a login that the old password does not give
    with pytest.raises(AuthenticationFailed):
        check(cluster.address(SASL_SSL), cluster.password("SCRAM-SHA-512", "first-horse", user="rotating"))
    publisher.close()
    for password in ("first-horse", "second-horse"):
        assert password not in quiet_logs.text


def test_a_token_file_that_is_replaced_under_a_producer_that_stays(
    cluster: SecuredKafka, quiet_logs: pytest.LogCaptureFixture
) -> None:
    """The broker ends a session with its token; the client logs in anew before.

    kafka-python may send a request while it does, which the broker answers with IllegalSaslState: then it
    connects anew. An old token would be refused as such.
    """
    path = cluster.write_token("rotating", 4)
    config = ClientConfig.build(cluster.address(SASL_SSL), properties=cluster.oauth(path.as_uri()))
    publisher = Publisher(config)
    deadline = time.monotonic() + 7
    while time.monotonic() < deadline:
        publisher.wait([publisher.send(OUT, b"k", b"1", [])])
        cluster.write_token("rotating", 4)
        time.sleep(0.3)
    publisher.close()
    assert "SaslAuthenticationFailed" not in quiet_logs.text


def test_a_client_certificate_that_is_replaced_counts_for_the_next_connection(cluster: SecuredKafka) -> None:
    store = cluster.write_store("turning", cluster.stranger.issue_cert("c.example", common_name=USER))
    config = ClientConfig.build(
        cluster.address(MTLS), properties={**cluster.tls, "ssl.keystore.location": str(store)}
    )
    with pytest.raises(TlsFailed):
        check_connection(config, TOPICS)
    cluster.write_store("turning", cluster.authority.issue_cert("c.example", common_name=USER))
    assert check_connection(config, TOPICS) == {IN: 1, OUT: 1}


# The job


def test_workers_of_flink_read_the_properties_file_where_they_are(
    cluster: SecuredKafka, flink: FlinkJobServer, tmp_path: Path
) -> None:
    """A bounded copy from topic to topic. What was submitted has the file's path only (`test_client`)."""
    broker, user = cluster.broker, "flink"
    broker.create_topics({"flink-in": 2, "flink-out": 1})
    broker.set_password(user, PASSWORD)
    for operation, kind, name in (
        (ACLOperation.READ, ResourceType.TOPIC, "flink-in"),
        (ACLOperation.WRITE, ResourceType.TOPIC, "flink-out"),
    ):
        broker.allow(allowed(operation, kind, name, f"User:{user}"))
    file = tmp_path / "client.properties"
    properties = cluster.password("SCRAM-SHA-256", user=user)
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    admin = ClientConfig.build(broker.bootstrap_servers)
    publisher = Publisher(admin)
    publisher.wait([publisher.send("flink-in", b"k%d" % (n % 5), b"%d" % n, []) for n in range(100)])
    config = ClientConfig.build(cluster.address(SASL_SSL), file)
    options = [*flink.pipeline_options(), "--shutdown_sources_after_idle_ms=500"]
    job = kafka_probe.run(options, config, "flink-in", "flink-out", stop_at="end")
    job.wait_until_finish(60_000)
    log = AudioLog(admin)
    records = [
        record for n in range(5) for record in log.read("flink-out", 0, b"k%d" % n, 0, 100).result(10).records
    ]
    assert sorted(int(record.value or b"-1") for record in records) == list(range(100))
    publisher.close()
    log.close()
