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

from connectors.kafka.access import check_connection
from connectors.kafka.audio_log import AudioLog
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    KafkaConnectorError,
    NotAuthorized,
    TlsFailed,
    TokenRequestFailed,
    WrongSecurityProtocol,
)
from connectors.kafka.publisher import Publisher
from deploy.local.processes import free_port
from tests.fakes.http_server import LocalHttp
from tests.integration.conftest import Measured
from tests.integration.secured_kafka import (
    KEY_PASSWORD,
    MTLS,
    PASSWORD,
    REAUTHENTICATE_SECONDS,
    SASL_SSL,
    SSL,
    USER,
    WRONG_PASSWORD,
    SecuredKafka,
    allowed,
    key_and_chain,
    unsigned_token,
)

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


Properties = Callable[[SecuredKafka], dict[str, str]]


def inline_stores(cluster: SecuredKafka) -> dict[str, str]:
    key, chain = key_and_chain(cluster.authority.issue_cert("c.example", common_name=USER), KEY_PASSWORD)
    return {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": cluster.ca.read_text(),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": key,
        "ssl.keystore.certificate.chain": chain,
        "ssl.key.password": KEY_PASSWORD,
    }


def token_file(name: str, seconds: float) -> Properties:
    return lambda cluster: cluster.oauth(cluster.write_token(name, seconds).as_uri())


