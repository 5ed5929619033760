"""Patient data stays out of every log: a whole run at DEBUG, with recovery and dead letters, searched for its
audio and its words.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.harness import Job, Session, marked_session, running_job

pytestmark = pytest.mark.timeout(240)

_LOUD = dict.fromkeys(
    (
        *("kafka", "kafka.producer.sender", "botocore", "hpack", "hpack.hpack", "urllib3", "websockets"),
        *("apache_beam.runners.worker.operations", "apache_beam.runners.common"),
    ),
    "DEBUG",
)
_DEBUG_JVM = "-Dorg.slf4j.simpleLogger.defaultLogLevel=debug"


@pytest.fixture
def directory(tmp_path: Path, kafka_broker: KafkaBroker) -> Path:
    assert kafka_broker.is_running()
    return tmp_path


@pytest.fixture
def job(kafka_broker: KafkaBroker, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """A job whose worker, submitter, Flink and endpoint all log at DEBUG."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", _DEBUG_JVM)
    with (
        FlinkJobServer(directory / "flink") as flink,
        EndpointProcess(
            directory / "endpoint", recogniser="markers", options=["--log-level", "debug"]
        ) as endpoint,
        running_job(
            kafka_broker,
            flink,
            endpoint,
            directory / "job",
            options=["--log-level", "DEBUG"],
            beam_options=[
                "--default_sdk_harness_log_level=DEBUG",
                f"--sdk_harness_log_level_overrides={json.dumps(_LOUD)}",
            ],
        ) as job,
    ):
        endpoint.inject({"kind": "reset", "after_partials": 2})
        yield job


def test_no_log_of_a_run_at_debug_holds_audio_or_text(
    job: Job, directory: Path, kafka_broker: KafkaBroker
) -> None:
    session = marked_session("confidential", 4)
    job.player.play([session])
    job.player.send_raw(session.id.encode(), b"confidentialgarbage" * 3)
    job.outputs.wait_ended([session], 120)
    assert job.outputs.finals_of(session.id)
    logs = [*directory.rglob("*.log"), *directory.rglob("*.jsonl"), kafka_broker.log_path]
    texts = {log: log.read_bytes().lower() for log in logs}
    assert any(b"debug" in text for log, text in texts.items() if "worker" in log.name), (
        "worker logs at DEBUG"
    )
    assert any(b"debug" in text for log, text in texts.items() if log.name == "flink.log"), (
        "Flink logs at DEBUG"
    )
    secrets = [*text_traces(session), *audio_traces(session), b"confidentialgarbage"]
    for log, text in texts.items():
        found = next((trace for trace in secrets if trace.lower() in text), None)
        assert found is None, f"{log.name} holds patient data: {found!r}"


def text_traces(session: Session) -> Iterator[bytes]:
    """Words of the session as text, and as the hexadecimal a frame dump would show."""
    for line in session.sentences:
        for word in line:
            yield word.encode()
            yield word.encode().hex().encode()


def audio_traces(session: Session) -> Iterator[bytes]:
    """Pieces of every chunk's payload in the forms in which bytes get printed."""
    for chunk in session.chunks():
        payload: bytes = chunk["payload"]
        for start in range(0, len(payload) - 24, 320):
            piece = payload[start : start + 24]
            if len(set(piece)) < 8:
                continue  # silence looks like anything
            yield piece
            yield piece.hex().encode()
            yield repr(piece)[2:-1].encode()
            yield ", ".join(str(byte) for byte in piece).encode()
            yield ", ".join(str(byte - 256 if byte > 127 else byte) for byte in piece).encode()  # Java's
            for shift in range(3):
                yield base64.b64encode(piece[shift:])[: 4 * ((24 - shift) // 3)][4:-4]
