"""`medstream watch` on records that a real broker holds, written as the job writes them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from connectors.kafka.errors import InvalidPosition
from deploy.local.kafka import KafkaBroker
from pipeline import cli
from pipeline.elements import FinalTranscript, PartialTranscript
from pipeline.errors import SettingsError, UnreadableRecord
from pipeline.output.encoding import OutputEncoder
from pipeline.output.output_values import SessionEnded
from pipeline.output.outputs import final_record, session_ended_record
from pipeline.settings import Topics
from schemas.registry_settings import RegistrySettings
from schemas.serdes import SerdeSettings
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry
from tests.integration.conftest import MakeTopic
from tests.pipeline.watch.scripted_board import a_final, a_partial, an_end

pytestmark = pytest.mark.timeout(120)

ENTER_ALTERNATE_SCREEN, LEAVE_ALTERNATE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"

Output = FinalTranscript | PartialTranscript | SessionEnded


@pytest.fixture(scope="module")
def producer(kafka_broker: KafkaBroker) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers)
    yield producer
    producer.close()


@pytest.fixture
def topics(topic: MakeTopic) -> Topics:
    return Topics(audio="a", finals=topic(2), dead_letters="d", partials=topic(2), sessions=topic())


def publish(
    producer: KafkaProducer, topics: Topics, outputs: Sequence[Output], encoder: OutputEncoder | None = None
) -> None:
    """As the job does it."""
    encoder = encoder or OutputEncoder()
    for output in outputs:
        match output:
            case FinalTranscript():
                topic, record = topics.finals, encoder.final(final_record(output), {})
            case PartialTranscript():
                topic, record = topics.partials, encoder.partial(output, ("audio", 0))
            case SessionEnded():
                ended = session_ended_record(output.summary, output.ended_at_ms)
                topic, record = topics.sessions, encoder.session_ended(ended, {})
        key, value, headers = record
        producer.send(topic, key=key, value=value, headers=headers)
    producer.flush()


def watch(broker: KafkaBroker, topics: Topics, *arguments: str) -> tuple[str, str]:
    command = [
        "watch",
        f"--bootstrap-servers={broker.bootstrap_servers}",
        f"--output-topic={topics.finals}",
        f"--partials-topic={topics.partials}",
        f"--sessions-topic={topics.sessions}",
        "--start-from=earliest",
        "--until=end",
        *arguments,
    ]
    found = CliRunner().invoke(cli.app, command, env={"COLUMNS": "200"})
    if isinstance(found.exception, Exception):
        raise found.exception
    assert found.exit_code == 0
    return found.stdout, found.stderr


OUTPUTS = (
    a_partial("plain", 0.0, session_id="visit-1"),
    a_final(0, "plain wording", 0.0, session_id="visit-1"),
    an_end(1, session_id="visit-1"),
    a_partial("unfinished business", 5.0, session_id="visit-2", result_id="r9"),
)


def test_the_command_tells_states_finals_and_partials_and_words_only_when_told_to(
    kafka_broker: KafkaBroker, producer: KafkaProducer, topics: Topics
) -> None:
    publish(producer, topics, OUTPUTS)
    text, told = watch(kafka_broker, topics)
    assert "visit-1  [0:00.00–0:00.80] (2 words)" in text.splitlines()
    assert "visit-1  ended, END_OF_SESSION" in text.splitlines()
    assert "visit-2  live" in text.splitlines()
    assert "2 sessions" in told
    masked, _ = watch(kafka_broker, topics, "--json")
    assert not any(word in text + told + masked for word in ("plain", "wording", "business"))
    shown, _ = watch(kafka_broker, topics, "--json", "--show-text", "--session=visit-2")
    (partial,) = [event for event in map(json.loads, shown.splitlines()) if event["event"] == "partial"]
    assert (partial["session_id"], partial["text"]) == ("visit-2", "unfinished business")
    assert "visit-1" not in shown


def test_outputs_of_a_registry_are_read_with_it(
    kafka_broker: KafkaBroker, producer: KafkaProducer, topics: Topics
) -> None:
    with LocalHttp(FakeRegistry()) as server:
        serdes = SerdeSettings(RegistrySettings((server.url,)), auto_register=True)
        publish(producer, topics, OUTPUTS, OutputEncoder(topics, serdes))
        text, _ = watch(kafka_broker, topics, f"--schema-registry-url={server.url}", "--show-text")
    assert "visit-1  [0:00.00–0:00.80] plain wording" in text.splitlines()
    _, told = watch(kafka_broker, topics)
    assert "0 sessions, 4 unreadable records left out" in told
    with pytest.raises(UnreadableRecord, match="--schema-registry-url"):
        watch(kafka_broker, topics, "--on-unreadable=fail")


def test_a_terminal_shows_a_table_until_it_is_interrupted(
    kafka_broker: KafkaBroker, producer: KafkaProducer, topics: Topics
) -> None:
    publish(producer, topics, OUTPUTS)
    ours, theirs = pty.openpty()
    command = [
        *(str(Path(sys.executable).with_name("medstream")), "watch", "--start-from=earliest", "--show-text"),
        f"--bootstrap-servers={kafka_broker.bootstrap_servers}",
        f"--output-topic={topics.finals}",
    ]
    environment = {"PATH": "/usr/bin:/bin", "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        shown = b""
        while b"plain wording" not in shown:
            shown += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        while b"medstream: 1 session" not in shown:
            shown += os.read(ours, 65_536)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert shown.startswith(ENTER_ALTERNATE_SCREEN)
    assert shown.index(LEAVE_ALTERNATE_SCREEN) > shown.rindex(b"wording")  # nothing of it stays


def test_what_cannot_be_watched_is_refused(kafka_broker: KafkaBroker, topics: Topics) -> None:
    with pytest.raises(SettingsError, match="commits no offsets"):
        watch(kafka_broker, topics, "--start-from=committed")
    with pytest.raises(SettingsError, match="--partials-topic"):
        watch(kafka_broker, topics, f"--partials-topic={topics.finals}")
    with pytest.raises(InvalidPosition, match="--start-from"):
        watch(kafka_broker, topics, "--start-from=yesterday")
