"""Publishes the steps of the sessions of one output partition, each with the marker that says so.

One thread per partition takes what has been handed in, compares it with the markers (`progress`), and writes
finals, ends and markers in one go (`connectors.kafka.delivery`). While it writes, the next steps gather: the
busier the partition, the more go into one transaction, and a lone final waits for nobody.

A write that fails leaves its outcome open. So the partition is taken over anew, its markers are read, and
what they lack of the same steps is written, until Kafka's delivery timeout. Then, or when another worker has
taken the partition over, every step under way fails, and the publisher with them.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, replace

from connectors.kafka.delivery import Delivery, Message
from connectors.kafka.errors import (
    BrokerUnreachable,
    DeliveryFailed,
    KafkaConnectorError,
    PartitionsChanged,
    ReadFailed,
)
from connectors.kafka.partitions import partition_for
from connectors.kafka.reading.drain_requests import DRAIN_KEY
from pipeline.backoff import full_jitter
from pipeline.observability import process_metrics
from pipeline.output.encoding import OutputEncoder
from pipeline.output.masking import Masked, mask
from pipeline.output.progress import Publication, SessionProgress, SessionStep, publish
from schemas.errors import RegistryError
from schemas.serde import shared_serde

_LOG = logging.getLogger(__name__)

_MAX_STEPS = 500  # of one write
_MAX_PAUSE_SECONDS = 1.0  # between attempts; the delivery itself has waited for the broker before
_PURGE_SECONDS = 60.0
_PURGE_AFTER_SECONDS = 3_600.0
"""A job that was away for long gets its old sessions again first; so long their markers stay."""
_MAX_TOMBSTONES = 500  # of one write


@dataclass(frozen=True, slots=True)
class OutputPartition:
    """Where one partition's outputs go. `sessions_topic` None: ends are not published; `masked_topic` None:
    finals are not published masked. `count`: partitions of `finals_topic` and `progress_topic`.
    """

    finals_topic: str
    sessions_topic: str | None
    progress_topic: str
    partition: int
    count: int
    retention_seconds: float
    masked_topic: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one step's finals, and how long it took from handing in to Kafka's answer."""

    finals: int
    skipped: int
    trimmed: int
    milliseconds: int
    masked: int = 0
    masked_whole: int = 0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A step's publication and, where there is a topic for them, its finals masked."""

    publication: Publication
    masked: tuple[Masked, ...]


