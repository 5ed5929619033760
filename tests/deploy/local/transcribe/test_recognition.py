"""Recognition inside the event loop: whatever a plug-in raises ends its stream as the service would."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from deploy.local.transcribe.errors import ServiceFault, SpeechError
from deploy.local.transcribe.recognisers import Recogniser, RecognitionRequest, Segment
from deploy.local.transcribe.recognisers.markers import PLUGIN as MARKERS
from deploy.local.transcribe.recognition import InlineHost


class Breaking:
    def accept(self, pcm: bytes) -> Sequence[Segment]:
        raise ValueError(f"heard {pcm!r}")

    def finish(self) -> Sequence[Segment]:
        raise LookupError("heard words")


async def deliver(_segments: Sequence[Segment]) -> None:
    raise AssertionError("there is nothing to deliver")


def test_an_error_of_a_recogniser_is_a_speech_error_without_its_text() -> None:
    async def work() -> None:
        recognition = await InlineHost(lambda _request: Breaking()).open(RecognitionRequest(8000), deliver)
        with pytest.raises(SpeechError, match=r"^the recogniser failed with ValueError$"):
            await recognition.accept(b"ab")
        with pytest.raises(SpeechError, match=r"^the recogniser failed with LookupError$"):
            await recognition.finish()

    asyncio.run(work())


def test_a_recogniser_that_cannot_be_made_is_an_internal_failure(caplog: pytest.LogCaptureFixture) -> None:
    def factory(_request: RecognitionRequest) -> Recogniser:
        raise ZeroDivisionError("heard words")

    with pytest.raises(ServiceFault) as caught:
        asyncio.run(InlineHost(factory).open(RecognitionRequest(8000), deliver))
    assert caught.value.code == "InternalFailureException"
    assert [record.getMessage() for record in caplog.records] == [
        "no recogniser for a stream: ZeroDivisionError"
    ]


def test_a_rate_that_markers_cannot_have_is_the_client_s_mistake() -> None:
    with pytest.raises(ServiceFault, match="sample_rate_hertz=11025") as caught:
        asyncio.run(MARKERS.open({}).open(RecognitionRequest(11_025), deliver))
    assert caught.value.code == "BadRequestException"
