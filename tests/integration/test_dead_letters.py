"""Bad input on the real stack: each bad record becomes a dead letter with its bytes and reason; the job goes
on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from pipeline.letters.letter_selection import range_of
from pipeline.output.output_values import dead_letter_of
from schemas.serde import SingleObjectSerde
from tests.integration.harness import Job, marked_session, running_job, words_of

pytestmark = pytest.mark.timeout(240)

_BAD_RECORDS = 6
_FOREIGN_SCHEMA = {
    "type": "record",
    "name": "SomethingElse",
    "fields": [{"name": "session_id", "type": "string"}],
}


@pytest.fixture(scope="module")
def job(
    kafka_broker: KafkaBroker, flink: FlinkJobServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Job]:
    directory = tmp_path_factory.mktemp("dead-letters")
    with (
        EndpointProcess(directory / "endpoint", recogniser="markers") as endpoint,
        running_job(kafka_broker, flink, endpoint, directory / "job", partitions=1) as job,
    ):
        yield job


def test_bad_records_are_dead_lettered_and_good_sessions_untouched(job: Job) -> None:
    good = marked_session("good", 3)
    mixed = marked_session("mixed", 3)
    key = mixed.id.encode()
    serde = SingleObjectSerde("audio_chunk")
    chunks = mixed.chunks()
    foreign = SingleObjectSerde(_FOREIGN_SCHEMA).encode({"session_id": mixed.id})
    lying = serde.encode({**chunks[11], "sequence": 10, "sample_rate_hertz": 8000, "end_of_session": False})
    impossible = serde.encode({**chunks[20], "sample_rate_hertz": 44_100_000})
    truncated = serde.encode(chunks[12])[:-7]
    headers = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    bad = {
        "NOT_AVRO": (key, b"this is no Avro"),
        "UNKNOWN_SCHEMA": (key, foreign),
        "MALFORMED_RECORD": (key, truncated),
        "SAMPLE_RATE_MISMATCH": (key, lying),
        "INVALID_CHUNK": (key, impossible),
        "MISSING_KEY": (None, serde.encode(chunks[13])),
    }
    playing = job.player.play([good])
    for number, chunk in enumerate(chunks):
        if number == 10:
            for bad_key, value in bad.values():
                job.player.send_raw(bad_key, value, headers)
        job.player.send(chunk)
        time.sleep(0.05)
    playing.join()
    job.outputs.wait_ended([good, mixed], 120)
    job.outputs.wait(lambda out: len(out.dead_letters) >= _BAD_RECORDS, 30, "the dead letters")

    for session in (good, mixed):
        expected = [word for line in session.sentences for word in line]
        assert words_of(job.outputs.finals_of(session.id)) == expected
    letters = {letter["error_class"]: letter for letter in job.outputs.dead_letters}
    assert letters.keys() == bad.keys()
    assert len(job.outputs.dead_letters) == _BAD_RECORDS
    for error_class, (bad_key, value) in bad.items():
        assert_original(letters[error_class], bad_key, value, job)
        assert letters[error_class]["headers"] == [{"key": name, "value": text} for name, text in headers]
    assert "8000" in letters["SAMPLE_RATE_MISMATCH"]["message"]
    assert "16000" in letters["SAMPLE_RATE_MISMATCH"]["message"]
    assert "fingerprint" in letters["UNKNOWN_SCHEMA"]["message"]
    assert "C3 01" in letters["NOT_AVRO"]["message"]


def assert_original(letter: dict[str, Any], key: bytes | None, value: bytes, job: Job) -> None:
    """Key, bytes and position are those of the record on the input topic."""
    assert letter["key"] == key
    assert letter["value"] == value
    assert (letter["topic"], letter["partition"]) == (job.topics.audio, 0)
    assert letter["offset"] >= 0
    assert letter["timestamp_ms"] > 0


def test_a_record_that_is_smaller_than_its_dead_letter_does_not_stop_the_job(job: Job) -> None:
    key = f"huge-{job.topics.audio}".encode()
    job.player.send_raw(key, bytes(1_048_300))  # Kafka's default limit is 1,048,576 with everything
    job.outputs.wait(
        lambda out: any(letter["key"] == key for letter in out.dead_letters), 60, "a dead letter"
    )
    letter = next(letter for letter in job.outputs.dead_letters if letter["key"] == key)
    assert (letter["error_class"], letter["value"]) == ("NOT_AVRO", None)
    assert "1048300 bytes, too large for this topic" in letter["message"]
    good = marked_session("after", 1)
    job.player.play([good], speed=0).join()
    job.outputs.wait_ended([good], 60)


def test_a_session_whose_declared_rate_cannot_be_true_is_dead_lettered(job: Job) -> None:
    """16 kHz audio that claims 8 kHz: each chunk would last twice as long as the time until the next one."""
    liar = marked_session("liar", 1)
    for chunk in liar.chunks():
        job.player.send({**chunk, "sample_rate_hertz": 8000, "end_of_session": False})
    job.outputs.wait(
        lambda out: any(letter["session_id"] == liar.id for letter in out.dead_letters), 60, "a dead letter"
    )
    letter = next(letter for letter in job.outputs.dead_letters if letter["session_id"] == liar.id)
    assert letter["error_class"] == "SAMPLE_RATE_MISMATCH"
    assert "cannot be true" in letter["message"]


def test_a_chunk_after_the_end_of_its_session_is_dead_lettered(job: Job) -> None:
    session = marked_session("late", 1)
    job.player.play([session], speed=0).join()
    job.outputs.wait_ended([session], 60)
    chunk = session.chunks()[-1]
    job.player.send({**chunk, "sequence": chunk["sequence"] + 1})
    job.outputs.wait(
        lambda out: any(letter["session_id"] == session.id for letter in out.dead_letters),
        60,
        "a dead letter",
    )
    letter = next(letter for letter in job.outputs.dead_letters if letter["session_id"] == session.id)
    assert letter["error_class"] == "AFTER_END_OF_SESSION"


def test_a_session_that_the_service_refuses_is_dead_lettered_with_its_position(job: Job) -> None:
    refused, good = marked_session("refused", 1), marked_session("fine", 1)
    for chunk in refused.chunks():
        job.player.send({**chunk, "settings": {"specialty": "ASTROLOGY"}})
    job.player.play([good], speed=0)
    job.outputs.wait_ended([good, refused], 60)
    ended = next(ended for ended in job.outputs.sessions if ended["session_id"] == refused.id)
    assert ended["reason"] == "REJECTED"
    letters = [letter for letter in job.outputs.dead_letters if letter["session_id"] == refused.id]
    assert letters[0]["error_class"] == "SESSION_REFUSED"
    assert "ASTROLOGY" in letters[0]["message"]
    found = range_of(dead_letter_of(letters[0]))  # what `dlq retry` reads again
    assert found is not None
    assert found[0] == letters[0]["offset"]
    assert words_of(job.outputs.finals_of(good.id)) == list(good.sentences[0])
