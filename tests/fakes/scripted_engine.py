"""A session engine that answers what the test says: for what its shell does before, with and after each call.

`needs` and `holds` are what the engine says of its slot, `holds_after` what it says from an event on;
`answers` maps the name of an event to the commands of its next call; `calls` notes what was called, in order.
A granted slot makes it hold one and need none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.engine.answers import StreamFailure
from pipeline.engine.commands import Command
from pipeline.engine.hearing import Hearing
from pipeline.engine.session_state import SessionState


class ScriptedEngine:
    """What `LiveSession` calls of a `Session`."""

    session_id = "session-1"
    partition = 0

    def __init__(self) -> None:
        self.needs = False
        self.needs_on_arrival = False
        self.holds = False
        self.holds_after = {"slot_granted": True, "stream_closed": False, "stream_failed": False}
        self.state = SessionState.STREAMING
        self.held_offsets: tuple[int, ...] = ()
        self.behind = False
        self.unfinal_seconds = 0.0
        self.failures = 0
        self.last_failure: StreamFailure | None = None
        self.answers: dict[str, list[Command]] = {}
        self.calls: list[str] = []
        self.failed_with: list[StreamFailure] = []

    # The slot

    def needs_slot(self, _now: float, *, arriving: bool = False) -> bool:
        return not self.holds and (self.needs or (arriving and self.needs_on_arrival))

    def slot_granted(self, _now: float) -> list[Command]:
        self.needs = False
        return self._answer("slot_granted")

    @property
    def holds_slot(self) -> bool:
        return self.holds

    # Events

    def receive_batch(self, entries: Iterable[Any], _now: float) -> list[Command]:
        list(entries)
        return self._answer("receive_batch")

    def receive_log(self, _read_id: int, _log: Any, _now: float) -> list[Command]:
        return self._answer("receive_log")

    def stream_opened(self, _serial: int, _id: str, _request_id: str | None, _now: float) -> list[Command]:
        return self._answer("stream_opened")

    def stream_progress(self, _serial: int, _written_samples: int, _now: float) -> list[Command]:
        return self._answer("stream_progress")

    def receive_results(self, _serial: int, _results: Any, _now: float) -> list[Command]:
        return self._answer("receive_results")

    def stream_closed(self, _serial: int, _now: float) -> list[Command]:
        return self._answer("stream_closed")

    def stream_failed(self, _serial: int, failure: StreamFailure, _now: float) -> list[Command]:
        self.failed_with.append(failure)
        return self._answer("stream_failed")

    def handle_timer(self, _now: float, *, source: Hearing | None = None) -> list[Command]:  # noqa: ARG002 - the engine's signature
        return self._answer("handle_timer")

    def _answer(self, event: str) -> list[Command]:
        self.calls.append(event)
        self.holds = self.holds_after.get(event, self.holds)
        return self.answers.pop(event, [])
