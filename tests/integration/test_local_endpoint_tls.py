"""TLS with a generated authority: what it offers to clients, control calls, announcement and refusals."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.transcribe.cli import app
from deploy.local.transcribe.process import EndpointProcess


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    options = ["--host", "127.0.0.3", "--tls-name", "transcribe.test"]
    with EndpointProcess(tmp_path_factory.mktemp("tls"), tls=True, options=options) as process:
        yield process


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
@pytest.mark.parametrize("name", ["127.0.0.3", "localhost", "transcribe.test"])
def test_a_client_chooses_protocol_and_name(endpoint: EndpointProcess, name: str, protocol: str) -> None:
    context = ssl.create_default_context(cafile=endpoint.ca_file)
    context.set_alpn_protocols([protocol])
    with (
        socket.create_connection(("127.0.0.3", endpoint.port)) as connection,
        context.wrap_socket(connection, server_hostname=name) as secured,
    ):
        assert secured.selected_alpn_protocol() == protocol


def test_who_does_not_trust_the_authority_is_not_served(endpoint: EndpointProcess) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.3", endpoint.port)) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(connection, server_hostname="127.0.0.3")


def test_control_calls_work_over_tls(endpoint: EndpointProcess) -> None:
    assert endpoint.status() == {"streams": 0}
    endpoint.inject({"kind": "reset"})
    assert [rule["kind"] for rule in endpoint.faults()] == ["reset"]
    endpoint.clear_faults()
    assert endpoint.faults() == []


def test_a_proxy_does_not_stand_before_control_calls(
    endpoint: EndpointProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert endpoint.status() == {"streams": 0}


def test_ready_file_announcement_and_environment_name_the_authority(endpoint: EndpointProcess) -> None:
    ca_file = endpoint.ca_file
    assert ca_file is not None
    assert ca_file.read_text().count("BEGIN CERTIFICATE") == 1
    ready = json.loads((endpoint.directory / "ready.json").read_text())
    assert (ready["url"], ready["ca_file"]) == (endpoint.url, str(ca_file))
    assert endpoint.url == f"https://127.0.0.3:{endpoint.port}"
    announced = endpoint.log_path.read_text()
    assert f"Endpoint ready at {endpoint.url}" in announced
    assert f"trusting {ca_file} (SSL_CERT_FILE" in announced
    trust = {name for name, value in endpoint.environment().items() if value == str(ca_file)}
    assert trust == {"SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}


def test_a_restarted_endpoint_keeps_its_authority(tmp_path: Path) -> None:
    with EndpointProcess(tmp_path, tls=True) as endpoint:
        assert endpoint.ca_file is not None
        authority = endpoint.ca_file.read_bytes()
        endpoint.restart()
        assert endpoint.status() == {"streams": 0}
        assert endpoint.ca_file.read_bytes() == authority


def test_cleartext_has_no_authority(tmp_path: Path) -> None:
    with EndpointProcess(tmp_path) as endpoint:
        assert endpoint.ca_file is None
        assert not {"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"} & set(endpoint.environment())
        assert "trusting" not in endpoint.log_path.read_text()


def refusal(*arguments: str) -> tuple[int, str]:
    """Exit code and what is said, in one line."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    return result.exit_code, re.sub(r"[\s│]+", " ", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--generate-ca", "here", "--tls-cert", "c.pem", "--tls-key", "k.pem"],
            "--generate-ca makes a certificate and --tls-cert/--tls-key name one; give one or the other",
        ),
        (["--tls-name", "x.test"], "--tls-name belongs to --generate-ca"),
        (["--tls-cert", "c.pem"], "--tls-cert and --tls-key belong together"),
    ],
)
def test_options_that_exclude_each_other(arguments: list[str], sentence: str) -> None:
    code, said = refusal(*arguments)
    assert code == 2
    assert sentence in said


def test_a_foreign_file_in_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "server.pem").write_text("somebody's own")
    code, said = refusal("--port", "0", "--generate-ca", str(tmp_path))
    assert code == 1
    assert f"medstream endpoint: --generate-ca {tmp_path}: server.pem was not made by medstream" in said
