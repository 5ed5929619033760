"""One transcription stream on the server's side, without sockets or clocks.

Bytes of the request body, segments of the recognisers and `now_ms` go in; commands come out: audio for the
recognisers, bytes for the response, how to end it. The shell (`app.py` today, a WebSocket tomorrow) carries
them out in order.

    state      what came                       commands
    OPEN       a signed AudioEvent             Recognise
    OPEN       the signed empty frame          FinishRecognition, then DRAINING
    OPEN       end of body, no empty frame     Send(BadRequestException), EndResponse
    OPEN       no audio for 15 s               Send(BadRequestException), EndResponse
    OPEN       the longest duration            Send(LimitExceededException), EndResponse
    OPEN       bad bytes or signature          Send(BadRequestException), EndResponse
    any        segments                        Send(TranscriptEvent …)
    DRAINING   recognition is finished         EndResponse
    any        an injected fault               see `faults.py`
    ENDED      anything                        nothing

The service sends an empty transcript event at the start and after each final; so does this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from connectors.transcribe.errors import EventStreamError
from connectors.transcribe.eventstream import Message, MessageDecoder, decode_message
from deploy.local.transcribe.authentication import EventVerifier
from deploy.local.transcribe.errors import ServiceFault, bad_request
from deploy.local.transcribe.faults import Fault, FaultKind, FaultRule
from deploy.local.transcribe.recognisers import Segment
from deploy.local.transcribe.results import (
    EMPTY_TRANSCRIPT_EVENT,
    encode_exception,
    encode_transcript_event,
    to_result,
)

MAX_CHUNK_SECONDS = 1.0
MAX_CHUNK_BYTES = 32 * 1024
"""An AudioEvent may hold as much as the larger of the two allows (the documented limits differ by age)."""


# What the shell is to do -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recognise:
    """Give this PCM (one piece for each channel) to the recognisers."""

    channels: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FinishRecognition:
    """The audio is complete: have the recognisers finish, then call `recognition_finished`."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes of the response."""

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
class EndResponse:
    """End the response in good order. `reason` is for the event log."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResetStream:
    """Break the stream off so that the client sees it was not ended."""

    reason: str = "fault: reset"


Command: TypeAlias = (
    Recognise | FinishRecognition | Send | FinalSent | PauseReading | EndResponse | ResetStream
)


class _State(Enum):
    OPEN = auto()
    DRAINING = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a stream is measured by.

    Attributes:
        sample_rate_hertz: Samples per second and channel.
        channel_ids: `(None,)` for plain audio, `("ch_0", "ch_1")` with channel identification.
        idle_timeout_seconds: How long the service waits for new audio.
        max_stream_seconds: How long a stream may live.
        show_speaker_label: Whether finals say who speaks.
        identify_phi: Whether finals mark protected health information.
    """

    sample_rate_hertz: int
    channel_ids: tuple[str | None, ...] = (None,)
    idle_timeout_seconds: float = 15.0
    max_stream_seconds: float = 14_400.0
    show_speaker_label: bool = False
    identify_phi: bool = False

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return 2 * len(self.channel_ids)

    @property
    def max_chunk_bytes(self) -> int:
        """The longest AudioEvent that is accepted."""
        return max(MAX_CHUNK_BYTES, int(MAX_CHUNK_SECONDS * self.sample_rate_hertz) * self.frame_bytes)


