"""What a session has to show: counts and ends that go into its cursor and its SessionEnded record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from connectors.transcribe.model import MedicalResult
from pipeline.elements import (
    LOST_OFFSETS,
    FinalTranscript,
    Gap,
    PartialTranscript,
    SessionSummary,
    SourceRange,
)
from pipeline.engine.cursor import SessionCursor, SessionStatus
from pipeline.engine.feed import AudioFeed
from pipeline.engine.reassembly import channel_key, channel_keys
from pipeline.engine.timeline import Span


class SessionBooks:
    """Starts from the cursor; `dirty` says that what it holds differs from the last snapshot. `required`:
    settings that neither cursor nor chunks may change.
    """

    def __init__(
        self,
        cursor: SessionCursor,
        *,
        session_id: str,
        topic: str,
        owner: str = "",
        required: Mapping[str, Any] | None = None,
    ) -> None:
        self.dirty = False
        self.streams = cursor.streams
        self.retries = cursor.retries
        self.ends = dict(cursor.channel_end_times)
        self._session_id = session_id
        self._topic = topic
        self._owner = owner
        self._required = required
        self.settings = cursor.settings.overridden(required)
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
            settings=self.settings,
            sample_rate_hertz=rate,
            source=self._source(*offsets),
            stream_id=stream_id,
            request_id=request_id,
            started_at_ms=None if origin_ms is None else origin_ms + round(result.start_time * 1000),
            spoken_at_ms=feed.timeline.spoken_at_ms(round(result.end_time * rate), rate),
        )
        self._segments += 1
        self.ends[channel_key(result)] = result.end_time
        self.dirty = True
        return final

    def partial(
        self, result: MedicalResult, stream_id: str, *, superseded: bool = False
    ) -> PartialTranscript:
        """An unfinished segment as it is published; nothing is entered."""
        return PartialTranscript(
            session_id=self._session_id,
            result_id=result.result_id,
            channel_id=result.channel_id,
            start_time=result.start_time,
            end_time=result.end_time,
            alternatives=result.alternatives,
            stream_id=stream_id,
            superseded=superseded,
        )

    def enter_settings(self, chosen: Mapping[str, Any]) -> None:
        """Settings of a chunk, before the first stream: they may be on another one than comes first."""
        if self.streams == 0:
            self.settings = self.settings.overridden(chosen).overridden(self._required)
            self.dirty = True

    def enter_heard(self, seconds: float) -> None:
        """The service has said all it has to say up to `seconds` of the timeline, on every channel."""
        keys = {*channel_keys(self._cursor.format.channels), *self.ends}
        self.ends = {key: max(seconds, self.ends.get(key, 0.0)) for key in keys}
        self.dirty = True

    def enter_gaps(self, spans: Iterable[Span]) -> None:
        """Gaps that are behind the session for good."""
        self._gaps += [self._gap(span) for span in spans]

    def _gap(self, span: Span) -> Gap:
        seconds = self._cursor.format.seconds
        return Gap(seconds(span.start_sample), seconds(span.end_sample), span.gap)

    def close(self, reason: str, feed: AudioFeed) -> SessionSummary:
        """The summary for the session's SessionEnded record."""
        self.dirty = True
        end = feed.timeline.next
        gaps = [*self._gaps, *(self._gap(span) for span in feed.timeline.gaps)]
        if feed.lost_unseen:
            end_seconds = self._cursor.format.seconds(end.start_sample)
            gaps.append(Gap(end_seconds, end_seconds, LOST_OFFSETS))
        opened = self._cursor.opened_offset
        return SessionSummary(
            session_id=self._session_id,
            reason=reason,
            segments=self._segments,
            chunks=feed.chunks,
            audio_seconds=self._cursor.format.seconds(end.start_sample),
            gaps=tuple(gaps),
            streams=self.streams,
            retries=self.retries,
            source=self._source(opened, max(opened, end.offset - 1)),
        )

    def take_snapshot(self, status: SessionStatus, feed: AudioFeed) -> SessionCursor:
        """The cursor to write now; its version is one more than the last."""
        last = self._cursor
        self._cursor = replace(
            last,
            version=last.version + 1,
            status=status,
            channel_end_times=dict(self.ends),
            next_segment_index=self._segments,
            streams=self.streams,
            retries=self.retries,
            gaps=tuple((gap.start_time, gap.end_time, gap.reason) for gap in self._gaps),
            owner=self._owner,
            settings=self.settings,
            **feed.memory(),
        )
        self.dirty = False
        return self._cursor

    @property
    def cursor(self) -> SessionCursor:
        """The last cursor taken."""
        return self._cursor

    def _source(self, first_offset: int, last_offset: int) -> SourceRange:
        return SourceRange(self._topic, self._cursor.partition, first_offset, last_offset)
