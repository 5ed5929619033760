"""Every metric of a job: what it is called, what it counts in, what it says.

Names go to the runner as `NAMESPACE.name`; none of them, and no label, names a session. Counters only grow.
A distribution tells count, sum, smallest and largest of its values. A gauge is the last value that one worker
process reported, at most once a second: on several workers look at each worker's, or at the counters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

NAMESPACE = "medstream"


class Kind(Enum):
    COUNTER = "counter"
    DISTRIBUTION = "distribution"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: Kind
    unit: str
    meaning: str
    namespace: str = NAMESPACE


def _counter(name: str, unit: str, meaning: str, namespace: str = NAMESPACE) -> Metric:
    return Metric(name, Kind.COUNTER, unit, meaning, namespace)


def _distribution(name: str, meaning: str, namespace: str = NAMESPACE) -> Metric:
    return Metric(name, Kind.DISTRIBUTION, "milliseconds", meaning, namespace)


def _gauge(name: str, unit: str, meaning: str, namespace: str = NAMESPACE) -> Metric:
    return Metric(name, Kind.GAUGE, unit, meaning, namespace)


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
    _counter("dead_letters", "records", "records and sessions sent to the dead-letter topic"),
    # sessions
    _counter("sessions_opened", "sessions", "sessions begun by a first chunk"),
    _counter("sessions_ended", "sessions", "sessions that ended, for whatever reason"),
    _counter("sessions_rejected", "sessions", "sessions given up: refused by the service, or out of retries"),
    _counter("recoveries", "sessions", "sessions restored from their cursor"),
    # audio
    _counter("duplicate_chunks", "chunks", "chunks that a producer's retry repeated; dropped"),
    _counter("reordered_chunks", "chunks", "chunks that came before their turn and were put in order"),
    _counter("late_chunks", "chunks", "chunks that came after their gap was given up; dead letters"),
    _counter("gaps", "gaps", "holes in the audio that finals have passed"),
    _counter("gap_ms", "milliseconds", "their length, as far as it is known"),
    _counter("sequence_restarts", "restarts", "producers that began their numbering again"),
    _counter("outbound_overflows", "times", "the outbound buffer was full; the audio is read again later"),
    _distribution("outbound_ms", "audio of one session waiting for the wire, sampled each second"),
    # streams
    _counter("streams_opened", "streams", "streams asked of the service"),
    _counter("streams_closed_idle", "streams", "streams closed because no audio came"),
    _counter("rotations", "streams", "streams replaced for their age, or because finals stayed away"),
    _counter("stream_retries", "streams", "streams lost, other than to a quota"),
    _counter("throttles", "streams", "streams lost to a quota of the account"),
    _distribution("slot_wait_ms", "from a session's wish for a stream to its slot"),
    _distribution("recovery_ms", "from the loss of a stream, or a restore, until audio flows live again"),
    _gauge("live_streams", "streams", "slots taken in this worker process"),
    _gauge("sessions_waiting", "sessions", "sessions of this worker process that wait for a slot"),
    _gauge("stream_ceiling", "streams", "slots there are; below the setting after the service throttled"),
    # Kafka
    _counter("records", "records", "records read", "kafka_source"),
    _counter("bytes", "bytes", "their keys, values and headers", "kafka_source"),
    _counter("polls", "polls", "reads of a partition; each is a bundle", "kafka_source"),
    _counter("empty_polls", "polls", "reads that found nothing", "kafka_source"),
    _counter("lost_offsets", "offsets", "records that retention removed unread", "kafka_source"),
    _counter("partitions_found", "partitions", "partitions to read, later ones included", "kafka_source"),
    _counter(
        "discovery_failures", "listings", "looks for new partitions that the cluster refused", "kafka_source"
    ),
    _distribution("lag_ms", "from the timestamp of a read's first record to the read", "kafka_source"),
    _distribution("poll_ms", "how long a read waited and collected", "kafka_source"),
    _gauge("lag_records", "records", "records that this worker process has yet to read", "kafka_source"),
    _counter("records", "records", "records written", "kafka_sink"),
    _counter("dropped_records", "records", "partials dropped because the broker was behind", "kafka_sink"),
    _counter("undeliverable_records", "records", "records that can never be written", "kafka_sink"),
)
