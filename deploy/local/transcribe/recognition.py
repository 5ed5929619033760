"""Where recognisers run: inside the event loop, or elsewhere.

A `RecognitionHost` opens a `Recognition` for each channel of a stream. Segments come back through the
`deliver` callback, at once or later, so a recogniser that needs real time and processor runs in a process
of its own (`recognisers/pocketsphinx_pool.py`) or in a thread (`recognition_threads.py`) behind the same few
methods as one that needs none (`InlineHost`).

Whatever a recogniser raises ends its stream as the service would, with an InternalFailureException. The log
has the error's type alone, since its text could quote what was heard.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from deploy.local.transcribe.errors import LocalTranscribeError, ServiceFault, SpeechError
from deploy.local.transcribe.recognisers import Recogniser, RecogniserFactory, RecognitionRequest, Segment

Deliver = Callable[[Sequence[Segment]], Awaitable[None]]
"""Called with each batch of new segments, never with an empty one."""

_log = logging.getLogger(__name__)


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


def no_room(recognitions: int) -> ServiceFault:
    """What a stream is answered when that many recognitions, the most there may be, are under way."""
    return ServiceFault(
        "LimitExceededException",
        f"All {recognitions} recognisers are in use; wait until a stream has ended, "
        "or start the endpoint with more --workers.",
    )


def make_recogniser(factory: RecogniserFactory, request: RecognitionRequest) -> Recogniser:
    """A recogniser for one channel; raises `ServiceFault` whatever the factory raises."""
    try:
        return factory(request)
    except ServiceFault:
        raise
    except Exception as error:  # of a plug-in
        reason = str(error) if isinstance(error, LocalTranscribeError) else type(error).__name__
        _log.error("no recogniser for a stream: %s", reason)
        raise ServiceFault("InternalFailureException", "The recogniser cannot start.") from None


def run_recogniser(step: Callable[[], Sequence[Segment]]) -> Sequence[Segment]:
    """A step of a recogniser; raises `SpeechError` whatever the step raises."""
    try:
        return step()
    except SpeechError:
        raise
    except Exception as error:  # of a plug-in or its library; its text could be what was heard
        raise SpeechError(f"the recogniser failed with {type(error).__name__}") from None


class InlineRecognition:
    """A recogniser that is cheap enough for the event loop."""

    def __init__(self, recogniser: Recogniser, deliver: Deliver) -> None:
        self._recogniser = recogniser
        self._deliver = deliver

    async def accept(self, pcm: bytes) -> None:
        """See `Recognition.accept`."""
        if segments := run_recogniser(lambda: self._recogniser.accept(pcm)):
            await self._deliver(segments)

    async def finish(self) -> None:
        """See `Recognition.finish`."""
        if segments := run_recogniser(self._recogniser.finish):
            await self._deliver(segments)

    def close(self) -> None:
        """See `Recognition.close`."""


class InlineHost:
    """Runs the recognisers of a factory inside the event loop."""

    def __init__(self, factory: RecogniserFactory) -> None:
        self._factory = factory

    async def open(self, request: RecognitionRequest, deliver: Deliver) -> InlineRecognition:
        """See `RecognitionHost.open`."""
        return InlineRecognition(make_recogniser(self._factory, request), deliver)
