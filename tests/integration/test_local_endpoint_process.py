"""The endpoint as a command: faults on the command line, one port for two, certificates, the end in time."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import resolve_endpoint
from connectors.transcribe.errors import LimitExceededError, StreamResetError
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream
from deploy.local.processes import free_port
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import EndpointProcess

COMMAND = [sys.executable, "-m", "deploy.local.transcribe"]
CREDENTIALS = Credentials(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)


async def connect(url: str) -> TranscribeStream:
    return await open_http2_stream(
        resolve_endpoint("us-east-1", url),
        StartMedicalStreamTranscriptionRequest(),
        CREDENTIALS,
        clock=ServiceClock(lambda: time.time_ns() // 1_000_000),
    )


async def transcribe(url: str) -> None:
    """A second of audio, and whatever comes of it."""
    stream = await connect(url)
    try:
        for _ in range(10):
            await stream.send_audio(bytes(3200))
        await stream.end()
        while await stream.receive() is not None:
            pass
    finally:
        await stream.close()


def run(url: str) -> None:
    asyncio.run(asyncio.wait_for(transcribe(url), 30))


def ended(*arguments: str) -> str:
    """Standard error, one sentence, of a command that cannot start."""
    result = subprocess.run(
        [*COMMAND, "--port", "0", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., EndpointProcess]]:
    """Starts an endpoint of its own."""
    with ExitStack() as stack:
        yield lambda *options, **settings: stack.enter_context(
            EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=options, **settings)
        )


def test_faults_of_the_command_line_act_in_their_order_and_are_listed(
    start: Callable[..., EndpointProcess], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text('{"kind": "refuse", "code": "ServiceUnavailableException", "skip_streams": 9}')
    endpoint = start(
        "--fault",
        "kind=refuse,code=LimitExceededException,message=slower",
        "--fault",
        "kind=reset,after_audio_events=5",
        "--faults",
        str(rules),
    )
    with pytest.raises(LimitExceededError, match="slower"):
        run(endpoint.url)
    with pytest.raises(StreamResetError):
        run(endpoint.url)
    run(endpoint.url)
    listed = [(rule["kind"], rule["acted"]) for rule in endpoint.faults()]
    assert listed == [("refuse", 1), ("reset", 1), ("refuse", 0)]


def test_a_wrong_fault_of_the_command_line_ends_in_one_sentence() -> None:
    assert "--fault: kind: one of refuse, late_headers" in ended("--fault", "kind=explode")


def test_of_two_endpoints_that_want_one_port_one_says_that_it_is_taken(tmp_path: Path) -> None:
    """Whichever of its steps the second one has come to when the first listens."""
    for number in range(4):
        port, ready = str(free_port()), [tmp_path / f"{number}-{which}.json" for which in "ab"]
        commands = [[*COMMAND, "--port", port, "--ready-file", str(path)] for path in ready]
        both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
        try:
            deadline = time.monotonic() + 20
            while len(over := [one for one in both if one.poll() is not None]) < 1:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            (loser,) = over
            assert loser.stderr is not None
            error = loser.stderr.read()
            assert loser.returncode == 1
            assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use." in error
            assert "Traceback" not in error
            while not any(path.exists() for path in ready) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert sum(path.exists() for path in ready) == 1
        finally:
            for one in both:
                one.kill()
                one.communicate()


# Certificates ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A certificate, its key, the key encrypted, another key, and something else."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    own, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    key = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    contents = {
        "certificate": b"".join(part.bytes() for part in own.cert_chain_pems),
        "key": own.private_key_pem.bytes(),
        "encrypted": encrypted,
        "other": other.private_key_pem.bytes(),
        "junk": b"junk",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents} | {"missing": folder / "missing", "folder": folder}


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("certificate", "other", "the key is not the certificate's."),
        ("certificate", "junk", "expected a certificate, and its key, in PEM."),
        ("junk", "key", "expected a certificate, and its key, in PEM."),
        ("key", "certificate", "expected a certificate, and its key, in PEM."),
        ("certificate", "missing", "No such file or directory."),
        ("folder", "key", "Is a directory."),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(
    files: dict[str, Path], certificate: str, key: str, reason: str
) -> None:
    sentence = ended("--tls-cert", str(files[certificate]), "--tls-key", str(files[key]))
    assert f"--tls-cert {files[certificate]} and --tls-key {files[key]} cannot be used: {reason}" in sentence


def test_an_encrypted_key_is_not_asked_about(files: dict[str, Path]) -> None:
    """OpenSSL would ask for the passphrase on the terminal, where nobody may be."""
    sentence = ended("--tls-cert", str(files["certificate"]), "--tls-key", str(files["encrypted"]))
    assert "--tls-key is encrypted; give a key without passphrase." in sentence
    assert "pass phrase" not in sentence


# The end --------------------------------------------------------------------------------------------------


def test_it_ends_in_good_time_whatever_is_connected(tmp_path: Path) -> None:
    """Somebody who says nothing, somebody within TLS's handshake, somebody within a request."""
    ready, folder = tmp_path / "ready.json", tmp_path / "tls"
    options = ["--port", "0", "--ready-file", str(ready), "--generate-ca", str(folder)]
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        address = ("127.0.0.1", json.loads(ready.read_text())["port"])
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        with ExitStack() as stack:
            plain = [stack.enter_context(socket.create_connection(address)) for _ in range(3)]
            secure = stack.enter_context(context.wrap_socket(plain[2], server_hostname="localhost"))
            plain[1].sendall(b"\x16\x03\x01")
            secure.sendall(b"GET /_local/status HTTP/1.1\r\n")
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
