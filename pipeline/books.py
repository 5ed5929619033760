"""What a session has to show: counts and ends that go into its cursor and its SessionEnded record."""

from __future__ import annotations

from connectors.transcribe.model import MedicalResult
from pipeline.cursor import SessionCursor, SessionStatus
from pipeline.elements import FinalTranscript, Gap, SessionSummary, SourceRange
from pipeline.feed import AudioFeed
from pipeline.reassembly import MONO, channel_key


class SessionBooks:
    """Starts from the cursor; `dirty` says that what it holds differs from the last snapshot."""

    def __init__(self, cursor: SessionCursor, *, session_id: str, topic: str) -> None:
        self.dirty = False
        self.streams = cursor.streams
        self.retries = cursor.retries
        self.ends = dict(cursor.channel_end_times)
        self._session_id = session_id
        self._topic = topic
        self._cursor = cursor
        self._segments = cursor.next_segment_index
        self._gaps = [Gap(*gap) for gap in cursor.gaps]

    def enter_final(
        self, result: MedicalResult, stream_id: str, request_id: str | None, feed: AudioFeed
    ) -> FinalTranscript:
        """Number a finished segment, on the session's timeline, and move its channel's end."""
        rate = self._cursor.format.sample_rate_hertz
        offsets = feed.timeline.offsets(round(result.start_time * rate), round(result.end_time * rate))
        origin_ms = self._cursor.origin_ms
        final = FinalTranscript(
            session_id=self._session_id,
            result_id=result.result_id,
            segment_index=self._segments,
            channel_id=result.channel_id,
            start_time=result.start_time,
            end_time=result.end_time,
            alternatives=result.alternatives,
            settings=self._cursor.settings,
            sample_rate_hertz=rate,
            source=self._source(*offsets),
            stream_id=stream_id,
            request_id=request_id,
            started_at_ms=None if origin_ms is None else origin_ms + round(result.start_time * 1000),
        )
        self._segments += 1
        self.ends[channel_key(result)] = result.end_time
        self.dirty = True
        return final

    def enter_stream_end(self, feed: AudioFeed) -> None:
        """The service has answered everything it was sent: finals speak for the whole timeline."""
        feed.timeline.cover_all()
        end = self._cursor.format.seconds(feed.timeline.next.start_sample)
        self.ends = {key: max(end, seconds) for key, seconds in (self.ends or {MONO: 0.0}).items()}
        self.dirty = True

    def enter_gap(self, reason: str, feed: AudioFeed) -> None:
        """Audio of unknown length is missing before the timeline's next sample."""
        at = self._cursor.format.seconds(feed.timeline.next.start_sample)
        self._gaps.append(Gap(at, at, reason))
        self.dirty = True

    def close(self, reason: str, feed: AudioFeed) -> SessionSummary:
        """The summary for the session's SessionEnded record."""
        self.dirty = True
        end = feed.timeline.next
        opened = self._cursor.opened_offset
        return SessionSummary(
            session_id=self._session_id,
            reason=reason,
            segments=self._segments,
            chunks=feed.chunks,
            audio_seconds=self._cursor.format.seconds(end.start_sample),
            gaps=tuple(self._gaps),
            streams=self.streams,
            retries=self.retries,
            source=self._source(opened, max(opened, end.offset - 1)),
        )

    def take_snapshot(self, status: SessionStatus, feed: AudioFeed) -> SessionCursor:
        """The cursor to write now; its version is one more than the last."""
        last = self._cursor
        self._cursor = SessionCursor(
            version=last.version + 1,
            status=status,
            partition=last.partition,
            resume=feed.timeline.resume,
            channel_end_times=dict(self.ends),
            next_segment_index=self._segments,
            format=last.format,
            settings=last.settings,
            opened_offset=last.opened_offset,
            origin_ms=last.origin_ms,
            chunks=feed.covered_chunks,
            streams=self.streams,
            retries=self.retries,
            gaps=tuple((gap.start_time, gap.end_time, gap.reason) for gap in self._gaps),
        )
        self.dirty = False
        return self._cursor

    @property
    def cursor(self) -> SessionCursor:
        """The last cursor taken."""
        return self._cursor

    def _source(self, first_offset: int, last_offset: int) -> SourceRange:
        return SourceRange(self._topic, self._cursor.partition, first_offset, last_offset)
