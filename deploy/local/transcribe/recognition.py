"""Where recognisers run: inside the event loop, or elsewhere.

A `RecognitionHost` opens a `Recognition` for each channel of a stream. Segments come back through the
`deliver` callback, at once or later, so a recogniser that needs real time and processor runs in a process
of its own (`recognisers/pocketsphinx_pool.py`) behind the same few methods as one that needs none
(`InlineHost`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from deploy.local.transcribe.recognisers import Recogniser, RecogniserFactory, RecognitionRequest, Segment

Deliver = Callable[[Sequence[Segment]], Awaitable[None]]
"""Called with each batch of new segments, never with an empty one."""


class Recognition(Protocol):
    """The recognition of one channel of one stream."""

    async def accept(self, pcm: bytes) -> None:
        """Take audio; waits while the recogniser is too far behind. Raises `SpeechError` if it broke down."""

    async def finish(self) -> None:
        """The audio is complete; returns when the last segment has been delivered. Raises `SpeechError`."""

    def close(self) -> None:
        """Release everything, at any time."""


class RecognitionHost(Protocol):
    """Opens recognitions; one host serves all streams of an endpoint."""

    async def open(self, request: RecognitionRequest, deliver: Deliver) -> Recognition:
        """Begin the recognition of one channel. Raises `ServiceFault` when there is no room for one more."""


class InlineRecognition:
    """A recogniser that is cheap enough for the event loop."""

    def __init__(self, recogniser: Recogniser, deliver: Deliver) -> None:
        self._recogniser = recogniser
        self._deliver = deliver

    async def accept(self, pcm: bytes) -> None:
        """See `Recognition.accept`."""
        if segments := self._recogniser.accept(pcm):
            await self._deliver(segments)

    async def finish(self) -> None:
        """See `Recognition.finish`."""
        if segments := self._recogniser.finish():
            await self._deliver(segments)

    def close(self) -> None:
        """See `Recognition.close`."""


class InlineHost:
    """Runs the recognisers of a factory inside the event loop."""

    def __init__(self, factory: RecogniserFactory) -> None:
        self._factory = factory

    async def open(self, request: RecognitionRequest, deliver: Deliver) -> InlineRecognition:
        """See `RecognitionHost.open`."""
        return InlineRecognition(self._factory(request), deliver)
