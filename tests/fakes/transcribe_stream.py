"""A scripted stream of the service, and a service that hands such streams out.

It notes what the client sends and answers what the test tells it to: `script` holds, in order, what `receive`
yields (results, an error to raise, `None` for the clean end). Without a script it answers nothing until
`end` was called, and then ends cleanly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from connectors.transcribe.model import MedicalResult
from pipeline.elements import AudioFormat, SessionSettings

CHUNK_BYTES = 1600
Answer = tuple[MedicalResult, ...] | BaseException | None


class ScriptedStream:
    """A `TranscribeStream`. `send_error`, `end_error`, `close_error`: what those calls raise, if anything."""

    def __init__(
        self,
        *,
        request_id: str | None = "request",
        send_error: BaseException | None = None,
        end_error: BaseException | None = None,
        close_error: BaseException | None = None,
    ) -> None:
        self.session_id: str | None = "session"
        self.request_id = request_id
        self.sent: list[bytes] = []
        self.sent_at: list[float] = []
        self.calls: list[str] = []
        self.closed = asyncio.Event()
        self.end_called = asyncio.Event()
        self.ends_by_itself = True
        self.close_seconds = 0.0
        self._send_error, self._end_error, self._close_error = send_error, end_error, close_error
        self._answers: asyncio.Queue[Answer] = asyncio.Queue()

    @property
    def chunks(self) -> list[bytes]:
        """The audio in chunks of 100 ms at 8 kHz, however many of them an event held."""
        audio = b"".join(self.sent)
        return [audio[start : start + CHUNK_BYTES] for start in range(0, len(audio), CHUNK_BYTES)]

    def answer(self, *answers: Answer) -> None:
        """Append to the script; call it on the loop. The test decides about the end from here on."""
        self.ends_by_itself = False
        for answer in answers:
            self._answers.put_nowait(answer)

    # TranscribeStream

    async def send_audio(self, payload: bytes) -> None:
        self.calls.append("send_audio")
        if self._send_error is not None:
            raise self._send_error
        self.sent.append(payload)
        self.sent_at.append(asyncio.get_running_loop().time())

    async def end(self) -> None:
        self.calls.append("end")
        if self._end_error is not None:
            raise self._end_error
        self.end_called.set()
        if self.ends_by_itself:
            self._answers.put_nowait(None)

    async def receive(self) -> tuple[MedicalResult, ...] | None:
        answer = await self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self) -> None:
        self.calls.append("close")
        if self.close_seconds:
            await asyncio.sleep(self.close_seconds)
        self.closed.set()
        if self._close_error is not None:
            raise self._close_error


class ScriptedService:
    """Opens the given streams one after another; an error in their place is raised instead.

    `requests` notes what was asked for: audio format, settings, stream id.
    """

    resample_to_hertz: int | None = None

    def __init__(self, streams: Sequence[ScriptedStream | BaseException]) -> None:
        self.requests: list[tuple[AudioFormat, SessionSettings, str]] = []
        self._streams = list(streams)

    async def open_stream(
        self, audio: AudioFormat, settings: SessionSettings, stream_id: str
    ) -> ScriptedStream:
        self.requests.append((audio, settings, stream_id))
        following = self._streams.pop(0)
        if isinstance(following, BaseException):
            raise following
        return following
