"""Connections that fail in ways that no real broker here brings about, and the SASL exchange of MSK IAM."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import AuthenticationFailed, AwsCredentialsNotFound, BrokerUnreachable
from connectors.kafka.probing import probe
from tests.fakes.kafka_broker import FakeBroker, Login

SECRET = "synthetic-secret"
AUTHORITY = trustme.CA()
SERVER = AUTHORITY.issue_cert("127.0.0.1")


@pytest.fixture
def aws_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSYNTHETIC")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@contextmanager
def serving(mechanism: str, login: Login) -> Iterator[FakeBroker]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SERVER.configure_cert(context)
    with FakeBroker(context, mechanism, login) as broker:
        yield broker


def msk(port: int, directory: Path, options: str = 'awsRegion="eu-west-1"') -> ClientConfig:
    ca = directory / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(ca)
    return ClientConfig.build(
        f"127.0.0.1:{port}",
        properties={
            "security.protocol": "SASL_SSL",
            "ssl.truststore.location": str(ca),
            "sasl.mechanism": "AWS_MSK_IAM",
            "sasl.jaas.config": f"software.amazon.msk.auth.iam.IAMLoginModule required {options};",
            "sasl.client.callback.handler.class": "software.amazon.msk.auth.iam.IAMClientCallbackHandler",
        },
    )


@pytest.mark.usefixtures("aws_key")
def test_a_login_with_aws_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("AWS_MSK_IAM", lambda _: (0, None)) as broker:
        config = msk(broker.port, tmp_path)
        probe.connect(config).close()
        config.admin().close()  # kafka-python's own client, by the registered mechanism
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDROTATED")
        config.admin().close()
    logins = [json.loads(login) for login in broker.logins]
    assert {login["host"] for login in logins} == {"127.0.0.1"}
    assert all("/eu-west-1/kafka-cluster/" in login["x-amz-credential"] for login in logins)
    keys = [login["x-amz-credential"].split("/")[0] for login in logins]
    assert (keys[0], keys[-1]) == ("AKIDSYNTHETIC", "AKIDROTATED")
    assert SECRET not in str(logins)


@pytest.mark.usefixtures("aws_key")
def test_a_refusal_of_iam_is_told_in_the_broker_s_words(tmp_path: Path) -> None:
    with serving("AWS_MSK_IAM", lambda _: (58, "[5a1b]: Access denied")) as broker:
        config = msk(broker.port, tmp_path)
        for connect in (lambda: probe.connect(config), lambda: config.admin(bootstrap_timeout_ms=500)):
            with pytest.raises(
                AuthenticationFailed, match=r"AWS_MSK_IAM login.*kafka-cluster:Connect"
            ) as caught:
                connect()
            assert SECRET not in str(caught.value)
        with pytest.raises(AuthenticationFailed, match=r"\[5a1b\]: Access denied\. Check"):
            probe.connect(config)


def test_without_credentials_nothing_is_connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    with serving("AWS_MSK_IAM", lambda _: (0, None)) as broker:
        config = msk(broker.port, tmp_path)
        for connect in (lambda: probe.connect(config), config.consumer):
            with pytest.raises(AwsCredentialsNotFound, match="AWS_ACCESS_KEY_ID"):
                connect()
    assert not broker.logins


# Nobody, or somebody else


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A port that accepts; it says `answer` and closes, or (None) nothing at all."""
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            if answer is None:
                kept.append(connection)
            else:
                connection.sendall(answer)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in kept:
        connection.close()


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
@pytest.mark.parametrize(
    ("answer", "problem"),
    [(None, "does not answer|handshake failed"), (b"HTTP/1.1 400 Bad\r\n\r\n", "not answer like|handshake")],
)
def test_somebody_who_is_no_broker(
    monkeypatch: pytest.MonkeyPatch, protocol: str, answer: bytes | None, problem: str
) -> None:
    monkeypatch.setattr(probe, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(probe, "_EXPERIMENT_SECONDS", 0.3)
    began = time.monotonic()
    with listening(answer) as port, pytest.raises(BrokerUnreachable, match=problem) as caught:
        probe.connect(ClientConfig.build(f"127.0.0.1:{port}", properties={"security.protocol": protocol}))
    assert time.monotonic() - began < 5
    assert f"127.0.0.1:{port}" in str(caught.value)


def test_a_name_that_does_not_exist() -> None:
    config = ClientConfig.build("kafka.invalid:9093", properties={"security.protocol": "SSL"})
    with pytest.raises(BrokerUnreachable, match=r"kafka\.invalid:9093 .*cannot be resolved"):
        probe.connect(config)
