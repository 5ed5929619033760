"""One stream of the service as the session engine sees it: its state, its audio, its results, its seam.

A stream that is replaced while somebody may be speaking ends in the middle of a word. What the service says
of its last moments is therefore not believed: it is heard again on the next stream (`seam_cover_seconds`).
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.transcribe.model import MedicalResult
from pipeline.elements import AudioFormat
from pipeline.engine.limits import SessionLimits
from pipeline.engine.reassembly import Reassembler
from pipeline.engine.stream_clock import StreamClock
from pipeline.engine.stream_state import StreamEvent, StreamState, next_state
from pipeline.engine.timeline import Span

SEAM_SECONDS = 1.0  # what the service says of the last second before a forced end is heard again
_SOUGHT_SHARE, _FORCED_SHARE = 0.9, 0.97  # of the stream limit
_QUIET_SECONDS = 5.0  # without a word, a stream that has no finals has nothing to say
_STUCK_SECONDS = 10.0


class StreamView:
    """See the module. `ends`: by channel, up to where finals were emitted before this stream."""

    def __init__(self, serial: int, audio: AudioFormat, ends: Mapping[str, float], now: float) -> None:
        self.serial = serial
        self.state = next_state(StreamState.NONE, StreamEvent.OPEN)
        self.stream_id, self.request_id = "", ""
        self.began_at = self.last_answer_at = self._last_words_at = self._last_final_at = now
        self.position: int | None = None  # sample of the session behind the last one sent
        self._audio = audio
        self._sent_samples, self._written_samples = 0, 0
        self._clock = StreamClock()
        self.reassembler = Reassembler(self._clock, ends)
        self._seam_seconds: float | None = None  # where a rotation has cut the session's timeline
        self.unbelieved_seconds: float | None = None  # where the first final begins that reaches the seam
        self._stuck = False  # an earlier stream was replaced in the same segment
        self.finals = 0
        self.ending = ""  # why it was asked to end

    def move(self, event: StreamEvent) -> None:
        self.state = next_state(self.state, event)

    def opened(self, stream_id: str, request_id: str | None, now: float) -> None:
        """The service accepted the stream."""
        self.move(StreamEvent.OPENED)
        self.stream_id, self.request_id = stream_id, request_id or ""
        self.began_at = self.last_answer_at = self._last_words_at = self._last_final_at = now

    # Audio

    def take(self, span: Span, payload: bytes, covered_sample: int, limits: SessionLimits) -> bytes:
        """The PCM to send for `span`, from `covered_sample` on: its payload, or silence for a gap.

        Of a long gap only `max_gap_seconds` are sent; the session's timeline goes on behind it all the same.
        """
        start, end = max(span.start_sample, covered_sample), span.end_sample
        width = self._audio.bytes_per_sample
        if start >= end:
            return b""
        if span.gap:
            end = min(end, start + round(limits.max_gap_seconds * self._audio.sample_rate_hertz))
            payload = bytes((end - start) * width)
        elif start > span.start_sample:
            payload = payload[(start - span.start_sample) * width :]
        if self.position != start:
            self._clock.jump(self._audio.seconds(self._sent_samples), self._audio.seconds(start))
        self._sent_samples += end - start
        self.position = end
        return payload

    def wrote(self, samples: int) -> None:
        """So many samples have left the outbound buffer in all."""
        self._written_samples = samples

    def uncovered_seconds(self, covered_sample: int) -> float:
        """Audio that was sent and has no final yet."""
        return 0.0 if self.position is None else self._audio.seconds(self.position - covered_sample)

    @property
    def sent_seconds(self) -> float:
        """Audio that was sent, silence for gaps included."""
        return self._audio.seconds(self._sent_samples)

    def room_seconds(self, covered_sample: int, limits: SessionLimits) -> float:
        """Audio that may be sent now: by the outbound buffer, and by how far finals are behind."""
        outbound_seconds = self._audio.seconds(self._sent_samples - self._written_samples)
        far_ahead_seconds = 2 * limits.max_segment_seconds - self.uncovered_seconds(covered_sample)
        return min(limits.outbound_seconds - outbound_seconds, far_ahead_seconds)

    # Results

    def heard(self, result: MedicalResult, now: float) -> MedicalResult | None:
        """The result on the session's timeline, or None when it says nothing new."""
        placed = self.reassembler.receive(result)
        if placed is not None:
            self._last_words_at = now
            if not placed.is_partial:
                self._last_final_at = now
                self.finals += 1
        return placed

    def reaches_seam(self, final: MedicalResult) -> bool:
        """Whether the final speaks of the last moments of a stream that was cut, and is heard again."""
        if self._seam_seconds is None or self._believes_all:
            return False
        if final.end_time <= self._seam_seconds - SEAM_SECONDS:
            return False
        if self.unbelieved_seconds is None or final.start_time < self.unbelieved_seconds:
            self.unbelieved_seconds = final.start_time
        return True

    # The seam

    def cut(self, *, stuck: bool) -> None:
        """The stream is ended where it is, whatever is being said. `stuck`: that was done before in the same
        segment, so it is not heard again.
        """
        self._seam_seconds = self._audio.seconds(self.position or 0)
        self._stuck = stuck

    @property
    def _believes_all(self) -> bool:
        """Whether its last words are taken as they are: it is stuck, and had no final before its last one."""
        return self._stuck and self.finals <= 1

    def seam_cover_seconds(self) -> float:
        """Up to where the stream that was cut speaks for the session, all its results being there."""
        seam = self._seam_seconds or 0.0
        if self._believes_all:
            return seam
        begun = list(self.reassembler.open_starts.values())
        if self.unbelieved_seconds is not None:
            begun.append(self.unbelieved_seconds)
        return max(0.0, min([seam - SEAM_SECONDS, *begun]))

    # When to replace it

    def healthy(self, limits: SessionLimits, now: float) -> bool:
        """Whether it has lived long enough to make earlier failures forgotten."""
        return self.state is StreamState.OPEN and now - self.began_at >= limits.healthy_seconds

    def age_seconds(self, now: float) -> float:
        """The service may count its limit in time or in audio."""
        return max(now - self.began_at, self._audio.seconds(self._sent_samples))

    def wants_rotation(self, covered_sample: int, limits: SessionLimits, now: float) -> bool:
        """Whether the stream should be replaced: for its age, or because its finals stay away.

        From 90 % of the limit between two segments, at 97 % anywhere. Without finals for long: when nothing
        is said, or when too much is said without an end.
        """
        share = self.age_seconds(now) / limits.stream_limit_seconds
        if share >= _SOUGHT_SHARE and (share >= _FORCED_SHARE or self._between_segments(now)):
            return True
        uncovered_seconds = self.uncovered_seconds(covered_sample)
        if uncovered_seconds < limits.max_segment_seconds:
            return False
        quiet = now - self._last_words_at >= _QUIET_SECONDS
        return quiet or (
            uncovered_seconds >= 2 * limits.max_segment_seconds
            and now - self._last_final_at >= _STUCK_SECONDS
        )

    def _between_segments(self, now: float) -> bool:
        return self._last_final_at == now and not self.reassembler.open_results
