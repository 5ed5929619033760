"""Read the finals: the library for applications that want transcripts from the output topic.

The short way, every final as a frozen dataclass (`pipeline.elements.FinalTranscript`):

    from connectors.kafka.client import ClientConfig
    from pipeline.consuming import read_finals

    kafka = ClientConfig.build("localhost:9092")
    for final in read_finals(kafka, "final-transcripts"):
        store(final.id, final.start_time, final.text)

Delivery is at least once: a segment may come again under its id, and the later record wins. Exact repetitions
are dropped here; one with other words or times is handed out again. So store by `final.id` and overwrite
(upsert), and the result is right.

`FinalsConsumer` is the same with control: whether a final revises an earlier one, ends of sessions, and
offsets that are committed when the caller says so, after it has stored what it got:

    with FinalsConsumer(kafka, "final-transcripts", sessions_topic="sessions",
                        start="committed", group_id="archive") as finals:
        for event in finals:
            match event:
                case SegmentReceived(final):
                    upsert(final)
                case SessionEnded(summary):
                    close(summary)
            finals.commit()

`read_sessions` reads up to the end of the topics and gives whole sessions (`pipeline.output.transcripts`),
which know whether they are complete.

Everything is read with `read_committed`. Each consumer reads all partitions, new ones included, and takes no
part in a group's sharing of them; an application that needs that subscribes with its own Kafka client and
decodes by `SerdeSettings.reader("final_transcript")` and `pipeline.output.output_values.final_of`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.positions import COMMITTED, parse_start, parse_stop
from connectors.kafka.records import KafkaRecord
from connectors.kafka.topic_follower import TopicFollower
from pipeline.elements import FinalTranscript
from pipeline.errors import SettingsError, UnreadableRecord
from pipeline.output.output_values import SessionEnded, final_of, session_ended_of
from pipeline.output.transcripts import Event, Novelty, SegmentLedger, SegmentReceived, Transcripts
from schemas.errors import UndecodableRecord
from schemas.serdes import SerdeSettings
from schemas.wire import VALUE_SCHEMA_ID_HEADER

FAIL, SKIP = "fail", "skip"


class FinalsConsumer:
    """The finals of an output topic, without repetitions, and ends of sessions if their topic is given.

    `start`: earliest, latest, committed (else earliest) or timestamp:MOMENT. `until`: `end` (of the topics as
    they are now) or a MOMENT, then iteration ends; without it goes on for ever. `serdes`: with a registry,
    or without one (the default). `on_unreadable` "skip": records that cannot be decoded are counted in
    `unreadable`; they may be finals of a newer job whose schema this version lacks. `on_lost_offsets`: the
    same for records that retention took.

    Raises SettingsError and InvalidPosition for what it is given, KafkaConnectorError for what Kafka says,
    UnreadableRecord, and RegistryError when a registry cannot be asked.
    """

    def __init__(
        self,
        kafka: ClientConfig,
        finals_topic: str,
        *,
        sessions_topic: str | None = None,
        start: str = "earliest",
        until: str | None = None,
        group_id: str | None = None,
        serdes: SerdeSettings | None = None,
        on_unreadable: str = FAIL,
        on_lost_offsets: str = FAIL,
        refresh_seconds: float = 30.0,
    ) -> None:
        position = parse_start(start, "--start-from")
        if position.kind == COMMITTED and group_id is None:
            raise SettingsError("--start-from", "committed needs --group-id: whose offsets?")
        serdes = serdes or SerdeSettings()
        self._decoders: dict[str, Callable[[dict[str, Any]], FinalTranscript | SessionEnded]] = {
            finals_topic: final_of
        }
        self._serdes = {finals_topic: serdes.reader("final_transcript")}
        topics = {finals_topic: "--output-topic"}
        if sessions_topic is not None:
            self._decoders[sessions_topic] = session_ended_of
            self._serdes[sessions_topic] = serdes.reader("session_ended")
            topics[sessions_topic] = "--sessions-topic"
        self._skip_unreadable = _skips("--on-unreadable", on_unreadable)
        self._ledger = SegmentLedger()
        self._fetched: deque[KafkaRecord] = deque()
        self._handed_out: dict[tuple[str, int], int] = {}
        self.unreadable = 0
        """Records that were skipped because they could not be decoded."""
        self.repeated = 0
        """Finals that were left out because the same had come before."""
        self._reader = TopicFollower(
            kafka,
            topics,
            position,
            stop=None if until is None else parse_stop(until, "--until"),
            group_id=group_id,
            skip_lost=_skips("--on-lost-offsets", on_lost_offsets),
            refresh_seconds=refresh_seconds,
        )

    def __enter__(self) -> FinalsConsumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        """Events as they come, until `until`; without it for ever."""
        while not self.finished:
            yield from self.poll()

    @property
    def finished(self) -> bool:
        """Whether everything before `until` has been handed out."""
        return not self._fetched and self._reader.finished

    @property
    def remaining(self) -> int:
        """Offsets still to be read up to `until`."""
        return self._reader.remaining

    def poll(self, timeout_seconds: float = 0.5) -> Iterator[Event]:
        """The events of one read of Kafka; none if nothing comes in time."""
        if not self._fetched:  # else the caller left the last one before its end
            self._fetched.extend(self._reader.poll(timeout_seconds))
        while self._fetched:
            record = self._fetched[0]
            event = self._event(record)
            self._fetched.popleft()
            self._handed_out[record.topic, record.partition] = record.offset + 1
            if event is not None:
                yield event
        self._handed_out = self._reader.positions  # behind what is no record, too

    def commit(self) -> None:
        """Note for the group that every event handed out so far is done, the one in hand included.

        After a restart with `start="committed"` reading goes on behind it.
        """
        self._reader.commit(self._handed_out)

    def close(self) -> None:
        """Close the connection; nothing is committed by that."""
        self._reader.close()

    def _event(self, record: KafkaRecord) -> Event | None:
        value = self._decoded(record)
        if value is None or isinstance(value, SessionEnded):
            return value
        novelty = self._ledger.enter(value)
        if novelty is Novelty.REPEATED:
            self.repeated += 1
            return None
        return SegmentReceived(
            value, novelty is Novelty.REVISED, record.topic, record.partition, record.offset
        )

    def _decoded(self, record: KafkaRecord) -> FinalTranscript | SessionEnded | None:
        try:
            fields = self._serdes[record.topic].decode(
                record.value or b"", record.header(VALUE_SCHEMA_ID_HEADER)
            )
        except UndecodableRecord as error:
            if not self._skip_unreadable:
                raise UnreadableRecord(record.topic, record.partition, record.offset, str(error)) from None
            self.unreadable += 1
            return None
        return self._decoders[record.topic](fields)


def read_finals(kafka: ClientConfig, finals_topic: str, **options: Any) -> Iterator[FinalTranscript]:
    """Every final of the topic, as it comes; a revised one comes again under its id.

    `options` are those of FinalsConsumer.
    """
    with FinalsConsumer(kafka, finals_topic, **options) as consumer:
        for event in consumer:
            if isinstance(event, SegmentReceived):
                yield event.final


def read_sessions(
    kafka: ClientConfig,
    finals_topic: str,
    *,
    sessions_topic: str | None = None,
    wanted: Callable[[str], bool] = lambda _: True,
    progress: Callable[[int], None] = lambda _: None,
    **options: Any,
) -> Transcripts:
    """The sessions in the topics as they are now, those with a `wanted` id.

    `progress` hears how many offsets are left. `options` are those of FinalsConsumer; `until` is `end`
    without.
    """
    found = Transcripts()
    options.setdefault("until", "end")
    with FinalsConsumer(kafka, finals_topic, sessions_topic=sessions_topic, **options) as consumer:
        while not consumer.finished:
            for event in consumer.poll():
                session_id = event.session_id if isinstance(event, SessionEnded) else event.final.session_id
                if wanted(session_id):
                    found.add(event)
            progress(consumer.remaining)
    return found


def _skips(setting: str, choice: str) -> bool:
    if choice not in (FAIL, SKIP):
        raise SettingsError(setting, f"{choice!r} is neither {FAIL} nor {SKIP}")
    return choice == SKIP
