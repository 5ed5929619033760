"""The demo from start to end: servers, pipeline, playback, reading back, judgement.

The main thread owns the board and the screen. Servers start in threads; player and watcher have one each and
report through a queue. Whatever ends the demo, an error or a signal, the servers are stopped on the way out.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import schemas
from deploy.local.demo.board import Board, ChunkSent, Event, ThreadFailed
from deploy.local.demo.errors import SessionsIncomplete
from deploy.local.demo.finals_consumer import read_finals
from deploy.local.demo.latency import added_latencies
from deploy.local.demo.outcome import SessionOutcome, missing_finals, outcomes
from deploy.local.demo.pipeline_process import warm_up_record
from deploy.local.demo.playback import Chunk, Session, play_order, total_seconds
from deploy.local.demo.player import open_producer, play
from deploy.local.demo.screen import Screen
from deploy.local.demo.servers import DemoServers
from deploy.local.demo.watcher import Watcher
from schemas.serde import SingleObjectSerde

FINISH_SECONDS = 60.0
"""How long after the last audio the sessions may take to end."""

_REFRESH_SECONDS = 0.125
_READ_BACK_IDLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to. `problems` are sentences; a run without any has shown what it should."""

    outcomes: tuple[SessionOutcome, ...]
    added_latencies_seconds: tuple[float, ...]
    late_seconds: float
    problems: tuple[str, ...]


class Run:
    """One run on servers that are about to start. `play_sessions`, then `read_back`."""

    def __init__(self, servers: DemoServers, sessions: Sequence[Session], speed: float) -> None:
        self._servers = servers
        self._sessions = list(sessions)
        self.speed = speed
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._encode = SingleObjectSerde("audio_chunk").encode
        self._late_seconds = 0.0
        self.board = Board(sessions)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sees what the pipeline writes, from here to the end of the block."""
        watcher = Watcher(
            self._servers.bootstrap_servers, self._servers.topics.output_schemas, self._take_event
        )
        watcher.start()
        try:
            yield
        finally:
            watcher.stop()

    def send_warm_up(self) -> None:
        """Puts the warm-up sessions into the audio topic, where the pipeline finds them when it starts."""
        producer = open_producer(self._servers.bootstrap_servers)
        try:
            for partition, session_id in enumerate(self._servers.topics.warm_up_ids):
                value = self._encode(warm_up_record(session_id, round(time.time() * 1_000_000)))
                audio = self._servers.topics.audio
                producer.send(audio, value=value, key=session_id.encode(), partition=partition).get(
                    timeout=10
                )
        finally:
            producer.close(timeout=2)

    def play_sessions(self, screen: Screen) -> None:
        """Plays all sessions and shows them until every one has ended and all its finals were seen.

        Raises SessionsIncomplete when that takes longer than FINISH_SECONDS after the last audio,
        ServerFailed when a server ends, and what player or watcher stumbled over.
        """
        stop = threading.Event()
        player = threading.Thread(target=self._play, args=(stop,), name="demo-player", daemon=True)
        player.start()
        try:
            self._follow(screen)
        finally:
            stop.set()
            player.join()

    def read_back(self) -> Result:
        """Reads the finals from the output topic as an application would, and compares."""
        expected = {name: row.expected_segments for name, row in self.board.rows.items()}
        read = outcomes(self._sessions, self._read_finals(sum(count or 0 for count in expected.values())))
        by_stream: dict[str, set[str]] = defaultdict(set)
        for event in self._emitted():
            by_stream[event["session_id"]].add(event["result_id"])
        problems = [
            problem
            for outcome in read
            for problem in missing_finals(outcome, expected[outcome.session_id], by_stream)
        ]
        if self.board.dead_letters:
            problems.append(
                f"{len(self.board.dead_letters)} records went to {self._servers.topics.dead_letters}."
            )
        latencies = tuple(self._latencies().values())
        return Result(tuple(read), latencies, self._late_seconds, tuple(problems))

    def _take_event(self, event: Event) -> None:
        self._servers.observe(event)
        self._events.put(event)

    def _play(self, stop: threading.Event) -> None:
        try:
            producer = open_producer(self._servers.bootstrap_servers)
            try:
                self._late_seconds = play(
                    play_order(self._sessions, self.speed, round(time.time() * 1_000_000)),
                    producer,
                    self._servers.topics.audio,
                    self._encode,
                    clock=time.monotonic,
                    wait=stop.wait,
                    on_sent=self._chunk_sent,
                )
            finally:
                producer.close(timeout=2)
        except Exception as error:  # handed to the main thread, which ends the demo
            self._events.put(ThreadFailed("player", error))

    def _chunk_sent(self, chunk: Chunk) -> None:
        self._events.put(ChunkSent(chunk.session_id, chunk.played_seconds, chunk.is_last))

    def _follow(self, screen: Screen) -> None:
        """Shows the board until it is complete."""
        deadline = time.monotonic() + total_seconds(self._sessions, self.speed) + FINISH_SECONDS
        with screen.live(self.board) as update:
            while not self.board.is_complete:
                if time.monotonic() > deadline:
                    raise self._incomplete()
                time.sleep(_REFRESH_SECONDS)
                self._drain_events()
                self._servers.check()
                update(self._latencies())

    def _drain_events(self) -> None:
        while not self._events.empty():
            self.board.apply(self._events.get())

    def _incomplete(self) -> SessionsIncomplete:
        states = {name: row.progress for name, row in self.board.rows.items() if not row.is_complete}
        return SessionsIncomplete(states, FINISH_SECONDS, self._servers.directory)

    def _emitted(self) -> list[dict[str, Any]]:
        return [event for event in self._servers.stack.endpoint.events() if event["event"] == "final_sent"]

    def _latencies(self) -> dict[str, float]:
        emitted_at = {event["result_id"]: event["emitted_at"] for event in self._emitted()}
        return added_latencies(emitted_at, self.board.seen_at)

    def _read_finals(self, expected_count: int) -> Iterator[dict[str, Any]]:
        """Finals of this run; ends with the last one expected, or when the topic has no more."""
        count = 0
        for final in read_finals(
            self._servers.bootstrap_servers,
            self._servers.topics.finals,
            Path(schemas.path("final_transcript")),
            idle_seconds=_READ_BACK_IDLE_SECONDS,
        ):
            yield final
            count += final["session_id"] in self.board.rows
            if count == expected_count:
                return
