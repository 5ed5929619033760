"""One stream between its request, its recognisers and its response, whatever carries it.

Three things run for each stream: the reader of the request, a watch over the stream's deadlines, and whatever
the recognisers deliver. All of them end in `Exchange.perform`, which carries out the commands of the
`TranscriptionStream`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial

from deploy.local.transcribe.carriers import Carrier
from deploy.local.transcribe.commands import (
    Command,
    Disconnect,
    EndResponse,
    FinalSent,
    FinishRecognition,
    GoAway,
    PauseReading,
    Recognise,
    ResetStream,
    Send,
    SplitSends,
)
from deploy.local.transcribe.errors import ServiceFault, SpeechError
from deploy.local.transcribe.event_log import EventLog
from deploy.local.transcribe.recognisers import Segment
from deploy.local.transcribe.recognition import Recognition, RecognitionHost
from deploy.local.transcribe.service import Admission, TranscribeService
from deploy.local.transcribe.stream import TranscriptionStream

WATCH_INTERVAL_SECONDS = 0.25
"""Deadlines move with every chunk, so the watch looks again at least this often."""

LINGER_SECONDS = 0.25
"""How long a response that is over waits for the end of its request. Some clients wait for the response's."""

_log = logging.getLogger(__name__)


class Exchange:
    """One stream between its request, its recognisers and its response."""

    def __init__(
        self,
        service: TranscribeService,
        admission: Admission,
        event_log: EventLog,
        carrier: Carrier,
        response_headers: Sequence[tuple[str, str]],
    ) -> None:
        self._service = service
        self._admission = admission
        self._event_log = event_log
        self._carrier = carrier
        self._send_lock = asyncio.Lock()  # parts of the response leave in the order of their commands
        self._over = asyncio.Event()
        self._request_over = asyncio.Event()
        self._ends_well = False
        self._is_broken = False
        self._is_concluded = False
        self._end_reason: str | None = None
        self._recognitions: list[Recognition] = []
        self._headers = response_headers
        self._stream: TranscriptionStream = service.open_stream(admission, service.now_ms())

    async def open_recognition(self, host: RecognitionHost) -> None:
        """Take a recogniser for each channel; raises `ServiceFault` when there is none left."""
        try:
            for channel in range(len(self._admission.channel_ids)):
                deliver = partial(self._deliver, channel)
                self._recognitions.append(await host.open(self._admission.recognition_request, deliver))
        except BaseException:
            self._release()
            raise

    async def run(self) -> None:
        """Serve the stream until its response has ended; one that is broken off is reset."""
        tasks: list[asyncio.Task[None]] = []
        try:
            if await self._respond():
                tasks = [asyncio.create_task(self._guard(work())) for work in (self._read, self._watch)]
                await self._over.wait()
                if self._ends_well:
                    self._conclude()
                    await self._end_response()
        finally:
            for task in tasks:
                task.cancel()
            self._conclude()
            if self._is_broken:
                await self._carrier.reset()

    async def _end_response(self) -> None:
        """End the response once the request has ended too, if that comes soon.

        Over HTTP/2 a response that ends before its request is RST_STREAM(NO_ERROR) in the same breath (RFC
        9113 section 8.1), and Node then drops what its application has not read yet: an exception, say.
        """
        if self._carrier.lingers:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._request_over.wait()
        await self._carrier.end()

    async def _respond(self) -> bool:
        """Answer the request, late if a fault says so; False for a stream that is broken off before."""
        admission = self._admission
        if admission.delay_seconds:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), admission.delay_seconds)
                return False
        await self._carrier.respond(self._headers)
        self._event_log.stream_started(
            admission.session_id, admission.request_id, admission.parameters.media_sample_rate_hertz
        )
        await self.perform(self._stream.start())
        return True

    def abort(self, reason: str = "aborted") -> None:
        """Break the stream off."""
        self._is_broken = True
        self._finish(reason)

    async def perform(self, commands: Sequence[Command]) -> None:
        """Carry out commands in order; what they make known is carried out as it comes."""
        for command in commands:
            match command:
                case Recognise(channels):
                    await self._recognise(channels)
                case Send(data):
                    async with self._send_lock:
                        await self._carrier.send(data)
                case FinalSent(result_id, end_seconds, received_seconds):
                    session_id = self._admission.session_id
                    self._event_log.final_sent(session_id, result_id, end_seconds, received_seconds)
                case FinishRecognition():
                    await self._finish_recognition()
                case PauseReading(seconds):
                    await asyncio.sleep(seconds)
                case SplitSends(piece_bytes):
                    self._carrier.split(piece_bytes)
                case GoAway(error_code):
                    await self._go_away(error_code)
                case EndResponse() | ResetStream() | Disconnect():
                    await self._end(command)

    async def _go_away(self, error_code: int) -> None:
        if error_code:  # the client will be gone
            self._end_reason = self._end_reason or "fault: goaway"
        await self._carrier.go_away(error_code)

    async def _end(self, command: EndResponse | ResetStream | Disconnect) -> None:
        self._end_reason = self._end_reason or command.reason  # before the reader finds the client gone
        match command:
            case EndResponse():  # by `run`, once the request is over
                self._ends_well = True
            case ResetStream():
                await self._carrier.reset()
            case Disconnect():
                await self._carrier.disconnect()
        self._finish(command.reason)

    async def _recognise(self, channels: Sequence[bytes]) -> None:
        for recognition, pcm in zip(self._recognitions, channels, strict=True):
            await recognition.accept(pcm)

    async def _finish_recognition(self) -> None:
        for recognition in self._recognitions:
            await recognition.finish()
        await self.perform(self._stream.recognition_finished())

    def _finish(self, reason: str) -> None:
        self._end_reason = self._end_reason or reason
        self._over.set()

    async def _deliver(self, channel: int, segments: Sequence[Segment]) -> None:
        await self.perform(self._stream.receive_segments(channel, segments))

    async def _guard(self, work: Awaitable[None]) -> None:
        """Run a task of the stream; what breaks it ends the stream and is logged by its type alone."""
        try:
            try:
                await work
            except SpeechError as error:
                _log.warning("recognition failed: %s", error)
                await self.perform(self._stream.recognition_failed())
        except Exception as error:  # whatever it is, the client must see an abnormal end
            _log.error("stream broken off by %s", type(error).__name__)
            self.abort(type(error).__name__)

    async def _read(self) -> None:
        """Pass the request to the stream, then wait until the client is gone."""
        while True:
            try:
                incoming = await self._carrier.receive()
            except ServiceFault as fault:
                await self.perform(self._stream.refuse(fault))
                continue
            if incoming is None or incoming.ended:
                self._request_over.set()
            if incoming is None:
                self._finish("client gone")
                return
            if incoming.data:
                await self.perform(self._stream.receive_data(incoming.data, self._service.now_ms()))
            if incoming.ended:
                await self.perform(self._stream.receive_end())

    async def _watch(self) -> None:
        """Call the stream at its deadlines."""
        while True:
            deadline_ms = self._stream.next_deadline_ms()
            wait = WATCH_INTERVAL_SECONDS
            if deadline_ms is not None:
                wait = min(wait, max(0.001, (deadline_ms - self._service.now_ms()) / 1000))
            await asyncio.sleep(wait)
            await self.perform(self._stream.handle_timeout(self._service.now_ms()))

    def _conclude(self) -> None:
        """Free the stream's place and write it down, once."""
        if self._is_concluded:
            return
        self._is_concluded = True
        self._release()
        admission, audio_seconds = self._admission, self._stream.audio_seconds
        reason = self._end_reason or "aborted"
        self._event_log.stream_ended(admission.session_id, admission.request_id, reason, audio_seconds)
        _log.info("stream %s: %s, %.1f s of audio", admission.session_id, reason, audio_seconds)

    def _release(self) -> None:
        for recognition in self._recognitions:
            recognition.close()
        self._service.close_stream(self._admission)
