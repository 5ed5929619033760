"""Every bound of the session engine, with its default; each is a setting of `medstream run`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one session. All `*_seconds`.

    idle_close: no audio for this long ends the stream gracefully (the service ends it with an error at 15 s).
    session_timeout: no audio for this long ends the session.
    ended_retention: how long an ended session is remembered, so that late chunks are recognised.
    outbound: audio waiting for the wire; when more arrives the session reads it again from Kafka later.
    drain_timeout: longest silence of the service after the closing frame before the stream counts as lost.
    poll_flowing, poll_paused: how often arrived results are collected when no audio drives it.
    """

    idle_close_seconds: float = 10.0
    session_timeout_seconds: float = 300.0
    ended_retention_seconds: float = 300.0
    outbound_seconds: float = 10.0
    drain_timeout_seconds: float = 30.0
    poll_flowing_seconds: float = 0.5
    poll_paused_seconds: float = 0.1
