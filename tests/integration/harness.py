"""A medstream job on the real stack, for tests: topics, `medstream run` as a child process, marked audio in,
records out.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.local.flink import FlinkJobServer
from deploy.local.flink_cluster import FlinkCluster
from deploy.local.kafka import KafkaBroker
from deploy.local.processes import ChildProcess
from deploy.local.transcribe.process import REGION, EndpointProcess
from deploy.local.transcribe.recognisers import Word
from deploy.local.transcribe.recognisers.markers import encode_markers, marked_words
from schemas.serde import SingleObjectSerde

CHUNK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Topics:
    audio: str
    finals: str
    partials: str
    sessions: str
    dead_letters: str

    @classmethod
    def create(cls, broker: KafkaBroker, partitions: int) -> Topics:
        name = f"t{uuid.uuid4().hex[:10]}"
        topics = cls(
            *(f"{name}.{kind}" for kind in ("audio", "finals", "partials", "sessions", "dead-letters"))
        )
        broker.create_topics({topics.audio: partitions, **dict.fromkeys(topics.outputs, 2)})
        return topics

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.finals, self.partials, self.sessions, self.dead_letters


@dataclass(frozen=True, slots=True)
class Session:
    """A synthetic session of marked words: `sentences` is exactly what its finals must say."""

    id: str
    sentences: tuple[tuple[str, ...], ...]
    sample_rate_hertz: int = 16_000
    word_seconds: float = 0.3
    pause_seconds: float = 0.7

    @property
    def pcm(self) -> bytes:
        return encode_markers(
            self.sentences,
            self.sample_rate_hertz,
            word_seconds=self.word_seconds,
            pause_seconds=self.pause_seconds,
        )

    @property
    def words(self) -> list[Word]:
        """What must be recognised, with the times on the session's timeline."""
        lines = marked_words(self.sentences, word_seconds=self.word_seconds, pause_seconds=self.pause_seconds)
        return [word for line in lines for word in line]

    def chunks(self) -> list[dict[str, Any]]:
        """AudioChunk records of 100 ms, the last with the end mark."""
        pcm, size = self.pcm, int(self.sample_rate_hertz * CHUNK_SECONDS) * 2
        parts = [pcm[start : start + size] for start in range(0, len(pcm), size)]
        return [
            {
                "session_id": self.id,
                "sequence": number,
                "payload": part,
                "encoding": "PCM",
                "sample_rate_hertz": self.sample_rate_hertz,
                "media_offset_ms": round(number * CHUNK_SECONDS * 1000),
                "end_of_session": number == len(parts) - 1,
            }
            for number, part in enumerate(parts)
        ]


def marked_session(name: str, sentences: int, words: int = 4, **options: Any) -> Session:
    """A session whose every word is unique, so that a lost, doubled or moved one shows."""
    session_id = f"{name}-{uuid.uuid4().hex[:6]}"
    lines = tuple(tuple(f"{name}s{s}w{w}" for w in range(words)) for s in range(sentences))
    return Session(session_id, lines, **options)