class PartitionPublisher:
    """See the module. `delivery` is not open yet; failed writes are repeated for `delivery_seconds`, with
    pauses. `clock`: monotonic seconds; `wall_ms`: Unix time.
    """

    def __init__(
        self,
        place: OutputPartition,
        delivery: Delivery,
        encoder: OutputEncoder,
        *,
        delivery_seconds: float = 30.0,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._place = place
        self._delivery = delivery
        self._encoder = encoder
        self._delivery_seconds = delivery_seconds
        self._pause = pause
        self._clock = clock
        self._wall_ms = wall_ms
        self._serde = shared_serde("session_progress")
        self._markers: dict[str, SessionProgress] = {}
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[SessionStep, Future[Published], float] | None] = (
            queue.SimpleQueue()
        )
        self._under_way: list[Future[Published]] = []
        self._failure: Exception | None = None  # why it is closed
        self._opened_at = self._purged_at = clock()
        self.used_at = clock()
        self._thread = threading.Thread(
            target=self._run, name=f"publish-{place.finals_topic}-{place.partition}", daemon=True
        )
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it takes no more steps: it failed, or was closed."""
        return self._failure is not None

    def submit(self, step: SessionStep) -> Future[Published]:
        """Hand a step in; steps of one session are published in this order.

        The future fails with KafkaConnectorError or RegistryError, at once when the publisher is `closed`.
        """
        future: Future[Published] = Future()
        with self._lock:
            if self._failure is not None:
                future.set_exception(self._failure)
                return future
            self.used_at = self._clock()
            self._queue.put((step, future, self.used_at))
        return future

    def close(self, error: Exception | None = None) -> None:
        """Stop; what is under way fails with `error`, and so does a write that Kafka does not answer."""
        failure = error or self._closing
        with self._lock:
            if self._failure is not None:
                return
            self._failure = failure
            under_way = list(self._under_way)
        self._queue.put(None)
        for future in under_way:
            _fail(future, failure)
        self._delivery.close()

    # The thread

    def _run(self) -> None:
        try:
            self._open()
            while (first := self._queue.get()) is not None:
                self._write_until_done([first, *self._waiting()])
        except (KafkaConnectorError, RegistryError) as error:
            self._stop(error)
        except Exception as error:
            # Where, but not what it says: a defect's message may quote the record that it stumbled over.
            place = traceback.extract_tb(error.__traceback__)[-1]
            _LOG.error("A publisher failed: %s in %s:%s", type(error).__name__, place.name, place.lineno)
            self._stop(DeliveryFailed(self._place.finals_topic, type(error).__name__))
        else:
            self._stop(self._closing)

    @property
    def _closing(self) -> KafkaConnectorError:
        return DeliveryFailed(self._place.finals_topic, "the publisher was closed")

    def _open(self) -> None:
        table = self._delivery.open()
        found = table.values[self._place.partition]
        markers = [
            SessionProgress.from_record(self._serde.decode(value))
            for key, value in found.items()
            if key != DRAIN_KEY
        ]
        for marker in markers:
            if partition_for(marker.session_id.encode(), self._place.count) != self._place.partition:
                raise PartitionsChanged(self._place.finals_topic, None, self._place.count)
        self._markers = {marker.session_id: _light(marker) for marker in markers}

    def _waiting(self) -> list[tuple[SessionStep, Future[Published], float]]:
        """What else has been handed in; a stop signal among it stays for the next turn."""
        found: list[tuple[SessionStep, Future[Published], float]] = []
        while len(found) < _MAX_STEPS - 1:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                self._queue.put(None)
                break
            found.append(entry)
        return found

    def _write_until_done(self, entries: Sequence[tuple[SessionStep, Future[Published], float]]) -> None:
        with self._lock:
            self._under_way = [future for _, future, _ in entries]
        deadline, failures = self._clock() + self._delivery_seconds, 0
        while True:
            try:
                if failures:
                    self._open()
                self._write(entries)
                return
            except (DeliveryFailed, BrokerUnreachable, ReadFailed) as error:
                process_metrics.count("publish_failures")
                if self.closed or self._clock() >= deadline:
                    raise
                _LOG.warning("Finals are written once more: %s", error)
                failures += 1
                self._pause(min(_MAX_PAUSE_SECONDS, full_jitter(failures)))

    def _write(self, entries: Sequence[tuple[SessionStep, Future[Published], float]]) -> None:
        if not self._delivery.is_current():
            self._open()
        changed: dict[str, SessionProgress] = {}
        prepared: list[_Prepared] = []
        messages: list[Message] = []
        now_ms = self._wall_ms()
        for step, _, _ in entries:
            before = changed.get(step.session_id, self._markers.get(step.session_id))
            publication = publish(before, step, now_ms)
            prepared.append(self._prepared(publication))
            messages += self._messages(step, prepared[-1])
            if publication.progress is not None:
                changed[step.session_id] = publication.progress
        expired = [name for name in self._expired(now_ms) if name not in changed]
        markers = [*(self._marker(progress) for progress in changed.values()), *map(self._tombstone, expired)]
        if messages or markers:
            self._delivery.write(messages, markers)
        self._markers.update((name, _light(progress)) for name, progress in changed.items())
        for name in expired:
            self._markers.pop(name, None)
        self._answer(entries, prepared)

    def _prepared(self, publication: Publication) -> _Prepared:
        wanted = self._place.masked_topic is not None
        return _Prepared(publication, tuple(map(mask, publication.finals)) if wanted else ())

    def _answer(
        self,
        entries: Sequence[tuple[SessionStep, Future[Published], float]],
        prepared: Sequence[_Prepared],
    ) -> None:
        with self._lock:
            self._under_way = []
        now = self._clock()
        for (_, future, since), done in zip(entries, prepared, strict=True):
            published = Published(
                len(done.publication.finals),
                done.publication.skipped,
                done.publication.trimmed,
                round(1000 * (now - since)),
                sum(masked.words for masked in done.masked),
                sum(masked.whole for masked in done.masked),
            )
            with contextlib.suppress(InvalidStateError):  # it had to be closed meanwhile
                future.set_result(published)

    def _messages(self, step: SessionStep, prepared: _Prepared) -> Iterable[Message]:
        place, publication = self._place, prepared.publication
        for final in publication.finals:
            key, value, headers = self._encoder.final(final, step.passed)
            yield Message(place.finals_topic, place.partition, key, value, headers)
        for masked in prepared.masked:
            key, value, headers = self._encoder.final(masked.record, step.passed)
            yield Message(str(place.masked_topic), None, key, value, headers)
        if publication.ended is not None and place.sessions_topic is not None:
            key, value, headers = self._encoder.session_ended(publication.ended, step.passed)
            yield Message(place.sessions_topic, None, key, value, headers)

    def _marker(self, progress: SessionProgress) -> Message:
        value = self._serde.encode(progress.to_record())
        return Message(self._place.progress_topic, self._place.partition, progress.session_id.encode(), value)

    def _tombstone(self, session_id: str) -> Message:
        return Message(self._place.progress_topic, self._place.partition, session_id.encode(), None)

    def _expired(self, now_ms: int) -> list[str]:
        """Sessions that ended long ago, looked for once a minute."""
        now = self._clock()
        if now - self._purged_at < _PURGE_SECONDS or now - self._opened_at < _PURGE_AFTER_SECONDS:
            return []
        self._purged_at = now
        before_ms = now_ms - 1000 * self._place.retention_seconds
        old = (n for n, m in self._markers.items() if m.ended_at_ms is not None and m.ended_at_ms < before_ms)
        return [name for name, _ in zip(old, range(_MAX_TOMBSTONES), strict=False)]

    def _stop(self, error: Exception) -> None:
        """Fail whatever has been handed in and is not answered."""
        with self._lock:
            self._failure = self._failure or error
        for future in self._under_way:
            _fail(future, error)
        while entries := self._waiting():
            for _, future, _ in entries:
                _fail(future, error)
        self._delivery.close()


def _fail(future: Future[Published], error: Exception) -> None:
    with contextlib.suppress(InvalidStateError):  # answered, or failed by another thread
        future.set_exception(error)


def _light(marker: SessionProgress) -> SessionProgress:
    """Without the cursor of a session that has ended, which nobody asks for here."""
    return marker if marker.ended_at_ms is None else replace(marker, cursor=None)
