"""Raw chunks through a job, a recording, a replay under another name, and a retry of a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connectors.kafka.records import KafkaRecord
from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from pipeline import cli
from pipeline.audio.raw_chunks import raw_value
from tests.integration.harness import Job, Outputs, Session, marked_session, running_job, words_of

pytestmark = pytest.mark.timeout(180)

RAW = ["--chunk-format", "raw"]


@pytest.fixture
def job(kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path: Path) -> Iterator[Job]:
    with (
        EndpointProcess(tmp_path / "endpoint", recogniser="markers") as endpoint,
        running_job(kafka_broker, flink, endpoint, tmp_path / "job", options=RAW) as job,
    ):
        yield job


def medstream(broker: KafkaBroker, *arguments: object) -> None:
    given = [str(argument) for argument in arguments]
    ended = CliRunner().invoke(cli.app, [*given, "--bootstrap-servers", broker.bootstrap_servers])
    assert ended.exit_code == 0, (ended.output, ended.exception)


def test_a_producer_without_avro(job: Job, kafka_broker: KafkaBroker, tmp_path: Path) -> None:
    session, audio = marked_session("raw", 2), job.topics.audio
    for chunk in session.chunks():
        value, headers = raw_value({**chunk, "session_id": None})  # the key says it
        job.player.send_raw(session.id.encode(), value, [(name, text or b"") for name, text in headers])
    job.outputs.wait_ended([session], 90)
    spoken = [word for line in session.sentences for word in line]
    assert words_of(job.outputs.finals_of(session.id)) == spoken

    path = tmp_path / "raw.avro"
    medstream(kafka_broker, "record", path, "--topic", audio)
    medstream(kafka_broker, "replay", path, "--topic", audio, "--rename-sessions", "{session}-again", *RAW)
    again = Session(f"{session.id}-again", session.sentences)
    job.outputs.wait_ended([again], 90)
    assert words_of(job.outputs.finals_of(again.id)) == spoken

    job.player.send_raw(b"lost", b"\0\0", [("sequence", b"0")])
    letter = bad_letters(job.outputs, 1)[-1]
    assert (letter["error_class"], letter["key"]) == ("INVALID_CHUNK", b"lost")
    assert "header sample_rate_hertz is missing" in letter["message"]
    letters = ["--dead-letter-topic", job.topics.dead_letters, "--all"]
    medstream(kafka_broker, "dlq", "retry", *letters, "--rename", "found", *RAW)
    letter = bad_letters(job.outputs, 2)[-1]
    assert (letter["key"], letter["value"]) == (b"found", b"\0\0")
    assert KafkaRecord("t", 0, 0, 0, 0, None, None, headers_of(letter)).header("sequence") == b"0"


def bad_letters(outputs: Outputs, count: int) -> list[dict[str, object]]:
    outputs.wait(lambda found: len(found.dead_letters) >= count, 60, f"{count} dead letters")
    return outputs.dead_letters


def headers_of(letter: dict[str, object]) -> tuple[tuple[str, bytes | None], ...]:
    headers = letter["headers"]
    assert isinstance(headers, list)
    return tuple((header["key"], header["value"]) for header in headers)
