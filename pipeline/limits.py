"""Every bound of the session engine, with its default; each is a setting of `medstream run`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one session; times are `*_seconds`.

    idle_close: no audio for this long ends the stream gracefully (the service ends it with an error at 15 s).
    session_timeout: no audio for this long ends the session.
    ended_retention: how long an ended session is remembered, so that late chunks are recognised.
    outbound: audio waiting for the wire; when more arrives the session reads it again from Kafka later.
    drain_timeout: longest silence of the service after the closing frame before the stream counts as lost.
    reorder_wait: how much audio behind a missing chunk waits for it, before the chunk becomes a gap.
    max_gap: silence sent for a gap; the rest of a longer one is jumped on the timeline.
    max_segment: audio that no final covers; more of it ends the stream, and another one follows.
    stream_limit: the service's own limit on a stream's duration; streams are followed by others before it.
    max_retries: failures in a row that a session survives.
    healthy: a stream that lived so long ends a row of failures.
    accept_sequence_restart: a producer that numbers from 0 again goes on behind a gap, or else its chunks are
    dead letters.
    poll_flowing, poll_paused: how often arrived results are collected when no audio drives it.
    """

    idle_close_seconds: float = 10.0
    session_timeout_seconds: float = 300.0
    ended_retention_seconds: float = 300.0
    outbound_seconds: float = 10.0
    drain_timeout_seconds: float = 30.0
    reorder_wait_seconds: float = 2.0
    max_gap_seconds: float = 5.0
    max_segment_seconds: float = 120.0
    stream_limit_seconds: float = 14_400.0
    max_retries: int = 1000
    healthy_seconds: float = 60.0
    accept_sequence_restart: bool = True
    poll_flowing_seconds: float = 0.5
    poll_paused_seconds: float = 0.1