class TranscriptionStream:
    """See the module's docstring. Every method returns the commands to carry out, in order."""

    def __init__(
        self,
        settings: StreamSettings,
        verifier: EventVerifier,
        faults: Iterable[FaultRule],
        new_result_id: Callable[[], str],
        now_ms: int,
    ) -> None:
        self._settings = settings
        self._verifier = verifier
        self._faults = list(faults)
        self._new_result_id = new_result_id
        self._decoder = MessageDecoder()
        self._state = _State.OPEN
        self._audio_bytes = 0
        self._partials = 0
        self._result_ids: dict[tuple[int, int], str] = {}
        self._idle_deadline_ms = now_ms + round(1000 * settings.idle_timeout_seconds)
        self._age_deadline_ms = now_ms + round(1000 * settings.max_stream_seconds)
        self._stalled_until_ms: float | None = None
        self._held_back: list[Command] = []
        self._pause_seconds: float | None = None

    @property
    def audio_seconds(self) -> float:
        """Audio received so far."""
        settings = self._settings
        return self._audio_bytes / (settings.frame_bytes * settings.sample_rate_hertz)

    @property
    def has_ended(self) -> bool:
        """True once the response is over; nothing has an effect any more."""
        return self._state is _State.ENDED

    def add_fault(self, rule: FaultRule) -> None:
        """Apply a further rule to this running stream, from the next audio on."""
        self._faults.append(rule)

    # What comes in ------------------------------------------------------------------------

    def start(self) -> list[Command]:
        """The response has begun."""
        return [Send(EMPTY_TRANSCRIPT_EVENT)]

    def receive_data(self, data: bytes, now_ms: int) -> list[Command]:
        """Bytes of the request body, cut anywhere."""
        if self._state is not _State.OPEN:
            return []
        commands: list[Command] = []
        try:
            self._decoder.feed(data)
            for message in self._decoder:
                commands += self._receive_message(message, now_ms)
        except EventStreamError as error:
            commands += self._fail(bad_request(f"Could not decode the audio stream event: {error}."))
        except ServiceFault as fault:
            commands += self._fail(fault)
        if self._pause_seconds is not None and not self.has_ended:
            commands.append(PauseReading(self._pause_seconds))
        return self._hold_back_if_stalled(commands)

    def receive_end(self) -> list[Command]:
        """The request body has ended (also how a vanished client looks)."""
        if self._state is not _State.OPEN:
            return []
        message = "A complete signal was sent without the preceding empty frame."
        return self._hold_back_if_stalled(self._fail(bad_request(message)))

    def receive_segments(self, channel: int, segments: Sequence[Segment]) -> list[Command]:
        """What the recogniser of a channel found."""
        commands: list[Command] = []
        for segment in segments:
            if not self.has_ended:
                commands += self._send_segment(channel, segment)
        return self._hold_back_if_stalled(commands)

    def recognition_finished(self) -> list[Command]:
        """All recognisers have finished after `FinishRecognition`."""
        if self._state is not _State.DRAINING:
            return []
        self._state = _State.ENDED
        return self._hold_back_if_stalled([EndResponse("complete")])

    def recognition_failed(self) -> list[Command]:
        """A recogniser broke down."""
        if self.has_ended:
            return []
        message = "An internal error occurred. Try your request again."
        return self._fail(ServiceFault("InternalFailureException", message))

    # Time -----------------------------------------------------------------------------------

    def next_deadline_ms(self) -> float | None:
        """When `handle_timeout` is to be called, unless something else happens first."""
        if self._stalled_until_ms is not None:
            return self._stalled_until_ms
        if self._state is not _State.OPEN:
            return None
        return min(self._idle_deadline_ms, self._age_deadline_ms)

    def handle_timeout(self, now_ms: int) -> list[Command]:
        """The time has come to `next_deadline_ms`; harmless when called early."""
        if self._stalled_until_ms is not None:
            return self._release_if_due(now_ms)
        if self._state is not _State.OPEN:
            return []
        if now_ms >= self._age_deadline_ms:
            limit = f"{self._settings.max_stream_seconds:g} seconds"
            message = f"Your stream reached the longest duration of a stream, {limit}. Start a new stream."
            return self._fail(ServiceFault("LimitExceededException", message))
        if now_ms >= self._idle_deadline_ms:
            wait = f"{self._settings.idle_timeout_seconds:g} seconds"
            return self._fail(
                bad_request(f"Your request timed out because no new audio was received for {wait}.")
            )
        return []

    # Audio ----------------------------------------------------------------------------------

    def _receive_message(self, message: Message, now_ms: int) -> list[Command]:
        if self.has_ended:
            return []
        inner = self._verifier.verify(message, now_ms)
        if self._state is _State.DRAINING:  # the frame after an empty AudioEvent, which some clients send
            return []
        audio = _read_audio_event(inner) if inner else b""
        if not audio:
            self._state = _State.DRAINING
            return [FinishRecognition()]
        self._check_chunk(len(audio))
        self._audio_bytes += len(audio)
        self._idle_deadline_ms = now_ms + round(1000 * self._settings.idle_timeout_seconds)
        recognise = Recognise(split_channels(audio, len(self._settings.channel_ids)))
        return [recognise, *self._apply_faults(now_ms)]

    def _check_chunk(self, size: int) -> None:
        settings = self._settings
        if size > settings.max_chunk_bytes:
            raise bad_request(
                f"An AudioEvent of {size} bytes is too long; at most {settings.max_chunk_bytes} are accepted."
            )
        if size % settings.frame_bytes:
            raise bad_request(
                f"An AudioEvent of {size} bytes ends within a sample; "
                f"send multiples of {settings.frame_bytes}."
            )

    # Results ----------------------------------------------------------------------------------

    def _send_segment(self, channel: int, segment: Segment) -> list[Command]:
        key = (channel, segment.index)
        result_id = self._result_ids.get(key) or self._new_result_id()
        self._result_ids[key] = result_id
        settings = self._settings
        result = to_result(
            segment,
            result_id,
            settings.channel_ids[channel],
            show_speaker_label=settings.show_speaker_label,
            identify_phi=settings.identify_phi,
        )
        send = Send(encode_transcript_event([result]))
        if segment.is_partial:
            self._partials += 1
            return [send, *self._apply_faults(None)]
        del self._result_ids[key]
        sent = FinalSent(result_id, segment.end_seconds, self.audio_seconds)
        return [send, sent, Send(EMPTY_TRANSCRIPT_EVENT)]

    # Ends and faults --------------------------------------------------------------------------

    def _fail(self, fault: ServiceFault) -> list[Command]:
        self._state = _State.ENDED
        return [Send(encode_exception(fault.code, fault.message)), EndResponse(fault.code)]

    def _apply_faults(self, now_ms: int | None) -> list[Command]:
        """Carry out the rules whose moment this is; without a clock (a partial), stalls wait for audio."""
        commands: list[Command] = []
        for rule in list(self._faults):
            if self.has_ended:
                break
            if rule.fault.kind is FaultKind.STALL and now_ms is None:
                continue
            if rule.act_if_due(self.audio_seconds, self._partials):
                self._faults.remove(rule)
                commands += self._apply_fault(rule.fault, now_ms or 0)
        return commands

    def _apply_fault(self, fault: Fault, now_ms: int) -> list[Command]:
        match fault.kind:
            case FaultKind.STALL:
                seconds = float("inf") if fault.seconds is None else fault.seconds
                self._stalled_until_ms = now_ms + 1000 * seconds
                return []
            case FaultKind.SLOW_READ:
                self._pause_seconds = 1.0 if fault.seconds is None else fault.seconds
                return []
            case FaultKind.EXCEPTION:
                return self._fail(ServiceFault(fault.code, fault.message))
            case FaultKind.CLEAN_END:
                self._state = _State.ENDED
                return [EndResponse("fault: clean_end")]
            case FaultKind.TRUNCATE:
                self._state = _State.ENDED
                half = EMPTY_TRANSCRIPT_EVENT[: len(EMPTY_TRANSCRIPT_EVENT) // 2]
                return [Send(half), EndResponse("fault: truncate")]
            case FaultKind.RESET:
                self._state = _State.ENDED
                return [ResetStream()]
            case FaultKind.REFUSE:  # acts before there is a stream
                return []

    def _hold_back_if_stalled(self, commands: list[Command]) -> list[Command]:
        """While stalled the audio is still taken, and nothing is sent."""
        if self._stalled_until_ms is None:
            return commands
        inward = (Recognise, FinishRecognition, PauseReading)
        self._held_back += [command for command in commands if not isinstance(command, inward)]
        return [command for command in commands if isinstance(command, inward)]

    def _release_if_due(self, now_ms: int) -> list[Command]:
        if self._stalled_until_ms is None or now_ms < self._stalled_until_ms:
            return []
        self._stalled_until_ms = None
        released, self._held_back = self._held_back, []
        return released


def _read_audio_event(encoded: bytes) -> bytes:
    """The audio in an encoded inner message."""
    message = decode_message(encoded)
    if message.headers.get(":message-type") != "event" or message.headers.get(":event-type") != "AudioEvent":
        raise bad_request("The stream may hold AudioEvent messages only.")
    return message.payload


def split_channels(audio: bytes, channels: int) -> tuple[bytes, ...]:
    """Interleaved 16-bit samples as one piece of PCM for each channel."""
    if channels == 1:
        return (audio,)
    samples = memoryview(audio).cast("h")
    return tuple(samples[channel::channels].tobytes() for channel in range(channels))
