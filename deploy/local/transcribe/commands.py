"""What a stream asks its shell to do: plain values, carried out in order by `exchange.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Recognise:
    """Give this PCM (one piece for each channel) to the recognisers."""

    channels: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FinishRecognition:
    """The audio is complete: have the recognisers finish, then call `recognition_finished`."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes of the response: one event-stream message, unless a fault made it something else."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FinalSent:
    """For the event log: a final was sent just now."""

    result_id: str
    audio_end_seconds: float
    audio_received_seconds: float


@dataclass(frozen=True, slots=True)
class PauseReading:
    """Read no audio for this long (fault `slow_read`)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SplitSends:
    """From now on send in pieces of so many bytes (fault `split`)."""

    piece_bytes: int


@dataclass(frozen=True, slots=True)
class FalsifyNext:
    """Falsify the checksum of the event that is sent next (fault `bad_crc`); `StreamFaults.alter` does it."""


@dataclass(frozen=True, slots=True)
class GoAway:
    """Send the connection away (fault `goaway`): HTTP/2's error code, 0 lets the stream finish."""

    error_code: int


@dataclass(frozen=True, slots=True)
class EndResponse:
    """End the response in good order. `reason` is for the event log.

    `at_once`: without waiting for the end of the request, as a fault does that the client must not foresee.
    """

    reason: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class ResetStream:
    """Break the stream off so that the client sees it was not ended."""

    reason: str = "fault: reset"


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Cut the TCP connection as a crashed host does."""

    reason: str = "fault: disconnect"


Command: TypeAlias = (
    Recognise
    | FinishRecognition
    | Send
    | FinalSent
    | PauseReading
    | SplitSends
    | FalsifyNext
    | GoAway
    | EndResponse
    | ResetStream
    | Disconnect
)
INWARD = (Recognise, FinishRecognition, PauseReading)
"""Commands that send nothing; a stalled stream still carries them out."""
