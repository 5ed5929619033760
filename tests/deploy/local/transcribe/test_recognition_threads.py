"""Recognition in threads: order, back-pressure, the cap, and what happens when things break."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from deploy.local.transcribe.errors import ServiceFault, SpeechError, bad_request
from deploy.local.transcribe.recognisers import Recogniser, RecognitionRequest, Segment, Word
from deploy.local.transcribe.recognition_threads import (
    MAX_PENDING_BYTES,
    ThreadedHost,
    ThreadedRecognition,
)

REQUEST = RecognitionRequest(16_000)
WAIT_SECONDS = 5.0


def segment(index: int) -> Segment:
    return Segment(index, False, 0.0, 1.0, (Word("x", 0.0, 1.0),))


@dataclass
class HeldRecogniser:
    """Works only while `free` is set, and remembers what it was given and in which threads."""

    free: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    heard: list[bytes] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def accept(self, pcm: bytes) -> Sequence[Segment]:
        self.entered.set()
        assert self.free.wait(WAIT_SECONDS)
        self.heard.append(pcm)
        self.threads.add(threading.get_ident())
        return [segment(len(self.heard))]

    def finish(self) -> Sequence[Segment]:
        return [segment(0)]


class Delivered(list[Segment]):
    async def deliver(self, segments: Sequence[Segment]) -> None:
        assert segments
        self.extend(segments)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


async def entered(recogniser: HeldRecogniser) -> None:
    assert await asyncio.to_thread(recogniser.entered.wait, WAIT_SECONDS)


async def open_one(
    recogniser: Recogniser, delivered: Delivered | None = None, workers: int = 1
) -> tuple[ThreadedHost, ThreadedRecognition]:
    host = ThreadedHost(lambda _request: recogniser, workers)
    found = Delivered() if delivered is None else delivered
    return host, await host.open(REQUEST, found.deliver)


async def until_free(host: ThreadedHost) -> ThreadedRecognition:
    """The recognition that `host` opens once there is room."""
    while True:
        try:
            return await host.open(REQUEST, Delivered().deliver)
        except ServiceFault:
            await asyncio.sleep(0.01)


def test_all_audio_is_heard_in_order_outside_the_event_loop() -> None:
    async def work() -> None:
        recogniser, delivered = HeldRecogniser(), Delivered()
        recogniser.free.set()
        host, recognition = await open_one(recogniser, delivered)
        for number in range(100):
            await recognition.accept(bytes([number] * 3))
        await recognition.finish()
        assert b"".join(recogniser.heard) == b"".join(bytes([number] * 3) for number in range(100))
        assert [s.index for s in delivered] == [*range(1, len(recogniser.heard) + 1), 0]
        assert threading.get_ident() not in recogniser.threads
        recognition.close()
        host.close()

    run(work())


def test_a_stream_without_audio_is_finished() -> None:
    async def work() -> None:
        delivered = Delivered()
        host, recognition = await open_one(HeldRecogniser(), delivered)
        await recognition.finish()
        assert [s.index for s in delivered] == [0]
        recognition.close()
        host.close()

    run(work())


def test_audio_waits_while_the_recogniser_is_behind_and_is_then_taken_at_once() -> None:
    async def work() -> None:
        recogniser = HeldRecogniser()
        host, recognition = await open_one(recogniser)
        piece = bytes(MAX_PENDING_BYTES // 4)
        await recognition.accept(piece)
        await entered(recogniser)
        for _ in range(4):
            await recognition.accept(piece)
        waiting = asyncio.create_task(recognition.accept(piece))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        recogniser.free.set()
        await waiting
        await recognition.finish()
        assert recogniser.heard[:2] == [piece, 4 * piece]
        assert sum(map(len, recogniser.heard)) == 6 * len(piece)
        recognition.close()
        host.close()

    run(work())


def test_there_are_as_many_recognitions_as_allowed_and_closing_makes_room() -> None:
    async def work() -> None:
        host, first = await open_one(HeldRecogniser(), workers=2)
        second = await host.open(REQUEST, Delivered().deliver)
        with pytest.raises(ServiceFault, match=r"All 2 recognisers.*--workers") as caught:
            await host.open(REQUEST, Delivered().deliver)
        assert caught.value.code == "LimitExceededException"
        first.close()
        first.close()  # harmless
        third = await host.open(REQUEST, Delivered().deliver)
        with pytest.raises(ServiceFault):
            await host.open(REQUEST, Delivered().deliver)
        second.close()
        third.close()
        host.close()

    run(work())


def test_a_recognition_closed_in_the_middle_of_a_step_keeps_its_place_until_the_step_is_over() -> None:
    async def work() -> None:
        recogniser = HeldRecogniser()
        host, recognition = await open_one(recogniser)
        await recognition.accept(b"ab")
        await entered(recogniser)
        recognition.close()
        await asyncio.sleep(0.05)
        with pytest.raises(ServiceFault, match="recognisers are in use"):
            await host.open(REQUEST, Delivered().deliver)
        recogniser.free.set()
        (await until_free(host)).close()
        host.close()

    run(work())


class Breaking(HeldRecogniser):
    """Raises when it is to finish."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def finish(self) -> Sequence[Segment]:
        raise self._error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("heard words"), "the recogniser failed with ValueError"),
        (SpeechError("the model is gone"), "the model is gone"),
    ],
)
def test_what_a_recogniser_raises_is_a_speech_error_without_its_text(error: Exception, text: str) -> None:
    async def work() -> None:
        host, recognition = await open_one(Breaking(error))
        with pytest.raises(SpeechError) as caught:
            await recognition.finish()
        assert str(caught.value) == text
        assert caught.value.__cause__ is None
        with pytest.raises(SpeechError):
            await recognition.accept(b"more")
        recognition.close()
        (await until_free(host)).close()
        host.close()

    run(work())


def test_who_waits_for_room_learns_that_the_recogniser_broke_down() -> None:
    async def work() -> None:
        recogniser = HeldRecogniser()

        async def refuse(_segments: Sequence[Segment]) -> None:
            raise SpeechError("nobody listens")

        host = ThreadedHost(lambda _request: recogniser, 1)
        recognition = await host.open(REQUEST, refuse)
        await recognition.accept(b"ab")
        await entered(recogniser)
        await recognition.accept(bytes(MAX_PENDING_BYTES))
        waiting = asyncio.create_task(recognition.accept(b"more"))
        await asyncio.sleep(0.05)
        recogniser.free.set()
        with pytest.raises(SpeechError, match="nobody listens"):
            await waiting
        recognition.close()
        host.close()

    run(work())


@pytest.mark.parametrize(
    ("make_error", "code"),
    [
        (lambda: KeyError("heard"), "InternalFailureException"),
        (lambda: bad_request("No."), "BadRequestException"),
    ],
)
def test_a_recogniser_that_cannot_be_made_takes_no_place(
    make_error: Callable[[], Exception], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    def factory(_request: RecognitionRequest) -> Recogniser:
        raise make_error()

    async def work() -> None:
        host = ThreadedHost(factory, 1)
        for _ in range(2):
            with pytest.raises(ServiceFault) as caught:
                await host.open(REQUEST, Delivered().deliver)
            assert caught.value.code == code
        host.close()

    run(work())
    assert "heard" not in caplog.text
