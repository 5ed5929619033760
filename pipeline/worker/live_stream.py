"""One live stream of the service, driven by the process's event loop and fed from Beam's threads.

The Beam side calls `send`, `end` and `drop`, which only append and wake the loop, and reads
`written_samples`. The loop side connects, writes what waits in the outbound buffer at most at the catch-up
rate, and reads results. Whatever happens is reported to the inbox as an event, in order; after `StreamClosed`
or `StreamLost` nothing follows.

The service may be sent another sample rate than the session has (`resample_to_hertz`). That is known here
only: buffer, pace and `written_samples` are in the session's own samples, and results come in seconds.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from connectors.transcribe.errors import ConfigurationError, TranscribeError
from connectors.transcribe.model import MedicalResult
from connectors.transcribe.stream import TranscribeStream
from pipeline.audio.resampling import resampler
from pipeline.elements import AudioFormat
from pipeline.engine.answers import StreamFailure
from pipeline.engine.failures import FailureKind, kind_of
from pipeline.worker.loop_calls import calls_of

OpenCall = Callable[[str], Awaitable[TranscribeStream]]

_BURST_SECONDS = 1.0  # audio that may go out at once before the catch-up rate applies
_MAX_EVENT_SECONDS = 0.2  # the service recommends chunks of 50 to 200 ms and refuses more than one second
_CLOSE_SECONDS = 2.0
_LAST_WORD_SECONDS = 1.0  # after a failed write, how long the service may take to say why


@dataclass(frozen=True, slots=True)
class StreamOpened:
    serial: int
    stream_id: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ResultsArrived:
    serial: int
    results: tuple[MedicalResult, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamClosed:
    serial: int


@dataclass(frozen=True, slots=True)
class StreamLost:
    serial: int
    failure: StreamFailure


@dataclass(slots=True)
class SentAudio:
    """Audio that this process has handed to streams of the service, in all. The one event loop adds to it."""

    bytes: int = 0
    seconds: float = 0.0


SENT = SentAudio()

StreamReport = StreamOpened | ResultsArrived | StreamClosed | StreamLost


class LiveStream:
    """See the module. `open_call` opens the stream for a given stream id; `catch_up_rate` is audio seconds
    per second (0: as fast as the service takes it); `resample_to_hertz` is None to send `audio` as it is.
    `ended` is called on the loop, once, when nothing of the stream is left, its connection included, however
    it ended: after its last report, or after a drop.
    """

    def __init__(
        self,
        serial: int,
        audio: AudioFormat,
        open_call: OpenCall,
        *,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[StreamReport], None],
        catch_up_rate: float,
        resample_to_hertz: int | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.serial = serial
        self.written_samples = 0
        self._given_samples = 0
        self._audio = audio
        self._resampler = resampler(audio, resample_to_hertz)
        self._open_call = open_call
        self._loop = loop
        self._report = report
        self._catch_up_rate = catch_up_rate
        self._outbox: deque[bytes] = deque()
        self._ending = False
        self._end_sent = False
        self._next_at = 0.0
        self._wake = asyncio.Event()
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._calls = calls_of(loop)
        self._calls.call(self._start)

    # Beam's side

    @property
    def waiting_seconds(self) -> float:
        """Audio that was handed over and is not on the wire yet."""
        return self._audio.seconds(self._given_samples - self.written_samples)

    def send(self, payload: bytes) -> None:
        """Append audio (whole samples) to the outbound buffer."""
        self._given_samples += self._audio.samples(len(payload))
        self._outbox.append(payload)
        self._calls.call(self._wake.set)

    def end(self) -> None:
        """Close the sending side once the buffer is empty."""
        self._ending = True
        self._calls.call(self._wake.set)

    def drop(self) -> None:
        """Give up at once; nothing more is reported."""
        self._calls.call(self._cancel)

    # The loop's side

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(lambda _task: self._ended())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._serve()
        except TranscribeError as error:
            self._report(StreamLost(self.serial, failure_of(error)))
        except Exception as error:  # a defect of ours must not leave the session waiting for ever
            unexpected = StreamFailure(
                type(error).__name__, "unexpected error while streaming", kind=FailureKind.UNEXPECTED
            )
            self._report(StreamLost(self.serial, unexpected))

    async def _serve(self) -> None:
        stream_id = str(uuid.uuid4())
        stream = await self._open_call(stream_id)
        try:
            self._report(StreamOpened(self.serial, stream_id, stream.request_id))
            await self._exchange(stream)
        finally:
            with suppress(TimeoutError, TranscribeError):  # it must not hide how the stream went
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await stream.close()
        if self._end_sent:
            self._report(StreamClosed(self.serial))
        else:
            early = StreamFailure("EndedEarly", "the service ended the stream before it was asked to")
            self._report(StreamLost(self.serial, early))

    async def _exchange(self, stream: TranscribeStream) -> None:
        """Write and read at the same time until the service ends the stream or either side fails."""
        writer = asyncio.create_task(self._write(stream))
        reader = asyncio.create_task(self._read(stream))
        try:
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                sent_all = writer.exception() is None
                await asyncio.wait({reader}, timeout=None if sent_all else _LAST_WORD_SECONDS)
            if reader.done():
                reader.result()  # what the service said explains more than a failed write
            else:
                writer.result()
        finally:
            writer.cancel()
            reader.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)

    async def _read(self, stream: TranscribeStream) -> None:
        while (results := await stream.receive()) is not None:
            self._report(ResultsArrived(self.serial, results))

    async def _write(self, stream: TranscribeStream) -> None:
        while True:
            while self._outbox:
                for piece in _pieces(self._take(), self._audio):
                    await self._pace(piece)
                    await self._send(stream, self._resampler.resample(piece))
                    self.written_samples += self._audio.samples(len(piece))
            if self._ending:
                await self._send(stream, self._resampler.flush())
                await stream.end()
                self._end_sent = True  # only now: a clean end before it leaves audio unanswered
                return
            self._wake.clear()
            if not self._outbox and not self._ending:
                await self._wake.wait()

    def _take(self) -> bytes:
        """The next audio of the buffer: one chunk, or as many as fit into an event when more of them wait."""
        first = self._outbox.popleft()
        if not self._outbox:
            return first
        room_bytes = _event_bytes(self._audio) - len(first)
        taken = [first]
        while self._outbox and len(self._outbox[0]) <= room_bytes:
            room_bytes -= len(self._outbox[0])
            taken.append(self._outbox.popleft())
        return b"".join(taken)

    async def _send(self, stream: TranscribeStream, pcm: bytes) -> None:
        audio = self._resampler.target
        for piece in _pieces(pcm, audio):  # resampled audio comes in pieces of its own size
            await stream.send_audio(piece)
            SENT.bytes += len(piece)
            SENT.seconds += audio.seconds(audio.samples(len(piece)))

    async def _pace(self, piece: bytes) -> None:
        """Wait until `piece` may go: a burst, then the catch-up rate; time without audio earns no credit."""
        if not self._catch_up_rate:
            return
        now = self._loop.time()
        if self._next_at > now:
            await asyncio.sleep(self._next_at - now)
        seconds = self._audio.seconds(self._audio.samples(len(piece)))
        earliest = now - _BURST_SECONDS / self._catch_up_rate
        self._next_at = max(self._next_at, earliest) + seconds / self._catch_up_rate


def _pieces(pcm: bytes, audio: AudioFormat) -> Iterator[bytes]:
    """`pcm` in events that the service likes; none of them is empty."""
    size = _event_bytes(audio)
    if len(pcm) <= size:
        return iter((pcm,) if pcm else ())
    return (pcm[start : start + size] for start in range(0, len(pcm), size))


def _event_bytes(audio: AudioFormat) -> int:
    return int(_MAX_EVENT_SECONDS * audio.sample_rate_hertz) * audio.bytes_per_sample


def failure_of(error: TranscribeError) -> StreamFailure:
    """What the session engine has to know of a transport's error.

    A worker's setup that is wrong now (no credentials from an instance's metadata service, say) is nothing a
    session should be refused for: it can be mended while the audio waits in Kafka.
    """
    retryable = error.retryable or isinstance(error, ConfigurationError)
    return StreamFailure(error.code, error.message, retryable=retryable, kind=kind_of(error))
