"""The session's cursor: all that Beam state holds of a session.

It says from which record on the log must be read again, where on the timeline that record begins, up to
where each channel's finals have been emitted, and what number the next segment gets. No audio, no text. It is
written when the session opens, when finals are emitted and when it ends; `version` grows with every write.
A live session belongs to the state whose cursor equals its own: each writes one of its own, with its
`owner`, when it takes the session over, so that an equal cursor means that nobody else has had it since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pipeline.elements import AudioFormat, SessionSettings
from pipeline.engine.resequencer import Fingerprint, Hole
from pipeline.engine.timeline import Position

_POSITION = ("offset", "sequence", "start_sample", "media_offset_ms", "epoch")


class SessionStatus(Enum):
    """Whether the session still takes audio."""

    ACTIVE = "ACTIVE"
    ENDED = "ENDED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class SessionCursor:
    """See the module. `channel_end_times`: seconds on the timeline of the end of the last final emitted per
    channel id ("" for a single channel). `origin_ms`: wall clock (Unix epoch, milliseconds) of the timeline's
    zero, when the producer sends `captured_at`. `ahead_offsets`: records behind `resume` that finals cover.
    `reported_offset`: bad records before it have their dead letters. `fingerprints`, `holes`: what is
    remembered of the chunks before `resume`, to know repeated and late ones. `owner`: of the live session
    that wrote the cursor."""

    version: int
    status: SessionStatus
    partition: int
    resume: Position
    channel_end_times: Mapping[str, float]
    next_segment_index: int
    format: AudioFormat
    settings: SessionSettings
    opened_offset: int
    origin_ms: int | None = None
    chunks: int = 0
    streams: int = 0
    retries: int = 0
    gaps: tuple[tuple[float, float, str], ...] = field(default=())
    ahead_offsets: tuple[int, ...] = ()
    reported_offset: int = 0
    fingerprints: tuple[Fingerprint, ...] = ()
    holes: tuple[Hole, ...] = ()
    owner: str = ""

    def to_record(self) -> dict[str, Any]:
        """As a record of the schema `session_cursor`."""
        return {
            **_fields(self.resume),
            **_fields(self.format),
            "version": self.version,
            "status": self.status.value,
            "partition": self.partition,
            "channel_end_times": dict(self.channel_end_times),
            "next_segment_index": self.next_segment_index,
            "settings": _fields(self.settings),
            "opened_offset": self.opened_offset,
            "origin_ms": self.origin_ms,
            "chunks": self.chunks,
            "streams": self.streams,
            "retries": self.retries,
            "gaps": [{"start_time": start, "end_time": end, "reason": why} for start, end, why in self.gaps],
            "ahead_offsets": list(self.ahead_offsets),
            "reported_offset": self.reported_offset,
            "fingerprints": [_fields(fingerprint) for fingerprint in self.fingerprints],
            "owner": self.owner,
            "holes": [_fields(hole) for hole in self.holes],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SessionCursor:
        """The inverse of `to_record`."""
        return cls(
            version=record["version"],
            status=SessionStatus(record["status"]),
            partition=record["partition"],
            resume=Position(*(record[field] for field in _POSITION)),
            channel_end_times=dict(record["channel_end_times"]),
            next_segment_index=record["next_segment_index"],
            format=AudioFormat(record["sample_rate_hertz"], record["channels"]),
            settings=SessionSettings(**record["settings"]),
            opened_offset=record["opened_offset"],
            origin_ms=record["origin_ms"],
            chunks=record["chunks"],
            streams=record["streams"],
            retries=record["retries"],
            gaps=tuple((g["start_time"], g["end_time"], g["reason"]) for g in record["gaps"]),
            ahead_offsets=tuple(record["ahead_offsets"]),
            reported_offset=record["reported_offset"],
            fingerprints=tuple(Fingerprint(**fingerprint) for fingerprint in record["fingerprints"]),
            owner=record["owner"],
            holes=tuple(Hole(**hole) for hole in record["holes"]),
        )


def _fields(value: Position | AudioFormat | SessionSettings | Fingerprint | Hole) -> dict[str, Any]:
    """The fields of a flat dataclass by name; `asdict` copies deeply, which costs more than the encoding."""
    return {name: getattr(value, name) for name in value.__slots__}
