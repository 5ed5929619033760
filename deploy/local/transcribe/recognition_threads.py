"""Recognition in threads, for recognisers whose work is done by a library that releases the interpreter.

`ThreadedHost` opens at most `max_recognitions` at once, each with a thread to itself whenever it has audio;
streams beyond are refused, because streams that slow each other down would all fall behind. Audio of a stream
waits in `accept` while `MAX_PENDING_BYTES` or more have not been recognised. A recognition that is closed in
the middle of a step keeps its place until the step is over: a thread cannot be interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from deploy.local.transcribe.recognisers import Recogniser, RecogniserFactory, RecognitionRequest, Segment
from deploy.local.transcribe.recognition import Deliver, make_recogniser, no_room, run_recogniser

MAX_PENDING_BYTES = 64 * 1024
"""Two seconds at 16 kHz; beyond it the client is held back by flow control."""


class ThreadedHost:
    """Runs the recognisers of a factory in threads, a few at once."""

    def __init__(self, factory: RecogniserFactory, max_recognitions: int) -> None:
        self._factory = factory
        self._max_recognitions = max_recognitions
        self._threads = ThreadPoolExecutor(max_recognitions, thread_name_prefix="recognition")
        self._open = 0

    async def open(self, request: RecognitionRequest, deliver: Deliver) -> ThreadedRecognition:
        """See `RecognitionHost.open`."""
        if self._open >= self._max_recognitions:
            raise no_room(self._max_recognitions)
        self._open += 1
        making = self._threads.submit(make_recogniser, self._factory, request)
        try:
            recogniser = await asyncio.wrap_future(making)
        except BaseException:
            _when_done(making, self._recognition_closed)
            raise
        return ThreadedRecognition(recogniser, self._threads, deliver, self._recognition_closed)

    def _recognition_closed(self) -> None:
        self._open -= 1

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class ThreadedRecognition:
    """One recogniser, of which one step at a time runs in some thread."""

    def __init__(
        self,
        recogniser: Recogniser,
        threads: ThreadPoolExecutor,
        deliver: Deliver,
        on_close: Callable[[], None],
    ) -> None:
        self._recogniser = recogniser
        self._threads = threads
        self._deliver = deliver
        self._on_close: Callable[[], None] | None = on_close
        self._pending = bytearray()
        self._is_complete = False
        self._has_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._step: Future[Sequence[Segment]] | None = None
        self._working = asyncio.create_task(self._work())

    async def accept(self, pcm: bytes) -> None:
        """See `Recognition.accept`."""
        await self._has_room.wait()
        if self._working.done():
            self._working.result()  # raises what ended it
        self._pending += pcm
        if len(self._pending) >= MAX_PENDING_BYTES:
            self._has_room.clear()
        self._has_work.set()

    async def finish(self) -> None:
        """See `Recognition.finish`."""
        self._is_complete = True
        self._has_work.set()
        await self._working

    def close(self) -> None:
        """See `Recognition.close`."""
        if not self._working.cancel() and not self._working.cancelled():
            self._working.exception()  # seen: a stream that has ended does not care
        if self._on_close is not None:
            _when_done(self._step, self._on_close)
            self._on_close = None

    async def _work(self) -> None:
        """Recognise what is pending, all at once, until the audio is complete."""
        try:
            while self._pending or not self._is_complete:
                await self._has_work.wait()
                self._has_work.clear()
                pcm = bytes(self._pending)
                self._pending.clear()
                self._has_room.set()
                if pcm:
                    await self._run(partial(self._recogniser.accept, pcm))
            await self._run(self._recogniser.finish)
        finally:
            self._has_room.set()  # whoever waits shall see what ended it

    async def _run(self, step: Callable[[], Sequence[Segment]]) -> None:
        self._step = self._threads.submit(run_recogniser, step)
        if segments := await asyncio.wrap_future(self._step):
            await self._deliver(segments)


def _when_done(step: Future[Any] | None, call: Callable[[], None]) -> None:
    """Call on the event loop once the thread has left `step`; at once if it is not in it."""
    if step is None or step.done():
        call()
        return
    loop = asyncio.get_running_loop()

    def called_in_the_thread(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody counts any more
            loop.call_soon_threadsafe(call)

    step.add_done_callback(called_in_the_thread)
