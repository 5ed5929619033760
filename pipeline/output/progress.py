"""What has been published of each session, and what that makes of what comes next. Pure.

The cursor in Beam's state says what the engine has done; a restored one is older than what consumers have
seen. So progress is kept where the finals are: a marker per session, on a compacted topic with the finals'
partitioning, written together with them. Whoever publishes compares with the marker, on the session's own
timeline: words up to it are left out, segments are numbered from it. Audio that is transcribed again, however
it is cut into segments, then neither loses nor doubles a word.

A marker also holds the session's cursor, for a job that starts without a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from pipeline.output.trimming import end_of_words, news_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Opening:
    """The record that opened a session, and so one life of it. `topic_id` is Kafka's own, "" if unknown."""

    topic: str
    topic_id: str
    partition: int
    offset: int

    def precedes(self, other: Opening) -> bool:
        """Whether this is an earlier life on the same partition; of different partitions nobody can say."""
        place = (self.topic, self.topic_id, self.partition)
        return place == (other.topic, other.topic_id, other.partition) and self.offset < other.offset


@dataclass(frozen=True, slots=True)
class SessionStep:
    """What one step of the engine has to publish, and the cursor that goes with it.

    `finals` and `ended` are records of their schemas; their segment indexes are the engine's and provisional.
    `passed`: trace headers of the audio. `cursor` is the encoded cursor after the step; its audio is covered
    up to `resume_offset`, which begins at `covered_sample` of the timeline.
    """

    session_id: str
    opening: Opening
    resume_offset: int
    covered_sample: int
    cursor: bytes = field(repr=False)
    finals: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    ended: Mapping[str, Any] | None = None
    passed: Mapping[str, bytes] = field(default_factory=dict)

    def as_tuple(self) -> tuple[Any, ...]:
        """Plain values, for Beam's own coders."""
        opening = self.opening
        return (
            self.session_id,
            (opening.topic, opening.topic_id, opening.partition, opening.offset),
            self.resume_offset,
            self.covered_sample,
            self.cursor,
            [dict(final) for final in self.finals],
            None if self.ended is None else dict(self.ended),
            dict(self.passed),
        )

    @classmethod
    def from_tuple(cls, fields: tuple[Any, ...]) -> SessionStep:
        """The inverse of `as_tuple`."""
        session_id, opening, resume_offset, covered_sample, cursor, finals, ended, passed = fields
        place = Opening(*opening)
        return cls(session_id, place, resume_offset, covered_sample, cursor, tuple(finals), ended, passed)


@dataclass(frozen=True, slots=True)
class SessionProgress:
    """The marker; see the schema `session_progress`. `ended_at_ms`: None while the session lasts."""

    session_id: str
    next_segment_index: int
    channel_end_times: Mapping[str, float]
    opening: Opening
    resume_offset: int
    covered_sample: int
    cursor: bytes | None = field(default=None, repr=False)
    ended_at_ms: int | None = None

    def to_record(self) -> dict[str, Any]:
        """As a record of the schema `session_progress`."""
        opening = self.opening
        return {
            "session_id": self.session_id,
            "next_segment_index": self.next_segment_index,
            "channel_end_times": dict(self.channel_end_times),
            "opening": {
                "topic": opening.topic,
                "topic_id": opening.topic_id,
                "partition": opening.partition,
                "offset": opening.offset,
            },
            "resume_offset": self.resume_offset,
            "covered_sample": self.covered_sample,
            "cursor": self.cursor,
            "ended_at": None if self.ended_at_ms is None else self.ended_at_ms * 1000,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SessionProgress:
        """The inverse of `to_record`, as Avro decodes it."""
        ended_at = record["ended_at"]
        return cls(
            session_id=record["session_id"],
            next_segment_index=record["next_segment_index"],
            channel_end_times=dict(record["channel_end_times"]),
            opening=Opening(**record["opening"]),
            resume_offset=record["resume_offset"],
            covered_sample=record["covered_sample"],
            cursor=record["cursor"],
            ended_at_ms=None if ended_at is None else (ended_at - _EPOCH) // _MILLISECOND,
        )


@dataclass(frozen=True, slots=True)
class Publication:
    """What to publish of a step, in this order, and the marker after it; None: nothing has changed.

    `skipped` finals were published before, `trimmed` ones in part.
    """

    finals: tuple[Mapping[str, Any], ...]
    ended: Mapping[str, Any] | None
    progress: SessionProgress | None
    skipped: int = 0
    trimmed: int = 0


def publish(before: SessionProgress | None, step: SessionStep, now_ms: int) -> Publication:
    """What of `step` is news behind the marker `before` (None: the session has none).

    A life of the session that begins later goes on with the numbers of the one before, since an index names a
    segment for ever; its timeline begins anew. What belongs to an earlier life was published in it.
    """
    if before is not None and step.opening.precedes(before.opening):
        return Publication((), None, None, skipped=len(step.finals))
    progress = _progress_of(before, step)
    if progress.ended_at_ms is not None:
        return Publication((), None, None, skipped=len(step.finals))
    finals: list[Mapping[str, Any]] = []
    ends, index, trimmed = dict(progress.channel_end_times), progress.next_segment_index, 0
    for final in step.finals:
        channel = final["channel_id"] or ""
        news = news_of(final, ends.get(channel, -inf))
        if news is None:
            continue
        trimmed += news["start_time"] != final["start_time"]
        finals.append({**news, "segment_index": index})
        ends[channel] = max(ends.get(channel, -inf), end_of_words(news))
        index += 1
    ended = None if step.ended is None else {**step.ended, "segments": index}
    after = replace(
        _with_cursor(progress, step),
        channel_end_times=ends,
        next_segment_index=index,
        ended_at_ms=None if ended is None else now_ms,
    )
    skipped = len(step.finals) - len(finals)
    return Publication(tuple(finals), ended, None if after == before else after, skipped, trimmed)


def _progress_of(before: SessionProgress | None, step: SessionStep) -> SessionProgress:
    """The marker of the step's life of the session, before the step."""
    if before is not None and before.opening == step.opening:
        return before
    return SessionProgress(
        session_id=step.session_id,
        next_segment_index=0 if before is None else before.next_segment_index,
        channel_end_times={},
        opening=step.opening,
        resume_offset=step.opening.offset,
        covered_sample=0,
    )


def _with_cursor(progress: SessionProgress, step: SessionStep) -> SessionProgress:
    """The step's cursor, unless it is older than the one there is: that of a restored engine."""
    if progress.cursor is not None and step.covered_sample < progress.covered_sample and step.ended is None:
        return progress
    return replace(
        progress,
        resume_offset=step.resume_offset,
        covered_sample=step.covered_sample,
        cursor=step.cursor,
    )
