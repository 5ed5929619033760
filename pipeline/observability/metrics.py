"""Every metric of a job: what it is called, what it counts in, what it says.

There are two readers. Beam's metrics go to the runner as `NAMESPACE.name`. Prometheus reads the same from
each worker process, and more that a runner cannot hold (`Metric.series`: in seconds, counters with `_total`),
with labels. No name and no label says which session; every label but topic and partition has a closed set of
values.

Counters only grow. A distribution tells count, sum, smallest and largest of its values to Beam, and is a
histogram for Prometheus. A gauge of Beam's is the last value that one worker process reported, at most once
a second: on several workers look at each worker's. Beam counts what bundles committed, Prometheus what was
tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pipeline import elements
from pipeline.engine.failures import FailureKind
from pipeline.engine.session_state import SessionState

NAMESPACE = "medstream"


class Kind(Enum):
    COUNTER = "counter"
    DISTRIBUTION = "distribution"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Label:
    """A label of Prometheus. `values`: all that there are; None: as many as the topics have partitions."""

    name: str
    values: tuple[str, ...] | None


CAUSE = Label("cause", tuple(kind.value for kind in FailureKind if kind is not FailureKind.THROTTLED))
GAP = Label(
    "reason",
    (
        elements.MISSING_SEQUENCE,
        elements.LOST_OFFSETS,
        elements.UNDECODABLE,
        elements.SEQUENCE_RESTARTED,
    ),
)
LETTER = Label(
    "reason",
    (
        elements.MISSING_KEY,
        elements.MISSING_VALUE,
        elements.KEY_MISMATCH,
        elements.NOT_AVRO,
        elements.UNKNOWN_SCHEMA,
        elements.MALFORMED_RECORD,
        elements.UNSUPPORTED_ENCODING,
        elements.UNDECODABLE_AUDIO,
        elements.INVALID_CHUNK,
        elements.SAMPLE_RATE_MISMATCH,
        elements.FORMAT_CHANGED,
        elements.LATE_CHUNK,
        elements.SEQUENCE_REUSED,
        elements.AFTER_END_OF_SESSION,
        elements.SESSION_REFUSED,
        elements.RETRIES_EXHAUSTED,
    ),
)
STATE = Label("state", tuple(state.value for state in SessionState))
PLACE = (Label("topic", None), Label("partition", None))
OTHER = "other"
"""In place of a value that a label does not have."""


@dataclass(frozen=True, slots=True)
class Metric:
    """`beam` False: for Prometheus alone. `labels` are Prometheus' alone, always."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    namespace: str = NAMESPACE
    labels: tuple[Label, ...] = ()
    beam: bool = True

    @property
    def full_name(self) -> str:
        """Its name among all, as in the README."""
        return self.name if self.namespace == NAMESPACE else f"{self.namespace}.{self.name}"

    @property
    def series(self) -> str:
        """What Prometheus calls it; a histogram's series are this with `_bucket`, `_sum` and `_count`."""
        name = f"{NAMESPACE}_{self.full_name.replace('.', '_')}"
        if self.in_milliseconds:
            name = name.removesuffix("_ms") + "_seconds"
        return f"{name}_total" if self.kind is Kind.COUNTER else name

    @property
    def in_milliseconds(self) -> bool:
        """Whether Beam's values are; Prometheus' are seconds."""
        return self.unit == "milliseconds"


def _counter(
    name: str, unit: str, meaning: str, namespace: str = NAMESPACE, *labels: Label, beam: bool = True
) -> Metric:
    return Metric(name, Kind.COUNTER, unit, meaning, namespace, labels, beam)


def _distribution(name: str, meaning: str, namespace: str = NAMESPACE) -> Metric:
    return Metric(name, Kind.DISTRIBUTION, "milliseconds", meaning, namespace)


def _gauge(
    name: str, unit: str, meaning: str, namespace: str = NAMESPACE, *labels: Label, beam: bool = True
) -> Metric:
    return Metric(name, Kind.GAUGE, unit, meaning, namespace, labels, beam)


