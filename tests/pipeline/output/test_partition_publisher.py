"""A partition's publisher over a scripted delivery: one write for what has gathered, markers, failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from connectors.kafka.compacted import Table
from connectors.kafka.delivery import Message
from connectors.kafka.errors import BrokerUnreachable, DeliveryFailed, PartitionsChanged, ProducerFenced
from connectors.kafka.partitions import partition_for
from pipeline.observability import process_metrics
from pipeline.output.encoding import OutputEncoder
from pipeline.output.partition_publisher import OutputPartition, PartitionPublisher
from pipeline.output.progress import Opening, SessionProgress, SessionStep
from schemas.serde import SingleObjectSerde
from tests.pipeline.final_records import a_final_record, a_session_ended_record

COUNT = 4
HOUR = 3600.0


class ScriptedDelivery:
    """Keeps what is written; `fails` with errors in turn, waits at `gate` while it is closed."""

    def __init__(
        self, markers: Sequence[SessionProgress] = (), fails: Sequence[Exception | None] = ()
    ) -> None:
        self.writes: list[tuple[list[Message], list[Message]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()
        self.current = True
        self.opened = self.closed = 0
        self._fails = list(fails)
        self._markers = markers

    def open(self) -> Table:
        self.opened += 1
        self.current = True
        serde = SingleObjectSerde("session_progress")
        values = {m.session_id.encode(): serde.encode(m.to_record()) for m in self._markers}
        return Table({PARTITION: values}, {PARTITION: 7})

    def is_current(self) -> bool:
        return self.current

    def write(self, messages: Sequence[Message], markers: Sequence[Message]) -> None:
        self.at_gate.set()
        self.gate.wait(10)
        error = self._fails.pop(0) if self._fails else None
        if error is not None:
            raise error
        self.writes.append((list(messages), list(markers)))

    def close(self) -> None:
        self.closed += 1


def sessions_of(partition: int) -> Iterator[str]:
    return (name for n in range(1000) if partition_for((name := f"session-{n}").encode(), COUNT) == partition)


PARTITION = 2
NAMES = sessions_of(PARTITION)
ONE, OTHER = next(NAMES), next(NAMES)


PAUSES: list[float] = []


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return round(1000 * (self.seconds + 1_700_000_000))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def publisher(
    delivery: ScriptedDelivery, clock: Clock, sessions: str | None = "ends", masked: str | None = None
) -> PartitionPublisher:
    place = OutputPartition("finals", sessions, "progress", PARTITION, COUNT, 2 * HOUR, masked)
    return PartitionPublisher(
        place, delivery, OutputEncoder(), pause=PAUSES.append, clock=clock, wall_ms=clock.wall_ms
    )


def step(name: str = ONE, start: int | None = None, *, ended: bool = False, **fields: Any) -> SessionStep:
    """A step with one final of one word, `start` seconds into the session."""
    finals = () if start is None else (a_final_record(name, words=[("w", start, start + 0.9)]),)
    opening = fields.pop("opening", Opening("audio", "", 0, 0))
    end = a_session_ended_record(name) if ended else None
    return SessionStep(name, opening, start or 0, start or 0, b"c", finals, end, {"traceparent": b"00-1"})


def decoded(schema: str, message: Message) -> dict[str, Any]:
    return SingleObjectSerde(schema).decode(message.value or b"")


def test_a_final_is_written_with_its_marker_number_and_headers(clock: Clock) -> None:
    delivery = ScriptedDelivery()
    done = publisher(delivery, clock).submit(step(start=0)).result(10)
    assert (done.finals, done.skipped, done.trimmed) == (1, 0, 0)
    ((messages, markers),) = delivery.writes
    (final,), (marker,) = messages, markers
    assert (final.topic, final.partition, final.key) == ("finals", PARTITION, ONE.encode())
    assert decoded("final_transcript", final)["segment_index"] == 0
    assert dict(final.headers)["ce_id"] == f"{ONE}/0".encode()
    assert dict(final.headers)["traceparent"] == b"00-1"
    assert (marker.topic, marker.partition, marker.key) == ("progress", PARTITION, ONE.encode())
    assert decoded("session_progress", marker)["next_segment_index"] == 1


def test_what_gathers_during_a_write_goes_into_the_next_one(clock: Clock) -> None:
    delivery = ScriptedDelivery()
    delivery.gate.clear()
    published = publisher(delivery, clock)
    first = published.submit(step(start=0))
    assert delivery.at_gate.wait(10)
    rest = [published.submit(step(name, start)) for start in (1, 2) for name in (ONE, OTHER)]
    delivery.gate.set()
    assert [future.result(10).finals for future in (first, *rest)] == [1] * 5
    assert [len(messages) for messages, _ in delivery.writes] == [1, 4]
    assert len(delivery.writes[1][1]) == 2, "one marker a session"
    indexes = [decoded("final_transcript", m)["segment_index"] for m in delivery.writes[1][0]]
    assert indexes == [1, 0, 2, 1]


def test_what_the_markers_say_is_left_out(clock: Clock) -> None:
    before = SessionProgress(ONE, 3, {"": 5.9}, Opening("audio", "", 0, 0), 9, 9, b"c")
    delivery = ScriptedDelivery([before])
    published = publisher(delivery, clock)
    assert published.submit(step(start=5)).result(10).skipped == 1
    assert published.submit(step(start=6)).result(10).finals == 1
    ((messages, _),) = [write for write in delivery.writes if write[0]]
    assert decoded("final_transcript", messages[0])["segment_index"] == 3


def test_the_end_goes_to_its_topic_by_key_or_nowhere(clock: Clock) -> None:
    for topic in ("ends", None):
        delivery = ScriptedDelivery()
        publisher(delivery, clock, topic).submit(step(start=0, ended=True)).result(10)
        ((messages, markers),) = delivery.writes
        ends = [(m.topic, m.partition) for m in messages if m.topic != "finals"]
        assert ends == ([("ends", None)] if topic else [])
        assert decoded("session_progress", markers[0])["ended_at"] is not None


def test_finals_go_masked_to_their_topic_in_the_same_write_by_key(clock: Clock) -> None:
    """One with an entity, one without, one that nobody asked the service to identify anything in."""
    secret, plain = a_final_record(ONE, [("Ann", 0, 0.9)]), a_final_record(ONE, [("hello", 1, 1.9)])
    name = {"category": "PHI", "content": "Ann", "start_time": 0.0, "end_time": 0.9, "confidence": None}
    secret["alternatives"][0]["entities"] = [name]
    unasked = a_final_record(ONE, [("Bob", 2, 2.9)])
    asked = tuple({**final, "content_identification_type": "PHI"} for final in (secret, plain))
    delivery = ScriptedDelivery()
    handed_in = SessionStep(ONE, Opening("audio", "", 0, 0), 3, 3, b"c", (*asked, unasked))
    done = publisher(delivery, clock, masked="masked").submit(handed_in).result(10)
    assert (done.finals, done.masked, done.masked_whole) == (3, 2, 1)
    ((messages, _),) = delivery.writes
    places = [(message.topic, message.partition, message.key) for message in messages]
    assert places == [("finals", PARTITION, ONE.encode())] * 3 + [("masked", None, ONE.encode())] * 3
    finals = [decoded("final_transcript", message) for message in messages]
    texts = [final["alternatives"][0]["transcript"] for final in finals]
    assert texts == ["Ann", "hello", "Bob", "[PHI]", "hello", "[MASKED]"]
    assert [final["phi_masked"] for final in finals] == [False] * 3 + [True] * 3
    assert [final["segment_index"] for final in finals] == [0, 1, 2, 0, 1, 2]
    ids = [dict(message.headers)["ce_id"] for message in messages]
    assert ids[:3] == ids[3:]


def test_a_partition_that_was_taken_over_fails_all_that_is_under_way_and_the_publisher(clock: Clock) -> None:
    fenced = ProducerFenced("finals-2")
    delivery = ScriptedDelivery(fails=[fenced])
    delivery.gate.clear()
    published = publisher(delivery, clock)
    first = published.submit(step(start=0))
    assert delivery.at_gate.wait(10)
    second = published.submit(step(start=1))
    delivery.gate.set()
    assert first.exception(10) is fenced
    assert second.exception(10) is fenced
    assert published.closed
    assert delivery.closed == 1
    assert published.submit(step(start=2)).exception(10) is fenced


def test_what_failed_is_written_once_more_after_reading_the_markers(clock: Clock) -> None:
    delivery = ScriptedDelivery(fails=[DeliveryFailed("finals", "x"), BrokerUnreachable("h:1", "y")])
    failures = "medstream_publish_failures_total"
    before = process_metrics.REGISTRY.get_sample_value(failures) or 0
    assert publisher(delivery, clock).submit(step(start=0)).result(10).finals == 1
    assert process_metrics.REGISTRY.get_sample_value(failures) == before + 2
    assert delivery.opened == 3
    assert len(delivery.writes) == 1
    assert len(PAUSES) >= 2
    assert max(PAUSES) <= 1.0


def test_a_defect_is_logged_without_what_it_quotes(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    delivery = ScriptedDelivery(fails=[ValueError("PATIENT-WORDS")])
    failure = publisher(delivery, clock).submit(step(start=0)).exception(10)
    assert isinstance(failure, DeliveryFailed)
    assert "ValueError in write" in caplog.text
    assert "PATIENT-WORDS" not in caplog.text + str(failure)


def test_what_came_through_although_it_failed_is_not_written_again(clock: Clock) -> None:
    delivery = ScriptedDelivery(fails=[DeliveryFailed("finals", "no answer")])
    delivery.gate.clear()
    future = publisher(delivery, clock).submit(step(start=0))
    assert delivery.at_gate.wait(10)
    delivery._markers = [SessionProgress(ONE, 1, {"": 0.9}, Opening("audio", "", 0, 0), 0, 0, b"c")]
    delivery.gate.set()
    assert (future.result(10).finals, future.result().skipped) == (0, 1)
    assert delivery.writes == []


def test_in_time_a_failure_is_one(clock: Clock) -> None:
    error = DeliveryFailed("finals", "x")
    delivery = ScriptedDelivery(fails=[error] * 3)
    delivery.gate.clear()
    future = publisher(delivery, clock).submit(step(start=0))
    assert delivery.at_gate.wait(10)
    clock.seconds = 31
    delivery.gate.set()
    assert future.exception(10) is error
    assert delivery.opened == 1


def test_a_write_that_kafka_does_not_answer_is_given_up_by_whoever_waits(clock: Clock) -> None:
    delivery = ScriptedDelivery()
    delivery.gate.clear()
    published = publisher(delivery, clock)
    future = published.submit(step(start=0))
    assert delivery.at_gate.wait(10)
    error = DeliveryFailed("finals", "no answer")
    published.close(error)
    assert future.exception(10) is error
    assert delivery.closed == 1
    delivery.gate.set()  # the answer comes late


def test_markers_that_somebody_else_wrote_are_read_first(clock: Clock) -> None:
    delivery = ScriptedDelivery()
    published = publisher(delivery, clock)
    published.submit(step(start=0)).result(10)
    delivery._markers = [SessionProgress(ONE, 9, {"": 4.9}, Opening("audio", "", 0, 0), 0, 0, b"c")]
    delivery.current = False
    assert published.submit(step(start=4)).result(10).skipped == 1
    assert delivery.opened == 2


def test_a_marker_on_a_partition_that_is_not_its_session_s_is_refused(clock: Clock) -> None:
    stranger = next(sessions_of(PARTITION - 1))
    moved = SessionProgress(stranger, 0, {}, Opening("audio", "", 0, 0), 0, 0)
    future = publisher(ScriptedDelivery([moved]), clock).submit(step(start=0))
    assert isinstance(future.exception(10), PartitionsChanged)


def test_markers_of_sessions_that_ended_long_ago_get_tombstones(clock: Clock) -> None:
    delivery = ScriptedDelivery()
    published = publisher(delivery, clock)
    published.submit(step(ONE, 0, ended=True)).result(10)
    clock.seconds = HOUR + 1
    published.submit(step(OTHER, 0)).result(10)
    assert all(marker.value is not None for _, markers in delivery.writes for marker in markers)
    clock.seconds = 2 * HOUR + 2
    published.submit(step(OTHER, 1)).result(10)
    assert [m.key for _, markers in delivery.writes for m in markers if m.value is None] == [ONE.encode()]


def test_a_session_that_begins_again_keeps_its_marker(clock: Clock) -> None:
    delivery = ScriptedDelivery()
    published = publisher(delivery, clock)
    published.submit(step(ONE, 0, ended=True)).result(10)
    clock.seconds = 10 * HOUR
    published.submit(step(ONE, 0, opening=Opening("audio", "", 0, 99))).result(10)
    ((_, markers),) = delivery.writes[1:]
    assert [marker.value is None for marker in markers] == [False]
