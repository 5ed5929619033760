"""Dead letters from Kafka, and their records back to the topics they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

from connectors.kafka.audio_log import AudioLog
from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import LostOffsets
from connectors.kafka.publisher import Delivery, Publisher
from connectors.kafka.reading.offsets import list_partitions
from connectors.kafka.reading.positions import EARLIEST, END, Position
from connectors.kafka.records import KafkaRecord
from connectors.kafka.topic_follower import TopicFollower
from pipeline.audio import raw_chunks
from pipeline.audio.raw_chunks import AVRO, RAW
from pipeline.elements import DeadLetter
from pipeline.errors import UnrenamableRecord
from pipeline.letters.letter_retry import Plan, ReadAgain, Step
from pipeline.output.output_values import dead_letter_of
from schemas.errors import UndecodableRecord
from schemas.serdes import SerdeSettings
from schemas.wire import VALUE_SCHEMA_ID_HEADER

_WAIT_EVERY = 1_000
"""Records under way before they are waited for: a failure is then found near where it happened."""


def read_dead_letters(
    kafka: ClientConfig,
    topic: str,
    serdes: SerdeSettings | None = None,
    *,
    unreadable: Callable[[str], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[DeadLetter]:
    """Every dead letter of the topic as it is now. Raises KafkaConnectorError, RegistryError.

    `unreadable` hears of records that are none; `progress` how many offsets are left.
    """
    serde = (serdes or SerdeSettings()).reader("dead_letter")
    topics = {topic: "--dead-letter-topic"}
    with TopicFollower(kafka, topics, Position(EARLIEST), stop=Position(END)) as reader:
        while not reader.finished:
            for record in reader.poll():
                try:
                    yield dead_letter_of(
                        serde.decode(record.value or b"", record.header(VALUE_SCHEMA_ID_HEADER))
                    )
                except UndecodableRecord as error:
                    unreadable(f"{topic}-{record.partition} offset {record.offset}: {error}")
            progress(reader.remaining)


class LetterSender:
    """Takes the steps of a retry. Use it as a context manager.

    Without a new session id key, value and headers are sent byte for byte (but see `emptied`), to the
    record's partition while the topic has it. With one the chunk is named anew and goes where its key
    belongs. `skip_lost`: go on behind what the input topic no longer holds instead of raising LostOffsets.
    """

    def __init__(
        self,
        kafka: ClientConfig,
        serdes: SerdeSettings | None = None,
        *,
        skip_lost: bool = False,
        chunk_format: str = AVRO,
    ) -> None:
        self._kafka = kafka
        self._serdes = serdes or SerdeSettings()
        self._chunks = self._serdes.reader("audio_chunk")
        self._skip_lost = skip_lost
        self._raw = chunk_format == RAW
        self._log = AudioLog(kafka, threads=1)
        self._publisher = Publisher(kafka)
        self._under_way: list[Delivery] = []
        self.sent = 0
        """Records that Kafka has."""
        self.emptied = 0
        """Records with a null header value, which kafka-python (3.0.12) can only send as an empty one."""

    def __enter__(self) -> LetterSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
        self._publisher.close()

    def send(self, plan: Plan, progress: Callable[[int], None] = lambda _: None) -> int:
        """Send everything, in order; how many records that was. `progress` hears how many steps are done.

        Raises KafkaConnectorError, UnrenamableRecord, RegistryError: what `sent` counts was sent before.
        """
        for number, step in enumerate(plan.steps):
            for record in self.records(step):
                self._send(self.outgoing(record, step), by_key=step.new_session_id is not None)
            progress(number + 1)
        self._wait()
        return self.sent

    def records(self, step: Step) -> Iterator[KafkaRecord]:
        """The step's records as they were: those of a session that is read again from the log."""
        if not isinstance(step, ReadAgain):
            yield step.record
            return
        offset, end, found = step.first_offset, self._end_of(step), False
        while offset < end:
            piece = self._log.read(step.topic, step.partition, step.key, offset, end).result()
            if piece.lost is not None and not self._skip_lost:
                raise LostOffsets(step.topic, step.partition, *piece.lost)
            yield from piece.records
            found |= bool(piece.records)
            if piece.next_offset <= offset:
                break  # the log ends here
            offset = piece.next_offset
        if not found and not self._skip_lost:
            last = step.first_offset if step.last_offset is None else step.last_offset
            raise LostOffsets(step.topic, step.partition, step.first_offset, last + 1)

    def outgoing(self, record: KafkaRecord, step: Step) -> KafkaRecord:
        """The record as it is sent: itself, or the chunk under its new session id."""
        if step.new_session_id is None:
            return record
        if self._raw:
            return raw_chunks.renamed(record, step.new_session_id)
        try:
            chunk = self._chunks.decode(record.value or b"", record.header(VALUE_SCHEMA_ID_HEADER))
        except UndecodableRecord as error:
            raise UnrenamableRecord(record.topic, record.partition, record.offset, str(error)) from None
        writer = self._serdes.writer("audio_chunk", record.topic)
        return record._replace(
            key=step.new_session_id.encode(),
            value=writer.encode({**chunk, "session_id": step.new_session_id}),
            headers=tuple(header for header in record.headers if header[0] != VALUE_SCHEMA_ID_HEADER),
        )

    def _end_of(self, step: ReadAgain) -> int:
        ends = {
            place.partition: end for place, _, end in list_partitions(self._kafka, [step.topic], EARLIEST)
        }
        log_end = ends.get(step.partition, 0)
        return log_end if step.last_offset is None else min(log_end, step.last_offset + 1)

    def _send(self, record: KafkaRecord, *, by_key: bool) -> None:
        partitions = self._publisher.partitions_for(record.topic) or ()
        own = record.partition if record.partition in partitions and not by_key else None
        headers = [(name, value or b"") for name, value in record.headers]
        self.emptied += any(value is None for _, value in record.headers)
        delivery = self._publisher.send(record.topic, record.key, record.value, headers, partition=own)
        self._under_way.append(delivery)
        if len(self._under_way) >= _WAIT_EVERY:
            self._wait()

    def _wait(self) -> None:
        waiting, self._under_way = self._under_way, []
        self._publisher.wait(waiting)
        self.sent += len(waiting)