METRICS: tuple[Metric, ...] = (
    # outputs
    _counter("finals", "records", "finals published"),
    _counter("finals_skipped", "records", "finals left out, since all their words had been published before"),
    _counter("finals_trimmed", "records", "finals published without the words that had been before"),
    _counter("finals_masked", "records", "finals published to the masked topic with words replaced"),
    _counter(
        "finals_masked_whole", "records", "of them, those without any word: their entities were not found"
    ),
    _distribution("publish_ms", "from a final's arrival at its output partition to Kafka's answer"),
    _distribution("final_latency_ms", "from the last word of a final to the final's arrival in the worker"),
    _counter(
        "dead_letters", "records", "records and sessions sent to the dead-letter topic", NAMESPACE, LETTER
    ),
    _counter("publish_failures", "writes", "writes of finals that failed, and are tried again", beam=False),
    # sessions
    _counter("sessions_opened", "sessions", "sessions begun by a first chunk"),
    _counter("sessions_ended", "sessions", "sessions that ended, for whatever reason"),
    _counter("sessions_rejected", "sessions", "sessions given up: refused by the service, or out of retries"),
    _counter("recoveries", "sessions", "sessions restored from their cursor"),
    _gauge("sessions", "sessions", "sessions of this worker process, by state", NAMESPACE, STATE, beam=False),
    # audio
    _counter("duplicate_chunks", "chunks", "chunks that a producer's retry repeated; dropped"),
    _counter("reordered_chunks", "chunks", "chunks that came before their turn and were put in order"),
    _counter("late_chunks", "chunks", "chunks that came after their gap was given up; dead letters"),
    _counter("gaps", "gaps", "holes in the audio that finals have passed", NAMESPACE, GAP),
    _counter("gap_ms", "milliseconds", "their length, as far as it is known", NAMESPACE, GAP),
    _counter("sequence_restarts", "restarts", "producers that began their numbering again"),
    _counter("outbound_overflows", "times", "the outbound buffer was full; the audio is read again later"),
    _distribution("outbound_ms", "audio of one session waiting for the wire, sampled each second"),
    _counter(
        "audio_sent_bytes",
        "bytes",
        "PCM handed to streams of the service, repeated audio included",
        beam=False,
    ),
    _counter(
        "audio_sent_seconds", "seconds", "its length: what the service bills, but for minima", beam=False
    ),
    _gauge(
        "audio_lag_seconds",
        "seconds",
        "largest over sessions: age of the oldest audio that is not on the wire, by the records' timestamps",
        beam=False,
    ),
    _gauge(
        "unfinal_audio_seconds",
        "seconds",
        "largest over sessions: audio that was sent and has no final yet, silence included",
        beam=False,
    ),
    # streams
    _counter("streams_opened", "streams", "streams asked of the service"),
    _counter("streams_closed_idle", "streams", "streams closed because no audio came"),
    _counter("rotations", "streams", "streams replaced for their age, or because finals stayed away"),
    _counter("stream_retries", "streams", "streams lost, other than to a quota", NAMESPACE, CAUSE),
    _counter("throttles", "streams", "streams lost to a quota of the account"),
    _distribution("slot_wait_ms", "from a session's wish for a stream to its slot"),
    _distribution("recovery_ms", "from the loss of a stream, or a restore, until audio flows live again"),
    _gauge("live_streams", "streams", "slots taken in this worker process"),
    _gauge("sessions_waiting", "sessions", "sessions of this worker process that wait for a slot"),
    _gauge("stream_ceiling", "streams", "slots there are; below the setting after the service throttled"),
    _gauge(
        "stream_slots", "streams", "slots by the setting, which is the ceiling's highest value", beam=False
    ),
    _gauge("slot_queue_seconds", "seconds", "how long the first of those who wait has waited", beam=False),
    # Kafka
    _counter("records", "records", "records read", "kafka_source", *PLACE),
    _counter("bytes", "bytes", "their keys, values and headers", "kafka_source", *PLACE),
    _counter("polls", "polls", "reads of a partition; each is a bundle", "kafka_source"),
    _counter("empty_polls", "polls", "reads that found nothing", "kafka_source"),
    _counter("lost_offsets", "offsets", "records that retention removed unread", "kafka_source", *PLACE),
    _counter("partitions_found", "partitions", "partitions to read, later ones included", "kafka_source"),
    _counter(
        "discovery_failures", "listings", "looks for new partitions that the cluster refused", "kafka_source"
    ),
    _distribution("lag_ms", "from the timestamp of a read's first record to the read", "kafka_source"),
    _distribution("poll_ms", "how long a read waited and collected", "kafka_source"),
    _gauge(
        "lag_records", "records", "records that this worker process has yet to read", "kafka_source", *PLACE
    ),
    _gauge(
        "checkpoint_age_seconds",
        "seconds",
        "since the runner last reported a checkpoint of what was read; the oldest of all partitions",
        beam=False,
    ),
    _counter("records", "records", "records written", "kafka_sink"),
    _counter("dropped_records", "records", "partials dropped because the broker was behind", "kafka_sink"),
    _counter("undeliverable_records", "records", "records that can never be written", "kafka_sink"),
)
