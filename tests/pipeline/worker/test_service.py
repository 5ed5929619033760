"""Requests made of a session's settings, and streams opened: a second try only where it can help."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from connectors.transcribe.errors import (
    CredentialsExpiredError,
    EndpointError,
    ParameterError,
    SignatureExpiredError,
    TranscribeError,
)
from pipeline.elements import AudioFormat, SessionSettings
from pipeline.worker.service import ServiceSettings, medical_request
from tests.connectors.transcribe.harness import CARRIERS, Carrier
from tests.fakes.scripted_server import CREDENTIALS, REGION, Script, ScriptedServer, ScriptedStream

STREAM_ID = "00000000-0000-4000-8000-000000000000"


def test_a_request_says_what_the_session_chose() -> None:
    settings = SessionSettings(
        specialty="CARDIOLOGY",
        type="DICTATION",
        vocabulary_name="hearts",
        show_speaker_label=True,
        content_identification_type="PHI",
    )
    request = medical_request(AudioFormat(16_000), settings, STREAM_ID)
    request.validate()
    assert request.to_headers() == {
        "x-amzn-transcribe-language-code": "en-US",
        "x-amzn-transcribe-sample-rate": "16000",
        "x-amzn-transcribe-media-encoding": "pcm",
        "x-amzn-transcribe-specialty": "CARDIOLOGY",
        "x-amzn-transcribe-type": "DICTATION",
        "x-amzn-transcribe-vocabulary-name": "hearts",
        "x-amzn-transcribe-session-id": STREAM_ID,
        "x-amzn-transcribe-show-speaker-label": "true",
        "x-amzn-transcribe-content-identification-type": "PHI",
    }


def test_two_channels_are_always_identified() -> None:
    request = medical_request(AudioFormat(16_000, 2), SessionSettings(), STREAM_ID)
    request.validate()
    assert (request.enable_channel_identification, request.number_of_channels) == (True, 2)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("asked", [False, True])
def test_channel_identification_asked_for_never_makes_an_invalid_request(channels: int, asked: bool) -> None:
    settings = SessionSettings(enable_channel_identification=asked)
    medical_request(AudioFormat(16_000, channels), settings, STREAM_ID).validate()


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_audio_is_sent_at_the_rate_it_has(rate: int) -> None:
    request = medical_request(AudioFormat(rate), SessionSettings(), STREAM_ID)
    request.validate()
    assert request.to_headers()["x-amzn-transcribe-sample-rate"] == str(rate)


@pytest.mark.parametrize("channels", [1, 2])
def test_audio_that_is_resampled_is_announced_at_its_new_rate(channels: int) -> None:
    request = medical_request(AudioFormat(8000, channels), SessionSettings(), STREAM_ID, 16_000)
    request.validate()
    assert request.to_headers()["x-amzn-transcribe-sample-rate"] == "16000"


def test_a_setting_the_service_would_refuse_is_found_before_a_connection_is_made() -> None:
    request = medical_request(AudioFormat(16_000), SessionSettings(specialty="SURGERY"), STREAM_ID)
    with pytest.raises(ParameterError, match="SURGERY"):
        request.validate()


def test_cleartext_beyond_this_machine_is_refused_unless_insisted_upon() -> None:
    remote = "http://transcribe.example:8080"
    with pytest.raises(EndpointError, match="--insecure"):
        ServiceSettings("us-east-1", remote).endpoint()
    assert ServiceSettings("us-east-1", remote, allow_cleartext=True).endpoint().host == "transcribe.example"
    assert ServiceSettings("us-east-1", "http://127.0.0.1:1").endpoint().port == 1


# Opening


class Account:
    """A profile of the test's own, whose key changes when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.profile = folder.name  # the process remembers a profile's credentials
        self._path = folder / "credentials"
        self.use("AKIDFIRST")

    def use(self, access_key_id: str) -> None:
        self._path.write_text(
            f"[{self.profile}]\naws_access_key_id={access_key_id}\n"
            f"aws_secret_access_key={CREDENTIALS.secret_access_key}\n"
        )


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return Account(tmp_path)


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return CARRIERS[request.param]


async def open_and_close(server: ScriptedServer, carrier: Carrier, account: Account) -> None:
    url = f"http://127.0.0.1:{server.port}"
    settings = ServiceSettings(REGION, url, carrier.name, profile_name=account.profile)
    stream = await settings.open_stream(AudioFormat(16_000), SessionSettings(), STREAM_ID)
    await stream.close()


def refusing(name: str, message: str, *, ahead_seconds: float = 0, times: int = 9) -> Script:
    """A service that refuses `times` streams by a clock that is so far ahead, and accepts the next."""
    left = [times]

    async def script(stream: ScriptedStream) -> None:
        if left[0] == 0:
            stream.respond()
            await stream.client_left.wait()
            return
        left[0] -= 1
        date = formatdate(time.time() + ahead_seconds, usegmt=True)
        stream.respond(403, [("x-amzn-errortype", name), ("date", date)])
        await stream.send(b'{"message":"%s"}' % message.encode())
        stream.end()

    return script


def test_a_clock_that_is_wrong_is_corrected_and_the_stream_tried_again(
    carrier: Carrier, account: Account
) -> None:
    async def main() -> None:
        script = refusing("BadRequestException", "Signature expired: x", ahead_seconds=900, times=1)
        async with asyncio.timeout(20), carrier.server(script) as server:
            await open_and_close(server, carrier, account)
            assert len(server.streams) == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "message", "ahead_seconds", "kind", "tries"),
    [
        ("BadRequestException", "Signature expired: x", 0, SignatureExpiredError, 1),
        ("BadRequestException", "Signature expired: x", 900, SignatureExpiredError, 2),
        ("ExpiredTokenException", "expired", 900, CredentialsExpiredError, 1),
    ],
)
def test_a_second_try_is_made_once_and_only_for_a_clock_that_was_wrong(
    carrier: Carrier,
    account: Account,
    name: str,
    message: str,
    ahead_seconds: float,
    kind: type[TranscribeError],
    tries: int,
) -> None:
    async def main() -> None:
        script = refusing(name, message, ahead_seconds=ahead_seconds)
        async with asyncio.timeout(20), carrier.server(script) as server:
            with pytest.raises(kind):
                await open_and_close(server, carrier, account)
            assert len(server.streams) == tries

    asyncio.run(main())


def test_after_an_expired_token_the_next_stream_has_fresh_credentials(
    carrier: Carrier, account: Account
) -> None:
    def key_of(stream: ScriptedStream) -> str:
        by_header = getattr(stream, "headers", {}).get("authorization", "")
        return by_header or stream.query["X-Amz-Credential"]  # type: ignore[attr-defined]

    async def main() -> None:
        script = refusing("ExpiredTokenException", "expired", times=1)
        async with asyncio.timeout(20), carrier.server(script) as server:
            with pytest.raises(CredentialsExpiredError):
                await open_and_close(server, carrier, account)
            account.use("AKIDSECOND")
            await open_and_close(server, carrier, account)
            first, second = (key_of(stream) for stream in server.streams)
            assert "AKIDFIRST/" in first
            assert "AKIDSECOND/" in second

    asyncio.run(main())
