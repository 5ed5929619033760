"""One transcription stream on the server's side, without sockets or clocks.

Bytes of the request, segments of the recognisers and `now_ms` go in; commands come out: audio for the
recognisers, bytes for the response, how to end it. The shell (`exchange.py`) carries them out in order, over
HTTP/2 or a WebSocket; `audio_events.py` says how the audio is wrapped.

    state      what came                       commands
    OPEN       an AudioEvent                   Recognise
    OPEN       the empty event                 FinishRecognition, then DRAINING
    OPEN       end of body, no empty event     Send(BadRequestException), EndResponse
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
from dataclasses import dataclass
from enum import Enum, auto

from connectors.transcribe.errors import EventStreamError
from connectors.transcribe.events import encode_transcript_event
from connectors.transcribe.eventstream import Message, MessageDecoder
from deploy.local.transcribe.audio_events import AudioEvents
from deploy.local.transcribe.commands import (
    Command,
    EndResponse,
    FinalSent,
    FinishRecognition,
    Recognise,
    Send,
)
from deploy.local.transcribe.errors import ServiceFault, bad_request
from deploy.local.transcribe.faults import FaultRule, Progress
from deploy.local.transcribe.recognisers import Segment
from deploy.local.transcribe.results import EMPTY_TRANSCRIPT_EVENT, to_result
from deploy.local.transcribe.stream_faults import StreamFaults, end_with

MAX_CHUNK_SECONDS = 1.0
MAX_CHUNK_BYTES = 32 * 1024
"""An AudioEvent may hold as much as the larger of the two allows (the documented limits differ by age)."""


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
        audio_events: AudioEvents,
        faults: Iterable[FaultRule],
        new_result_id: Callable[[], str],
        now_ms: int,
    ) -> None:
        self._settings = settings
        self._events = audio_events
        self._faults = StreamFaults(faults)
        self._new_result_id = new_result_id
        self._decoder = MessageDecoder()
        self._state = _State.OPEN
        self._audio_bytes = 0
        self._audio_events = 0
        self._partials = 0
        self._result_ids: dict[tuple[int, int], str] = {}
        self._idle_deadline_ms = now_ms + round(1000 * settings.idle_timeout_seconds)
        self._age_deadline_ms = now_ms + round(1000 * settings.max_stream_seconds)

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
        self._faults.add(rule)

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
        if not self.has_ended:
            commands += self._faults.pause()
        return self._faults.alter(commands)

    def receive_end(self) -> list[Command]:
        """The client sends no more (over HTTP/2 also how a vanished client looks)."""
        if self._state is not _State.OPEN:
            return []
        if self._events.may_end_without_event:
            return self._faults.alter(self._finish())
        message = "A complete signal was sent without the preceding empty frame."
        return self.refuse(bad_request(message))

    def refuse(self, fault: ServiceFault) -> list[Command]:
        """End the stream with an exception."""
        return [] if self.has_ended else self._faults.alter(self._fail(fault))

    def receive_segments(self, channel: int, segments: Sequence[Segment]) -> list[Command]:
        """What the recogniser of a channel found."""
        commands: list[Command] = []
        for segment in segments:
            if not self.has_ended:
                commands += self._send_segment(channel, segment)
        return self._faults.alter(commands)

    def recognition_finished(self) -> list[Command]:
        """All recognisers have finished after `FinishRecognition`."""
        if self._state is not _State.DRAINING:
            return []
        self._state = _State.ENDED
        return self._faults.alter([EndResponse("complete")])

    def recognition_failed(self) -> list[Command]:
        """A recogniser broke down."""
        message = "An internal error occurred. Try your request again."
        return self.refuse(ServiceFault("InternalFailureException", message))

    # Time -----------------------------------------------------------------------------------

    def next_deadline_ms(self) -> float | None:
        """When `handle_timeout` is to be called, unless something else happens first."""
        if self._faults.stalled_until_ms is not None:
            return self._faults.stalled_until_ms
        if self._state is not _State.OPEN:
            return None
        return min(self._idle_deadline_ms, self._age_deadline_ms)

    def handle_timeout(self, now_ms: int) -> list[Command]:
        """The time has come to `next_deadline_ms`; harmless when called early."""
        if self._faults.stalled_until_ms is not None:
            return self._faults.release_if_due(now_ms)
        if self._state is not _State.OPEN:
            return []
        if now_ms >= self._age_deadline_ms:
            limit = f"{self._settings.max_stream_seconds:g} seconds"
            message = f"Your stream reached the longest duration of a stream, {limit}. Start a new stream."
            return self.refuse(ServiceFault("LimitExceededException", message))
        if now_ms >= self._idle_deadline_ms:
            wait = f"{self._settings.idle_timeout_seconds:g} seconds"
            return self.refuse(
                bad_request(f"Your request timed out because no new audio was received for {wait}.")
            )
        return []

    # Audio ----------------------------------------------------------------------------------

    def _receive_message(self, message: Message, now_ms: int) -> list[Command]:
        if self.has_ended:
            return []
        audio = self._events.audio(message, now_ms)
        if self._state is _State.DRAINING:  # the frame after an empty AudioEvent, which some clients send
            return []
        if not audio:
            return self._finish()
        self._check_chunk(len(audio))
        self._audio_bytes += len(audio)
        self._audio_events += 1
        self._idle_deadline_ms = now_ms + round(1000 * self._settings.idle_timeout_seconds)
        recognise = Recognise(split_channels(audio, len(self._settings.channel_ids)))
        return [recognise, *self._apply_faults(now_ms)]

    def _finish(self) -> list[Command]:
        self._state = _State.DRAINING
        return [FinishRecognition()]

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
        return end_with(fault)

    def _apply_faults(self, now_ms: int | None) -> list[Command]:
        progress = Progress(self.audio_seconds, self._audio_events, self._partials)
        commands = self._faults.act(progress, now_ms)
        if self._faults.ended:
            self._state = _State.ENDED
        return commands


def split_channels(audio: bytes, channels: int) -> tuple[bytes, ...]:
    """Interleaved 16-bit samples as one piece of PCM for each channel."""
    if channels == 1:
        return (audio,)
    samples = memoryview(audio).cast("h")
    return tuple(samples[channel::channels].tobytes() for channel in range(channels))
