"""A worker whose clock is wrong, against an endpoint that refuses its signatures: over both transports.

It is the endpoint's clock that is ten minutes off, which is the same thing to a signature.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.transcribe.endpoint import HTTP2, WEBSOCKET
from connectors.transcribe.errors import SignatureExpiredError
from connectors.transcribe.stream import TranscribeStream
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import REGION, EndpointProcess
from deploy.local.transcribe.recognisers.markers import encode_markers
from pipeline.elements import AudioFormat, SessionSettings
from pipeline.worker.service import ServiceSettings

WORDS = ["alpha", "bravo", "charlie"]
SPEECH = encode_markers([WORDS], 16_000)
PROFILE = "clock-skew"  # the process remembers a profile's credentials, so no other test has this one

both = pytest.mark.parametrize("transport", [HTTP2, WEBSOCKET])


@pytest.fixture(autouse=True)
def _credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "credentials"
    path.write_text(
        f"[{PROFILE}]\naws_access_key_id={LOCAL_ACCESS_KEY_ID}\n"
        f"aws_secret_access_key={LOCAL_SECRET_ACCESS_KEY}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))


@pytest.fixture(scope="module", params=[600, -600])
def skewed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EndpointProcess]:
    """An endpoint whose clock is ten minutes ahead, then one ten minutes behind."""
    options = ["--clock-skew-seconds", str(request.param)]
    with EndpointProcess(
        tmp_path_factory.mktemp("skewed"), recogniser="markers", options=options
    ) as endpoint:
        yield endpoint


async def open_stream(url: str, transport: str) -> TranscribeStream:
    settings = ServiceSettings(REGION, url, transport, profile_name=PROFILE)
    return await settings.open_stream(AudioFormat(16_000), SessionSettings(), str(uuid.uuid4()))


async def words_of(stream: TranscribeStream) -> list[str]:
    """Send all audio and its end; the words of the finals."""
    for start in range(0, len(SPEECH), 3200):
        await stream.send_audio(SPEECH[start : start + 3200])
    await stream.end()
    words = []
    while (results := await stream.receive()) is not None:
        finals = [result for result in results if not result.is_partial]
        words += [item.content for final in finals for item in final.alternatives[0].items]
    await stream.close()
    return words


def opened(endpoint: EndpointProcess) -> int:
    return sum(event["event"] == "stream_started" for event in endpoint.events())


@both
def test_a_stream_opens_at_the_second_try_and_the_next_at_the_first(
    skewed: EndpointProcess, transport: str
) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            assert await words_of(await open_stream(skewed.url, transport)) == WORDS
            # What was learnt is kept: a single refusal would do for the next stream.
            skewed.inject({"kind": "refuse", "code": "BadRequestException", "message": "Signature expired"})
            with pytest.raises(SignatureExpiredError):
                await open_stream(skewed.url, transport)
            assert await words_of(await open_stream(skewed.url, transport)) == WORDS

    before = opened(skewed)
    asyncio.run(main())
    assert opened(skewed) == before + 2


@both
def test_streams_that_open_at_once_do_not_correct_the_clock_twice(tmp_path: Path, transport: str) -> None:
    options = ["--clock-skew-seconds", "-600"]

    async def main(url: str) -> None:
        async with asyncio.timeout(30):
            streams = await asyncio.gather(*(open_stream(url, transport) for _ in range(8)))
            for found in await asyncio.gather(*(words_of(stream) for stream in streams)):
                assert found == WORDS

    with EndpointProcess(tmp_path / "endpoint", recogniser="markers", options=options) as endpoint:
        asyncio.run(main(endpoint.url))
        assert opened(endpoint) == 8


def test_a_signature_that_expires_within_the_stream_corrects_the_clock_for_the_next(tmp_path: Path) -> None:
    """The service's other way: it accepts first and says it in an event (HTTP/2 alone signs events).

    Four minutes are within what the endpoint lets pass, so the first refusal comes from a rule; then the
    endpoint gets a clock that lets nothing pass but what was corrected.
    """
    rule = "kind=exception,code=BadRequestException,message=Signature expired: synthetic"
    directory = tmp_path / "endpoint"
    options = ["--clock-skew-seconds", "240", "--fault", rule]

    async def main(url: str) -> None:
        stream = await open_stream(url, HTTP2)
        with pytest.raises(SignatureExpiredError):
            await words_of(stream)
        await stream.close()

    with EndpointProcess(directory, recogniser="markers", options=options) as first:
        asyncio.run(asyncio.wait_for(main(first.url), 30))
        port = first.port

    async def again(url: str) -> None:
        assert await words_of(await open_stream(url, HTTP2)) == WORDS

    options = ["--clock-skew-seconds", "480"]  # 240 from the corrected clock, too far from the machine's
    with EndpointProcess(directory, recogniser="markers", port=port, options=options) as second:
        asyncio.run(asyncio.wait_for(again(second.url), 30))
        log = second.log_path.read_text()
        assert "stream " in log
        assert "refused" not in log
