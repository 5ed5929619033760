"""The endpoint's event log: one JSON line for each stream's start and end and each final sent.

It lets others compute latencies and counts from the server's point of view. It holds ids, times and counts:
never text, never audio.

    {"event": "stream_started", "at": …, "session_id": …, "request_id": …, "sample_rate_hertz": …}
    {"event": "final_sent", "emitted_at": …, "session_id": …, "result_id": …, "audio_end_seconds": …,
     "audio_received_seconds": …, "recogniser_seconds": …}
    {"event": "stream_ended", "at": …, "session_id": …, "request_id": …, "reason": …, "audio_seconds": …}

`at` and `emitted_at` are Unix seconds. `recogniser_seconds` is how much audio had arrived beyond the end
of the segment when its final was sent: for audio sent in real time, the recogniser's own delay.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from deploy.local.transcribe.errors import ServeError


class EventLog:
    """Appends lines to a file, each with one write, so that a reader never sees half a line."""

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._descriptor: int | None = None
        if path is not None:
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            except OSError as error:
                raise ServeError(f"--event-log {path}: {error.strerror}") from error

    def stream_started(self, session_id: str, request_id: str, sample_rate_hertz: int) -> None:
        """A stream was answered with 200."""
        self._write(
            event="stream_started",
            at=self._clock(),
            session_id=session_id,
            request_id=request_id,
            sample_rate_hertz=sample_rate_hertz,
        )

    def final_sent(
        self, session_id: str, result_id: str, audio_end_seconds: float, audio_received_seconds: float
    ) -> None:
        """A final was handed to the HTTP server."""
        self._write(
            event="final_sent",
            emitted_at=self._clock(),
            session_id=session_id,
            result_id=result_id,
            audio_end_seconds=round(audio_end_seconds, 3),
            audio_received_seconds=round(audio_received_seconds, 3),
            recogniser_seconds=round(audio_received_seconds - audio_end_seconds, 3),
        )

    def stream_ended(self, session_id: str, request_id: str, reason: str, audio_seconds: float) -> None:
        """A stream is over, for the given reason."""
        self._write(
            event="stream_ended",
            at=self._clock(),
            session_id=session_id,
            request_id=request_id,
            reason=reason,
            audio_seconds=round(audio_seconds, 3),
        )

    def close(self) -> None:
        """Close the file; later events are dropped."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, **fields: str | float) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, json.dumps(fields, separators=(",", ":")).encode() + b"\n")
