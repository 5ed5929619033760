"""Every bound of the session engine, with its default; each is a setting of `medstream run`."""

from __future__ import annotations

from dataclasses import dataclass

_RECENT_SECONDS = 0.5  # audio that last came longer ago has paused


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one session. All `*_seconds`, and `max_retries`.

    idle_close: no audio for this long ends the stream gracefully (the service ends it with an error at 15 s).
    session_timeout: no audio for this long ends the session.
    ended_retention: how long an ended session is remembered, so that late chunks are recognised.
    outbound: audio waiting for the wire; when more arrives the session reads it again from Kafka later.
    drain_timeout: longest silence of the service after the closing frame before the stream counts as lost.
    reorder_wait: audio that may come behind a missing chunk, and time that may pass, before it is a gap.
    max_gap: silence sent for a gap of known length; what is longer is left out, on the timeline it counts.
    max_segment: audio without a final; then the stream is replaced, so that no more has to be read again.
    stream_limit: how long the service lets a stream live (4 h); from 90 % on it is replaced between segments.
    max_retries: streams lost in a row before the session is given up for dead.
    healthy: a stream that has lived so long makes earlier failures forgotten, as a final does.
    accept_sequence_restart: whether a producer that counts from the beginning again goes on in its session.
    poll_flowing, poll_paused: how often arrived results are collected when no audio drives it; poll_waiting:
    how often a session without a stream asks for one.
    """

    idle_close_seconds: float = 10.0
    session_timeout_seconds: float = 300.0
    ended_retention_seconds: float = 300.0
    outbound_seconds: float = 10.0
    drain_timeout_seconds: float = 30.0
    poll_flowing_seconds: float = 1.0
    poll_paused_seconds: float = 0.1
    reorder_wait_seconds: float = 2.0
    max_gap_seconds: float = 5.0
    max_segment_seconds: float = 120.0
    stream_limit_seconds: float = 14_400.0
    max_retries: int = 1000
    healthy_seconds: float = 60.0
    accept_sequence_restart: bool = True
    poll_waiting_seconds: float = 0.5

    def poll_seconds(self, quiet_seconds: float, *, behind: bool) -> float:
        """How soon to look for results of a stream whose audio last came `quiet_seconds` ago.

        While chunks come, they have results collected, and a timer costs a bundle; `behind`, the log's
        chunks come only with what a timer collects.
        """
        if quiet_seconds >= min(_RECENT_SECONDS, self.poll_flowing_seconds):
            return self.poll_paused_seconds
        if behind:
            return min(self.poll_waiting_seconds, self.poll_flowing_seconds)
        return self.poll_flowing_seconds