WAYS_IN: dict[str, tuple[str, Properties]] = {
    "PLAIN": (SASL_SSL, lambda cluster: cluster.password("PLAIN")),
    "SCRAM-SHA-256": (SASL_SSL, lambda cluster: cluster.password("SCRAM-SHA-256")),
    "SCRAM-SHA-512": (SASL_SSL, lambda cluster: cluster.password("SCRAM-SHA-512")),
    "token file": (SASL_SSL, token_file("good", 600)),
    "client certificate": (MTLS, lambda cluster: cluster.mutual_tls),
    "client certificate, inline": (MTLS, inline_stores),
    "TLS 1.2, Java's name of a suite": (
        SASL_SSL,
        lambda cluster: {
            **cluster.password("PLAIN"),
            "ssl.enabled.protocols": "TLSv1.2",
            "ssl.cipher.suites": "TLS_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        },
    ),
}


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

Case = tuple[str, Properties, type[KafkaConnectorError], str]
WRONG: dict[str, Case] = {
    "wrong password, PLAIN": (
        SASL_SSL,
        lambda cluster: cluster.password("PLAIN", WRONG_PASSWORD),
        AuthenticationFailed,
        r"PLAIN login for user 'alice'.*sasl\.jaas\.config",
    ),
    "wrong password, SCRAM": (
        SASL_SSL,
        lambda cluster: cluster.password("SCRAM-SHA-512", WRONG_PASSWORD),
        AuthenticationFailed,
        r"SCRAM-SHA-512 login for user 'alice'.*sasl\.jaas\.config",
    ),
    "a mechanism that the listener does not have": (
        SASL_SSL,
        lambda cluster: {
            **cluster.tls,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "AWS_MSK_IAM",
            "sasl.jaas.config": "software.amazon.msk.auth.iam.IAMLoginModule required awsRegion=eu-west-1;",
        },
        AuthenticationFailed,
        r"AWS_MSK_IAM login.*Set sasl\.mechanism to one of .*SCRAM-SHA-512",
    ),
    "expired token": (SASL_SSL, token_file("expired", -10), TokenRequestFailed, "expired 10 s ago.*file"),
    "a token that the broker refuses": (
        SASL_SSL,
        lambda cluster: cluster.oauth(not_a_token(cluster).as_uri()),
        AuthenticationFailed,
        "OAUTHBEARER login.*issuer, audience and expiry",
    ),
    "no authority": (
        SSL,
        lambda _: {"security.protocol": "SSL"},
        TlsFailed,
        r"authority that this system does not know.*Set ssl\.truststore\.location",
    ),
    "wrong authority": (
        SSL,
        lambda cluster: {**cluster.tls, "ssl.truststore.location": str(cluster.other_ca)},
        TlsFailed,
        r"authority that .*other-ca\.pem does not hold",
    ),
    "wrong host name": (
        "localhost",
        lambda cluster: cluster.tls,
        TlsFailed,
        r"not valid for localhost, only for 127\.0\.0\.1.*--bootstrap-servers",
    ),
    "no client certificate": (
        MTLS,
        lambda cluster: cluster.tls,
        TlsFailed,
        r"asks for a client certificate.*Set ssl\.keystore\.location",
    ),
    "a client certificate of somebody else": (
        MTLS,
        lambda cluster: {**cluster.tls, "ssl.keystore.location": str(cluster.stranger_store)},
        TlsFailed,
        r"refused the client certificate.*ssl\.keystore\.location",
    ),
    "plaintext to a TLS port": (SSL, lambda _: {}, WrongSecurityProtocol, r"Set security\.protocol=SSL"),
    "a login in plaintext to a TLS port": (
        SASL_SSL,
        lambda cluster: {
            **{k: v for k, v in cluster.password("PLAIN").items() if not k.startswith("ssl.")},
            "security.protocol": "SASL_PLAINTEXT",
        },
        WrongSecurityProtocol,
        r"Set security\.protocol=SASL_SSL",
    ),
    "TLS to a plaintext port": (
        "PLAINTEXT",
        lambda cluster: cluster.tls,
        WrongSecurityProtocol,
        r"speaks no TLS on this port.*security\.protocol=PLAINTEXT",
    ),
    "TLS without a login to a port that wants one": (
        SASL_SSL,
        lambda cluster: cluster.tls,
        WrongSecurityProtocol,
        r"wants a SASL login on this port \(PLAIN, .*Set security\.protocol=SASL_SSL",
    ),
    "a login to a port that takes none": (
        SSL,
        lambda cluster: cluster.password("PLAIN"),
        WrongSecurityProtocol,
        r"takes no SASL login on this port.*security\.protocol=SSL",
    ),
    "suites that the broker does not have": (
        SSL,
        lambda cluster: {
            **cluster.tls,
            "ssl.enabled.protocols": "TLSv1.2",
            "ssl.cipher.suites": "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        },
        TlsFailed,
        r"ssl\.enabled\.protocols and ssl\.cipher\.suites",
    ),
    "a controller's port": ("CONTROLLER", lambda _: {}, BrokerUnreachable, "controllers have ports"),
}


def not_a_token(cluster: SecuredKafka) -> Path:
    path = cluster.directory / "opaque.token"
    path.write_text("not.a.token\n")
    return path


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
    from connectors.kafka.access import _check_producer
    from connectors.kafka.probe import connect

    with connect(config) as session, pytest.raises(NotAuthorized, match="IDEMPOTENT_WRITE the cluster"):
        _check_producer(session)


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


def test_a_token_file_that_is_replaced_under_a_producer_that_stays(cluster: SecuredKafka) -> None:
    """The broker ends a session with its token; the client logs in anew before."""
    path = cluster.write_token("rotating", 4)
    config = ClientConfig.build(cluster.address(SASL_SSL), properties=cluster.oauth(path.as_uri()))
    publisher = Publisher(config)
    deadline = time.monotonic() + 7
    while time.monotonic() < deadline:
        publisher.wait([publisher.send(OUT, b"k", b"1", [])])
        cluster.write_token("rotating", 4)
        time.sleep(0.3)
    publisher.close()


def test_a_client_certificate_that_is_replaced_counts_for_the_next_connection(cluster: SecuredKafka) -> None:
    store = cluster.write_store("turning", cluster.stranger.issue_cert("c.example", common_name=USER))
    config = ClientConfig.build(
        cluster.address(MTLS), properties={**cluster.tls, "ssl.keystore.location": str(store)}
    )
    with pytest.raises(TlsFailed):
        check_connection(config, TOPICS)
    cluster.write_store("turning", cluster.authority.issue_cert("c.example", common_name=USER))
    assert check_connection(config, TOPICS) == {IN: 1, OUT: 1}
