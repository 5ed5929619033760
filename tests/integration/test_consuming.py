"""Finals from a real broker through the library and `medstream consume`: once each, from where one says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewPartitions
from typer.testing import CliRunner

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import GroupInUse, LostOffsets, UnknownTopic
from deploy.local.kafka import KafkaBroker
from pipeline import cli
from pipeline.consuming import FinalsConsumer, read_finals, read_sessions
from pipeline.elements import FinalTranscript
from pipeline.errors import SettingsError, UnreadableRecord
from pipeline.output.encoding import OutputEncoder
from pipeline.output.output_values import SessionEnded
from pipeline.output.outputs import final_record, session_ended_record
from pipeline.output.transcripts import SegmentReceived
from pipeline.settings import Topics
from schemas.registry_settings import RegistrySettings
from schemas.serdes import SerdeSettings
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry
from tests.integration.conftest import MakeTopic
from tests.pipeline.synthetic_session import a_final, an_end

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def config(kafka_broker: KafkaBroker) -> ClientConfig:
    return ClientConfig.build(kafka_broker.bootstrap_servers)


@pytest.fixture(scope="module")
def producer(kafka_broker: KafkaBroker) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers)
    yield producer
    producer.close()


def publish(
    producer: KafkaProducer,
    topic: str,
    outputs: Sequence[FinalTranscript | SessionEnded],
    encoder: OutputEncoder | None = None,
) -> None:
    """As the job does it."""
    encoder = encoder or OutputEncoder()
    for output in outputs:
        if isinstance(output, SessionEnded):
            record = session_ended_record(output.summary, output.ended_at_ms)
            key, value, headers = encoder.session_ended(record, {})
        else:
            key, value, headers = encoder.final(final_record(output), {})
        producer.send(topic, key=key, value=value, headers=headers)
    producer.flush()


def texts(finals: Sequence[FinalTranscript]) -> list[str]:
    return [final.text for final in finals]


def test_each_final_comes_once_and_a_revised_one_again(
    config: ClientConfig, producer: KafkaProducer, topic: MakeTopic
) -> None:
    name = topic(partitions=3)
    one, two = a_final(0, "one", 0.0), a_final(1, "two", 1.0)
    publish(producer, name, [one, two, one, two, a_final(1, "too", 1.0)])
    assert texts(list(read_finals(config, name, until="end"))) == ["one", "two", "too"]
    with FinalsConsumer(config, name, until="end") as consumer:
        events = [event for event in consumer if isinstance(event, SegmentReceived)]
    assert [event.revised for event in events] == [False, False, True]
    assert [event.offset for event in events] == [0, 1, 4]
    assert consumer.repeated == 2


def test_offsets_are_committed_when_the_caller_says_so(
    config: ClientConfig, producer: KafkaProducer, topic: MakeTopic
) -> None:
    name = topic()
    publish(producer, name, [a_final(n, f"word{n}", float(n)) for n in range(5)])
    options = {"start": "committed", "group_id": f"group-{name}", "until": "end"}
    with FinalsConsumer(config, name, **options) as consumer:
        next(iter(consumer))  # read, and never done with
    with FinalsConsumer(config, name, **options) as consumer:
        for number, _ in enumerate(consumer):
            if number == 1:
                consumer.commit()
                break
        rest = list(consumer)  # leaving a loop loses nothing
    assert len(rest) == 3
    assert texts(list(read_finals(config, name, **options))) == ["word2", "word3", "word4"]
    with pytest.raises(SettingsError, match="--group-id"):
        FinalsConsumer(config, name, start="committed")


def test_a_group_with_subscribers_is_left_to_them(
    config: ClientConfig, kafka_broker: KafkaBroker, producer: KafkaProducer, topic: MakeTopic
) -> None:
    from kafka import KafkaConsumer

    name = topic()
    publish(producer, name, [a_final(0, "word", 0.0)])
    member = KafkaConsumer(name, bootstrap_servers=kafka_broker.bootstrap_servers, group_id=f"busy-{name}")
    try:
        while not member.assignment():
            member.poll(timeout_ms=100)
        with FinalsConsumer(config, name, group_id=f"busy-{name}", until="end") as consumer:
            assert len(list(consumer)) == 1
            with pytest.raises(GroupInUse, match="group of its own"):
                consumer.commit()
    finally:
        member.close()


def test_reading_starts_and_stops_at_moments(
    config: ClientConfig, kafka_broker: KafkaBroker, producer: KafkaProducer, topic: MakeTopic
) -> None:
    name, encoder = topic(**{"message.timestamp.type": "CreateTime"}), OutputEncoder()
    for number in range(6):
        key, value, headers = encoder.final(final_record(a_final(number, f"word{number}", 0.0)), {})
        producer.send(name, key=key, value=value, headers=headers, timestamp_ms=1_772_348_400_000 + number)
    producer.flush()
    found = read_finals(config, name, start="timestamp:1772348400002", until="1772348400005")
    assert texts(list(found)) == ["word2", "word3", "word4"]


def test_aborted_transactions_are_not_seen_and_do_not_hold_up(
    config: ClientConfig, kafka_broker: KafkaBroker, topic: MakeTopic
) -> None:
    name = topic()
    producer = KafkaProducer(
        bootstrap_servers=kafka_broker.bootstrap_servers, transactional_id=f"tx-{name}", acks="all"
    )
    try:
        producer.init_transactions()
        for number, commit in enumerate([True, False, True, False]):
            producer.begin_transaction()
            publish(producer, name, [a_final(number, f"word{number}", float(number))])
            (producer.commit_transaction if commit else producer.abort_transaction)()
    finally:
        producer.close()
    assert texts(list(read_finals(config, name, until="end"))) == ["word0", "word2"]


def test_partitions_that_are_added_later_are_found(
    config: ClientConfig, kafka_broker: KafkaBroker, producer: KafkaProducer, topic: MakeTopic
) -> None:
    name = topic(partitions=1)
    with FinalsConsumer(config, name, start="latest", refresh_seconds=0.2) as consumer:
        for _ in range(20):  # until what it asked the broker at its start is answered
            assert list(consumer.poll(0.1)) == []
        admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap_servers)
        try:
            admin.create_partitions({name: NewPartitions(total_count=3)})
        finally:
            admin.close()
        key, value, headers = OutputEncoder().final(final_record(a_final(0, "new", 0.0)), {})
        while 2 not in (producer.partitions_for(name) or ()):
            producer._metadata.request_update()
        producer.send(name, key=key, value=value, headers=headers, partition=2)
        producer.flush()
        found = next(iter(consumer))  # the timeout of this file bounds it
    assert isinstance(found, SegmentReceived)
    assert found.partition == 2


def test_what_retention_took_is_told_or_skipped(
    config: ClientConfig, kafka_broker: KafkaBroker, producer: KafkaProducer, topic: MakeTopic
) -> None:
    from kafka import TopicPartition
    from kafka.admin import KafkaAdminClient

    name = topic()
    options = {"start": "committed", "group_id": f"group-{name}", "until": "end"}
    publish(producer, name, [a_final(n, f"word{n}", float(n)) for n in range(4)])
    with FinalsConsumer(config, name, **options) as consumer:
        next(iter(consumer))
        consumer.commit()
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap_servers)
    try:
        admin.delete_records({TopicPartition(name, 0): 3})
    finally:
        admin.close()
    with pytest.raises(LostOffsets, match="offsets 1 to 2"):
        list(read_finals(config, name, **options))
    assert texts(list(read_finals(config, name, on_lost_offsets="skip", **options))) == ["word3"]


def test_a_record_that_cannot_be_decoded_stops_or_is_counted(
    config: ClientConfig, producer: KafkaProducer, topic: MakeTopic
) -> None:
    name = topic()
    producer.send(name, key=b"k", value=b"secret words")
    publish(producer, name, [a_final(0, "word", 0.0)])
    with pytest.raises(UnreadableRecord, match=f"{name}-0 offset 0") as refused:
        list(read_finals(config, name, until="end"))
    assert "secret" not in str(refused.value)
    with FinalsConsumer(config, name, until="end", on_unreadable="skip") as consumer:
        assert len(list(consumer)) == 1
    assert consumer.unreadable == 1


def test_finals_of_a_registry_are_read_with_it(
    config: ClientConfig, producer: KafkaProducer, topic: MakeTopic
) -> None:
    name = topic()
    with LocalHttp(FakeRegistry()) as server:
        serdes = SerdeSettings(RegistrySettings((server.url,)), auto_register=True)
        encoder = OutputEncoder(Topics(audio="a", finals=name, dead_letters="d"), serdes)
        publish(producer, name, [a_final(0, "registered", 0.0)], encoder)
        assert texts(list(read_finals(config, name, until="end", serdes=serdes))) == ["registered"]
    with pytest.raises(UnreadableRecord, match="--schema-registry-url"):
        list(read_finals(config, name, until="end"))


def test_whole_sessions_know_whether_they_are_complete(
    config: ClientConfig, producer: KafkaProducer, topic: MakeTopic
) -> None:
    finals, ends = topic(partitions=2), topic(partitions=2)
    publish(producer, finals, [a_final(0, "one", 0.0), a_final(1, "two", 1.0)])
    publish(producer, finals, [a_final(1, "torn", 0.0, session_id="torn")])
    publish(producer, ends, [an_end(2), an_end(2, session_id="torn")])
    left: list[int] = []
    sessions = read_sessions(config, finals, sessions_topic=ends, progress=left.append)
    assert sessions.session("session-1").complete
    assert sessions.session("torn").missing == ((0, 0),)
    assert left[-1] == 0
    only = read_sessions(config, finals, wanted=lambda session_id: session_id == "torn")
    assert [session.session_id for session in only] == ["torn"]


# The command


def consume(broker: KafkaBroker, *arguments: str) -> tuple[int, str, str]:
    command = ["consume", f"--bootstrap-servers={broker.bootstrap_servers}", "--until=end", *arguments]
    found = CliRunner().invoke(cli.app, command, env={"COLUMNS": "200"})
    if isinstance(found.exception, Exception):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


def test_the_command_shows_words_only_when_told_to(
    kafka_broker: KafkaBroker, producer: KafkaProducer, topic: MakeTopic
) -> None:
    finals, ends = topic(), topic()
    said = a_final(0, "plain words", 61.0)
    publish(producer, finals, [said, said, a_final(0, "other", 0.0, session_id="other")])
    publish(producer, ends, [an_end(1)])
    places = [f"--output-topic={finals}", f"--sessions-topic={ends}"]
    code, text, told = consume(kafka_broker, *places)
    assert code == 0
    assert "session-1  [1:01.00–1:01.80] (2 words)" in text.splitlines()
    assert "session-1  ended, END_OF_SESSION: 1 segment, 40.0 s of audio, 1 stream" in text.splitlines()
    assert "plain" not in text + told
    assert "2 finals, 1 ends of sessions; 1 repetitions" in told
    masked = [json.loads(line) for line in consume(kafka_broker, *places, "--json")[1].splitlines()]
    assert [line["masked"] for line in masked if line["schema"] == "final_transcript"] == [True, True]
    assert "plain" not in json.dumps(masked)

    _, text, _ = consume(kafka_broker, *places, "--show-text", "--session=session-1")
    assert "session-1  [1:01.00–1:01.80] plain words" in text.splitlines()
    assert "other" not in text
    _, text, _ = consume(kafka_broker, *places, "--show-text", "--json")
    records = [json.loads(line) for line in text.splitlines()]
    assert {record["schema"] for record in records} == {"final_transcript", "session_ended"}
    assert "plain words" in text


def test_the_command_goes_on_where_its_group_was(
    kafka_broker: KafkaBroker, producer: KafkaProducer, topic: MakeTopic
) -> None:
    name = topic()
    options = [f"--output-topic={name}", f"--group-id=g-{name}", "--start-from=committed"]
    publish(producer, name, [a_final(0, "one", 0.0)])
    assert len(consume(kafka_broker, *options)[1].splitlines()) == 1
    publish(producer, name, [a_final(1, "two", 1.0)])
    assert len(consume(kafka_broker, *options)[1].splitlines()) == 1
    with pytest.raises(UnknownTopic, match="--output-topic"):
        consume(kafka_broker, "--output-topic=no-such-topic")
