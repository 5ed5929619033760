"""The event log: whole lines of ids, times and counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.local.transcribe.errors import ServeError
from deploy.local.transcribe.event_log import EventLog


def test_each_event_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, lambda: 12.5)
    log.stream_started("session", "request", 16_000)
    log.final_sent("session", "result", 1.23, 1.5004)
    log.stream_ended("session", "request", "complete", 2.0)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {
            "event": "stream_started",
            "at": 12.5,
            "session_id": "session",
            "request_id": "request",
            "sample_rate_hertz": 16_000,
        },
        {
            "event": "final_sent",
            "emitted_at": 12.5,
            "session_id": "session",
            "result_id": "result",
            "audio_end_seconds": 1.23,
            "audio_received_seconds": 1.5,
            "recogniser_seconds": 0.27,
        },
        {
            "event": "stream_ended",
            "at": 12.5,
            "session_id": "session",
            "request_id": "request",
            "reason": "complete",
            "audio_seconds": 2.0,
        },
    ]


def test_a_closed_log_and_no_log_take_events_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for log in (EventLog(path, lambda: 0.0), EventLog(None, lambda: 0.0)):
        log.close()
        log.stream_started("session", "request", 8000)
    assert path.read_text() == ""


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"--event-log .*nowhere"):
        EventLog(tmp_path / "nowhere" / "events.jsonl", lambda: 0.0)