class Player:
    """Plays sessions into the audio topic in real time from a thread; `speed` 0 sends at once."""

    def __init__(self, broker: KafkaBroker, topic: str) -> None:
        self.producer = KafkaProducer(
            bootstrap_servers=broker.bootstrap_servers,
            acks="all",
            linger_ms=0,
            reconnect_backoff_max_ms=500,  # a broker that is back is found at once
        )
        self.closed = False
        self._topic = topic
        self._serde = SingleObjectSerde("audio_chunk")

    def close(self) -> None:
        """Whatever plays falls silent; a failed test has no use for it."""
        self.closed = True
        self.producer.close(timeout=5)

    def play(self, sessions: Sequence[Session], speed: float = 1.0) -> threading.Thread:
        thread = threading.Thread(target=self._play, args=(sessions, speed), daemon=True)
        thread.start()
        return thread

    def _play(self, sessions: Sequence[Session], speed: float) -> None:
        queues = [session.chunks() for session in sessions]
        started_at = time.monotonic()
        for number in range(max(len(queue) for queue in queues)):
            for queue in queues:
                if number < len(queue):
                    self.send(queue[number])
            if speed:
                due_at = started_at + (number + 1) * CHUNK_SECONDS / speed
                time.sleep(max(0.0, due_at - time.monotonic()))
        self.producer.flush()

    def send(self, chunk: Mapping[str, Any]) -> None:
        self.send_raw(chunk["session_id"].encode(), self._serde.encode(chunk))

    def send_raw(
        self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        self.producer.send(self._topic, key=key, value=value, headers=list(headers))


class Conversation:
    """Sessions that go on in real time until `finish`; each then ends with the sentence it is in.

    The sessions given are as long as they can become at most. Their sentences fill whole chunks.
    """

    def __init__(self, player: Player, sessions: Sequence[Session], speed: float = 1.0) -> None:
        self._player = player
        self.sessions = list(sessions)
        self._speed = speed
        self._finishing = threading.Event()
        self._sentence_ends = [chunks_by_sentence(session) for session in sessions]
        self._lengths = [ends[-1] for ends in self._sentence_ends]
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def finish(self) -> list[Session]:
        """End the sessions; returns them with the sentences that were spoken."""
        self._finishing.set()
        self._thread.join()
        spoken = zip(self.sessions, self._sentence_ends, self._lengths, strict=True)
        return [
            replace(session, sentences=session.sentences[: 1 + ends.index(length)])
            for session, ends, length in spoken
        ]

    def _play(self) -> None:
        queues = [session.chunks() for session in self.sessions]
        started_at, number, shortened = time.monotonic(), 0, False
        while number < max(self._lengths) and not self._player.closed:
            if self._finishing.is_set() and not shortened:
                self._shorten(number)
                shortened = True
            for queue, length in zip(queues, self._lengths, strict=True):
                if number < length:
                    self._player.send({**queue[number], "end_of_session": number == length - 1})
            number += 1
            due_at = started_at + number * CHUNK_SECONDS / self._speed
            time.sleep(max(0.0, due_at - time.monotonic()))
        if not self._player.closed:
            self._player.producer.flush()

    def _shorten(self, number: int) -> None:
        """Let each session end with the sentence that chunk `number` belongs to."""
        for place, ends in enumerate(self._sentence_ends):
            self._lengths[place] = next((end for end in ends if end > number), ends[-1])


def chunks_by_sentence(session: Session) -> list[int]:
    """How many chunks each sentence and all before it take."""
    seconds, ends = 0.2, []  # encode_markers begins with so much silence
    for sentence in session.sentences:
        seconds += len(sentence) * session.word_seconds + session.pause_seconds
        chunks = seconds / CHUNK_SECONDS
        assert abs(chunks - round(chunks)) < 1e-6, "a sentence does not fill whole chunks"
        ends.append(round(chunks))
    return ends


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a final was made and when a consumer had it, in Unix seconds."""

    session_id: str
    stream_id: str
    made_at: float
    arrived_at: float


class Outputs:
    """Everything the job published so far, decoded, in the order of each topic's partitions."""

    def __init__(self, broker: KafkaBroker, topics: Topics) -> None:
        self.finals: list[dict[str, Any]] = []
        self.partials: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self.dead_letters: list[dict[str, Any]] = []
        self.arrivals: list[Arrival] = []  # of each of `finals`
        self.ended_at: dict[str, float] = {}  # Unix seconds, when a session's end was first read
        self.job_is_running: Callable[[], bool] = lambda: True
        self.headers: dict[tuple[str, int], dict[str, bytes]] = {}
        self._kinds = {
            topics.finals: (self.finals, SingleObjectSerde("final_transcript")),
            topics.partials: (self.partials, SingleObjectSerde("partial_transcript")),
            topics.sessions: (self.sessions, SingleObjectSerde("session_ended")),
            topics.dead_letters: (self.dead_letters, SingleObjectSerde("dead_letter")),
        }
        self._consumer = KafkaConsumer(
            bootstrap_servers=broker.bootstrap_servers,
            enable_auto_commit=False,
            isolation_level="read_committed",
            reconnect_backoff_max_ms=500,
        )
        places = [TopicPartition(topic, p) for topic in topics.outputs for p in (0, 1)]
        self._consumer.assign(places)
        self._consumer.seek_to_beginning(*places)

    def close(self) -> None:
        self._consumer.close()

    def poll(self, timeout_ms: int = 200) -> None:
        for place, records in self._consumer.poll(timeout_ms=timeout_ms).items():
            found, serde = self._kinds[place.topic]
            for record in records:
                decoded = serde.decode(record.value)
                found.append(decoded)
                if found is self.finals:
                    self._note_final(record, decoded)
                elif found is self.sessions:
                    self.ended_at.setdefault(decoded["session_id"], time.time())

    def _note_final(self, record: Any, final: Mapping[str, Any]) -> None:
        session_id = final["session_id"]
        self.headers[session_id, final["segment_index"]] = dict(record.headers)
        made_at = record.timestamp / 1000
        self.arrivals.append(Arrival(session_id, final["stream_id"], made_at, time.time()))

    def follow(self, seconds: float) -> None:
        """Poll for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.poll()

    def wait(self, condition: Callable[[Outputs], bool], timeout_seconds: float, what: str) -> None:
        """Poll until `condition(self)`; fail with `what` and counts."""
        deadline = time.monotonic() + timeout_seconds
        while not condition(self):
            assert self.job_is_running(), "the job has ended; see pipeline.log"
            if time.monotonic() > deadline:
                counts = {name: len(getattr(self, name)) for name in ("finals", "sessions", "dead_letters")}
                raise AssertionError(f"after {timeout_seconds:.0f} s still waiting for {what}; have {counts}")
            self.poll()

    def wait_ended(self, sessions: Sequence[Session], timeout_seconds: float) -> None:
        wanted = {session.id for session in sessions}
        self.wait(
            lambda out: wanted <= {ended["session_id"] for ended in out.sessions},
            timeout_seconds,
            f"the end of {len(wanted)} sessions",
        )

    def finals_of(self, session_id: str) -> list[dict[str, Any]]:
        """The session's finals, one per segment_index: the last sent wins, as for an idempotent consumer."""
        by_index = {
            final["segment_index"]: final for final in self.finals if final["session_id"] == session_id
        }
        return [by_index[index] for index in sorted(by_index)]


def words_of(finals: Sequence[Mapping[str, Any]]) -> list[str]:
    """The pronounced words of the finals, in order, lower-cased."""
    return [
        item["content"].lower()
        for final in finals
        for item in final["alternatives"][0]["items"]
        if item["type"] == "pronunciation"
    ]


@dataclass(slots=True)
class Job:
    """A running job and what belongs to it."""

    topics: Topics
    player: Player
    outputs: Outputs
    flink: FlinkJobServer | FlinkCluster
    process: ChildProcess
    log_path: Path
    workers: Path = field(default=Path())

    def worker_processes(self) -> list[psutil.Process]:
        """The Python workers that the job's Flink has started."""
        return self.flink.workers()

    def kill_workers(self) -> None:
        """kill -9 to every worker; there must be one."""
        workers = self.worker_processes()
        assert workers, "the job has a worker process"
        for worker in workers:
            worker.kill()


@contextmanager
def running_job(
    broker: KafkaBroker,
    flink: FlinkJobServer | FlinkCluster,
    endpoint: EndpointProcess,
    directory: Path,
    *,
    partitions: int = 2,
    topics: Topics | None = None,
    options: Sequence[str] = (),
    beam_options: Sequence[str] = (),
    replay: Sequence[Session] = (),
    worker_environment: Mapping[str, str] | None = None,
) -> Iterator[Job]:
    """`medstream run` on real Flink with PROCESS workers, submitted as a user would, cancelled at the end.

    `topics`: those of a job before it; new ones without. The sessions of `replay` are in the audio topic
    before the job starts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    topics = topics or Topics.create(broker, partitions)
    player = Player(broker, topics.audio)
    if replay:
        player.play(replay, speed=0).join()
    arguments = {
        "--bootstrap-servers": broker.bootstrap_servers,
        "--input-topic": topics.audio,
        "--output-topic": topics.finals,
        "--partials-topic": topics.partials,
        "--sessions-topic": topics.sessions,
        "--dead-letter-topic": topics.dead_letters,
        "--group-id": topics.audio,
        "--endpoint-url": endpoint.url,
        "--region": REGION,
    }
    command = [
        str(Path(sys.executable).with_name("medstream")),
        "run",
        *(part for pair in arguments.items() for part in pair),
        *options,
        *flink.pipeline_options(worker_environment={**endpoint.environment(), **(worker_environment or {})}),
        *beam_options,
    ]
    log_path = directory / "pipeline.log"
    process = ChildProcess("medstream run", command, log_path=log_path, environment=endpoint.environment())
    outputs = Outputs(broker, topics)
    outputs.job_is_running = process.is_running
    try:
        yield Job(topics, player, outputs, flink, process, log_path)
    finally:
        process.stop()
        flink.cancel_jobs()
        player.close()
        outputs.close()
