"""Reads the output topics for a board: finals, partials and ends, each with its record's timestamp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from connectors.kafka.client import ClientConfig
from connectors.kafka.reading.positions import COMMITTED, parse_start, parse_stop
from connectors.kafka.records import KafkaRecord
from connectors.kafka.topic_follower import TopicFollower
from pipeline.elements import FinalTranscript, PartialTranscript
from pipeline.errors import SettingsError, UnreadableRecord
from pipeline.output.output_values import SessionEnded, final_of, partial_of, session_ended_of
from pipeline.watch.values import Seen
from schemas.errors import UndecodableRecord
from schemas.serde import Serde
from schemas.serdes import SerdeSettings
from schemas.wire import VALUE_SCHEMA_ID_HEADER

Decode = Callable[[dict[str, Any]], FinalTranscript | PartialTranscript | SessionEnded]


class OutputReader:
    """Everything that is published of sessions, from `start` on. Not thread-safe.

    What retention took before it was read is passed over: a view has no use for it. `until`: `end` or a
    MOMENT. `skip_unreadable`: count records that cannot be decoded, in `unreadable`, instead of raising.

    Raises SettingsError and InvalidPosition for what it is given, KafkaConnectorError for what Kafka says,
    UnreadableRecord, and RegistryError when a registry cannot be asked.
    """

    def __init__(
        self,
        kafka: ClientConfig,
        finals_topic: str,
        *,
        partials_topic: str | None = None,
        sessions_topic: str | None = None,
        start: str = "latest",
        until: str | None = None,
        serdes: SerdeSettings | None = None,
        skip_unreadable: bool = True,
    ) -> None:
        serdes = serdes or SerdeSettings()
        kinds: list[tuple[str | None, str, str, Decode]] = [
            (finals_topic, "--output-topic", "final_transcript", final_of),
            (partials_topic, "--partials-topic", "partial_transcript", partial_of),
            (sessions_topic, "--sessions-topic", "session_ended", session_ended_of),
        ]
        self._serdes: dict[str, Serde] = {}
        self._decoders: dict[str, Decode] = {}
        topics: dict[str, str] = {}
        for topic, option, schema_name, decode in kinds:
            if topic is None:
                continue
            if topic in topics:
                raise SettingsError(option, f"{topic} is the topic of {topics[topic]}, too")
            topics[topic] = option
            self._serdes[topic] = serdes.reader(schema_name)
            self._decoders[topic] = decode
        position = parse_start(start, "--start-from")
        if position.kind == COMMITTED:
            raise SettingsError(
                "--start-from", "watch commits no offsets: earliest, latest or timestamp:MOMENT"
            )
        self._skip_unreadable = skip_unreadable
        self.unreadable = 0
        self._reader = TopicFollower(
            kafka,
            topics,
            position,
            stop=None if until is None else parse_stop(until, "--until"),
            skip_lost=True,
        )

    def __enter__(self) -> OutputReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def finished(self) -> bool:
        """Whether everything before `until` was handed out."""
        return self._reader.finished

    def poll(self, timeout_seconds: float = 0.1) -> Iterator[Seen]:
        """What one read of Kafka brings; nothing if nothing comes in time."""
        for record in self._reader.poll(timeout_seconds):
            seen = self._seen(record)
            if seen is not None:
                yield seen

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()

    def _seen(self, record: KafkaRecord) -> Seen | None:
        serde, decode = self._serdes[record.topic], self._decoders[record.topic]
        try:
            fields = serde.decode(record.value or b"", record.header(VALUE_SCHEMA_ID_HEADER))
        except UndecodableRecord as error:
            if not self._skip_unreadable:
                raise UnreadableRecord(record.topic, record.partition, record.offset, str(error)) from None
            self.unreadable += 1
            return None
        return Seen(decode(fields), record.timestamp_ms)
