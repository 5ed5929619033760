"""`medstream dlq` on a real broker: what it lists and shows, and that originals come back byte for byte."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import LostOffsets
from connectors.kafka.reading.positions import END, Position, parse_start
from connectors.kafka.records import KafkaRecord
from connectors.kafka.topic_follower import TopicFollower
from deploy.local.kafka import KafkaBroker
from pipeline import cli
from pipeline.errors import ChunkRejected, SettingsError, UnrenamableRecord
from pipeline.letters.letter_selection import range_message
from pipeline.output.encoding import OutputEncoder
from schemas.serde import SingleObjectSerde
from tests.integration.conftest import MakeTopic

pytestmark = pytest.mark.timeout(120)

HEADERS = [("traceparent", b"00-ab"), ("empty", b""), ("traceparent", b"\xff")]


@pytest.fixture(scope="module")
def config(kafka_broker: KafkaBroker) -> ClientConfig:
    return ClientConfig.build(kafka_broker.bootstrap_servers)


@pytest.fixture(scope="module")
def producer(kafka_broker: KafkaBroker) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers)
    yield producer
    producer.close()


class Desk:
    """An input topic of three partitions, its dead-letter topic, and the command beside them."""

    def __init__(
        self, broker: KafkaBroker, config: ClientConfig, producer: KafkaProducer, audio: str
    ) -> None:
        self.audio = audio
        self.letters = f"{audio}.dead-letters"
        broker.create_topics({self.letters: 2})
        self._servers = broker.bootstrap_servers
        self._config = config
        self._producer = producer
        self._encoder = OutputEncoder()

    def write(self, key: bytes | None, value: bytes | None, partition: int = 0) -> KafkaRecord:
        """A record on the input topic."""
        sent = self._producer.send(self.audio, key=key, value=value, headers=HEADERS, partition=partition)
        offset = sent.get(timeout=10).offset
        return KafkaRecord(self.audio, partition, offset, 1_000, 0, key, value, tuple(HEADERS))

    def chunks(self, session_id: str, count: int, partition: int = 0) -> list[KafkaRecord]:
        """Chunks of silence."""
        serde = SingleObjectSerde("audio_chunk")
        return [
            self.write(
                session_id.encode(),
                serde.encode(
                    {
                        "session_id": session_id,
                        "sequence": number,
                        "payload": bytes(32),
                        "encoding": "PCM",
                        "sample_rate_hertz": 16_000,
                        "end_of_session": number == count - 1,
                    }
                ),
                partition,
            )
            for number in range(count)
        ]

    def reject(self, record: KafkaRecord, error_class: str, message: str = "why") -> None:
        """Its dead letter, as the job writes it."""
        session_id = record.key.decode(errors="replace") if record.key else None
        key, value, headers = self._encoder.dead_letter(
            record, "DECODE", ChunkRejected(error_class, message), session_id
        )
        self._producer.send(self.letters, key=key, value=value, headers=headers).get(timeout=10)

    def refuse(self, first: KafkaRecord, last: KafkaRecord) -> None:
        """The dead letter of a session."""
        message = range_message(first.offset, last.offset, "BadRequestException: no")
        self.reject(first._replace(value=None, headers=()), "SESSION_REFUSED", message)

    def dlq(self, command: str, *arguments: str) -> tuple[str, str]:
        options = [f"--bootstrap-servers={self._servers}", f"--input-topic={self.audio}"]
        found = CliRunner().invoke(cli.app, ["dlq", command, *options, *arguments], env={"COLUMNS": "200"})
        if isinstance(found.exception, Exception):
            raise found.exception
        return found.stdout, found.stderr

    def written_behind(self, records: Sequence[KafkaRecord]) -> list[KafkaRecord]:
        """What is on the input topic behind these records, in the order of partitions."""
        places = {(record.partition, record.offset) for record in records}
        found = []
        topics = {self.audio: "--input-topic"}
        with TopicFollower(self._config, topics, parse_start("earliest"), stop=Position(END)) as reader:
            while not reader.finished:
                found += [r for r in reader.poll() if (r.partition, r.offset) not in places]
        return sorted(found, key=lambda record: (record.partition, record.offset))


@pytest.fixture
def desk(kafka_broker: KafkaBroker, config: ClientConfig, producer: KafkaProducer, topic: MakeTopic) -> Desk:
    return Desk(kafka_broker, config, producer, topic(partitions=3))


def content(records: Sequence[KafkaRecord]) -> list[tuple[object, ...]]:
    return [(r.partition, r.key, r.value, r.headers) for r in records]


def test_letters_are_listed_by_reason_and_shown_one_by_one(desk: Desk) -> None:
    secret = desk.write(b"s1", b"secret words")
    desk.reject(secret, "NOT_AVRO", "the value is no Avro")
    desk.reject(secret, "NOT_AVRO", "the value is no Avro")  # dead letters may repeat
    desk.reject(desk.write(b"s2", b"secret too"), "LATE_CHUNK")
    text, told = desk.dlq("list")
    assert "NOT_AVRO  1 letters, 1 sessions" in text
    assert "the value is no Avro" in text
    assert f"2 dead letters in {desk.letters}" in told
    counts = [json.loads(line) for line in desk.dlq("list", "--json")[0].splitlines()]
    assert {count["reason"]: count["sessions"] for count in counts} == {
        "NOT_AVRO": ["s1"],
        "LATE_CHUNK": ["s2"],
    }
    (line,) = desk.dlq("list", "--each", "--reason=LATE_CHUNK")[0].splitlines()
    assert line.startswith(f"{desk.audio}/0/1  ")
    assert desk.dlq("list", "--each", "--to=2020-01-01T00:00Z")[0] == ""

    name = f"{desk.audio}/0/0"
    shown = desk.dlq("show", name)[0]
    assert "secret" not in shown + text + line
    assert "value_bytes:      12" in shown
    assert "secret words" in desk.dlq("show", name, "--show-value")[0]
    record = json.loads(desk.dlq("show", name, "--show-value", "--json")[0])
    assert base64.b64decode(record["value"]) == b"secret words"
    assert [header["value"] for header in record["headers"]] == ["MDAtYWI=", "", "/w=="]
    with pytest.raises(SettingsError, match="no such dead letter"):
        desk.dlq("show", f"{desk.audio}/0/99")


def test_originals_go_back_byte_for_byte_in_their_order(desk: Desk) -> None:
    written = [desk.write(b"s1", b"one"), desk.write(b"s1", b"two"), desk.write(None, b"three", 2)]
    other = desk.write(b"s2", b"other", 1)
    for record in (written[1], written[0], written[2]):
        desk.reject(record, "NOT_AVRO")
    desk.reject(other, "LATE_CHUNK")
    with pytest.raises(SettingsError, match="--all"):
        desk.dlq("retry")
    text, told = desk.dlq("retry", "--reason=NOT_AVRO", "--dry-run")
    assert len(text.splitlines()) == 3
    assert "3 letters and 0 ranges of the input topic would be sent" in told
    assert desk.written_behind([*written, other]) == []
    assert "3 records sent" in desk.dlq("retry", "--reason=NOT_AVRO")[1]
    assert content(desk.written_behind([*written, other])) == content(written)
    desk.reject(other._replace(headers=(("null", None),)), "LATE_CHUNK")
    told = desk.dlq("retry", f"--id={desk.audio}/1/0")[1]
    assert "1 records sent" in told
    assert "1 of them have empty headers that were null" in told


def test_a_refused_session_is_read_again_under_a_new_id(desk: Desk) -> None:
    refused = desk.chunks("refused", 4)
    good = desk.chunks("good", 2)
    desk.refuse(refused[1], refused[2])  # finals cover the first chunk
    desk.reject(refused[3], "SESSION_REFUSED")
    with pytest.raises(SettingsError, match=r"--rename '\{session\}-retry'"):
        desk.dlq("retry", "--session=refused")
    desk.dlq("retry", "--session=refused", "--rename={session}-again")
    sent = desk.written_behind([*refused, *good])
    serde = SingleObjectSerde("audio_chunk")
    chunks = [serde.decode(record.value or b"") for record in sent]
    assert [(record.key, chunk["session_id"]) for record, chunk in zip(sent, chunks, strict=True)] == [
        (b"refused-again", "refused-again")
    ] * 3
    assert [chunk["sequence"] for chunk in chunks] == [1, 2, 3]
    assert len({record.partition for record in sent}) == 1
    assert all(record.headers == tuple(HEADERS) for record in sent)

    desk.dlq("retry", "--session=refused", "--ended-retention-seconds=0")  # its own id, byte for byte
    again = desk.written_behind([*refused, *good, *sent])
    assert content(again) == content(refused[1:])


def test_what_is_gone_or_no_chunk_is_told(desk: Desk) -> None:
    gone = desk.write(b"s1", b"no chunk")
    desk.reject(gone, "NOT_AVRO")
    desk.reject(gone._replace(offset=700, value=None), "NOT_AVRO")  # too large for its letter, and gone
    with pytest.raises(UnrenamableRecord, match="offset 0 cannot be encoded anew"):
        desk.dlq("retry", "--all", "--rename=new")
    with pytest.raises(LostOffsets, match="offsets 700 to 700"):
        desk.dlq("retry", "--all")
    assert "1 records sent" in desk.dlq("retry", "--all", "--on-lost-offsets=skip")[1]
