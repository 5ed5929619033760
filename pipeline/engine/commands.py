"""What the session engine asks its shell to do; plain values, executed in order.

`serial` numbers the streams of a session within one process: an answer that carries an older serial belongs
to a stream that was given up and is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.elements import AudioFormat, FinalTranscript, PartialTranscript, SessionSettings, SessionSummary
from pipeline.errors import ChunkRejected


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open a stream of the service; audio for it may follow at once and waits in its outbound buffer."""

    serial: int
    format: AudioFormat
    settings: SessionSettings


@dataclass(frozen=True, slots=True)
class SendAudio:
    """Hand `payload` (PCM, whole samples) to the stream's outbound buffer."""

    serial: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EndStream:
    """Send the closing frame after all audio; results keep coming until the service ends the stream."""

    serial: int


@dataclass(frozen=True, slots=True)
class DropStream:
    """Give the stream up at once, without waiting for results."""

    serial: int


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read this session's records of `[start_offset, end_offset)`, at most `max_bytes` of them.

    `end_offset` None: up to the end of the partition as it is now.
    """

    read_id: int
    start_offset: int
    end_offset: int | None
    max_bytes: int


@dataclass(frozen=True, slots=True)
class EmitFinal:
    final: FinalTranscript


@dataclass(frozen=True, slots=True)
class EmitPartial:
    partial: PartialTranscript


@dataclass(frozen=True, slots=True)
class EmitSessionEnded:
    summary: SessionSummary


@dataclass(frozen=True, slots=True)
class Reject:
    """Send the record at `offset` of the records at hand to the dead-letter topic."""

    offset: int
    rejection: ChunkRejected


@dataclass(frozen=True, slots=True)
class RejectSession:
    """This session is refused for good: a dead letter with its range of offsets, no more audio.

    `end_offset` None: to the end of what the log holds; a restored session may not have seen it.
    """

    start_offset: int
    end_offset: int | None
    rejection: ChunkRejected


@dataclass(frozen=True, slots=True)
class Observe:
    """Something to count: the metric `name` of the job grows by `value`; `label` is of those that it has."""

    name: str
    value: int = 1
    label: str = ""


@dataclass(frozen=True, slots=True)
class StreamOver:
    """The session has no stream any more: nothing to do, something to tell.

    `cause`: `idle`, `end_of_session`, `session_timeout` or `rotation`, or the `FailureKind` of a lost stream,
    whose `code` is the service's. `finals`: how many it said; `audio_seconds`: how much it was sent.
    """

    serial: int
    cause: str
    finals: int
    audio_seconds: float
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """The session ended long enough ago: clear its state."""


Command = (
    OpenStream
    | SendAudio
    | EndStream
    | DropStream
    | ReadLog
    | EmitFinal
    | EmitPartial
    | EmitSessionEnded
    | Reject
    | RejectSession
    | Observe
    | StreamOver
    | Forget
)
