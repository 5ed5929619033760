"""The pytest fixture `transcribe_endpoint`: a Transcribe Medical of one's own for tests, over TLS.

It comes with medstream and its extra `local`; nothing has to be imported or switched on. One endpoint serves
the whole test session, faults are cleared after each test. A test with AWS's SDK for Python
(amazon-transcribe), as it is:

    import asyncio
    from amazon_transcribe.client import TranscribeStreamingClient
    from amazon_transcribe.endpoints import StaticEndpointResolver

    def test_ten_seconds_of_audio_become_text(transcribe_endpoint, monkeypatch):
        for name, value in transcribe_endpoint.environment().items():
            monkeypatch.setenv(name, value)  # credentials, and the authority to trust

        async def transcribe():
            resolver = StaticEndpointResolver(transcribe_endpoint.url)
            client = TranscribeStreamingClient(region=transcribe_endpoint.region, endpoint_resolver=resolver)
            stream = await client.start_stream_transcription(
                language_code="en-US", media_sample_rate_hz=16_000, media_encoding="pcm"
            )
            for _ in range(100):
                await stream.input_stream.send_audio_event(audio_chunk=bytes(3200))
            await stream.input_stream.end_stream()
            return [result async for event in stream.output_stream for result in event.transcript.results]

        assert any(not result.is_partial for result in asyncio.run(transcribe()))

`transcribe_endpoint.inject({"kind": "refuse", "code": "LimitExceededException"})` makes the next stream fail
(`faults.py` has all kinds), `transcribe_endpoint.events()` tells what the endpoint saw during the test.

The default recogniser `scripted` has words for any audio. Others, and any option of `medstream endpoint`, are
chosen for the session in pytest's configuration (`transcribe_endpoint_recogniser`,
`transcribe_endpoint_options`) or for a test, class or module, whose tests each get an endpoint of their own:

    @pytest.mark.transcribe_endpoint(recogniser="markers", options=["--max-streams", "1"], tls=False)

This module is loaded by every pytest of an environment that has medstream, so it imports nothing of weight;
`-p no:medstream` leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from deploy.local.transcribe.process import EndpointProcess

MARKER = "transcribe_endpoint"
_RECOGNISER, _OPTIONS = "transcribe_endpoint_recogniser", "transcribe_endpoint_options"
_NEEDED = ("granian", "psutil", "trustme")


@dataclass(frozen=True, slots=True)
class TranscribeEndpoint:
    """What a test sees of the endpoint.

    Attributes:
        process: The server, for what is not here.
        events_before: Lines of its event log that are older than the test.
    """

    process: EndpointProcess
    events_before: int

    @property
    def url(self) -> str:
        """Where it listens, as an SDK's endpoint: `https://127.0.0.1:PORT`."""
        return self.process.url

    @property
    def ca_file(self) -> Path | None:
        """The certificate authority to trust (PEM); None without TLS."""
        return self.process.ca_file

    @property
    def region(self) -> str:
        """The region that requests must be signed for."""
        return self.process.region

    @property
    def access_key_id(self) -> str:
        """The key that is let in."""
        return self.process.access_key_id

    @property
    def secret_access_key(self) -> str:
        """Its secret, which opens nothing else."""
        return self.process.secret_access_key

    def environment(self) -> dict[str, str]:
        """Variables by which AWS's SDKs find the endpoint, trust it and are let in."""
        return {"AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING": self.url, **self.process.environment()}

    def inject(self, *rules: Mapping[str, Any]) -> None:
        """Add fault rules (see `faults.py`); they are forgotten after the test."""
        self.process.inject(*rules)

    def clear_faults(self) -> None:
        """Forget all fault rules."""
        self.process.clear_faults()

    def events(self) -> list[dict[str, Any]]:
        """What happened since the test began: streams and finals, without any text (`event_log.py`)."""
        return self.process.events()[self.events_before :]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings of the session's endpoint."""
    parser.addini(_RECOGNISER, "recogniser of the fixture transcribe_endpoint", default="scripted")
    parser.addini(
        _OPTIONS, "options of `medstream endpoint` for transcribe_endpoint", type="args", default=[]
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, for runs with --strict-markers."""
    line = f"{MARKER}(recogniser=..., options=[...], tls=True): an endpoint of its own for each such test"
    config.addinivalue_line("markers", line)


@pytest.fixture
def transcribe_endpoint(request: pytest.FixtureRequest) -> Iterator[TranscribeEndpoint]:
    """A local endpoint that speaks Amazon Transcribe Medical streaming, over TLS with its own authority."""
    marker = request.node.get_closest_marker(MARKER)
    if marker is None:
        yield from _lent(request.getfixturevalue("_shared_transcribe_endpoint"))
        return
    with _endpoint(request, **_settings(marker)) as process:
        yield from _lent(process)


@pytest.fixture(scope="session")
def _shared_transcribe_endpoint(request: pytest.FixtureRequest) -> Iterator[EndpointProcess]:
    """The server of all tests that do not ask for one of their own."""
    with _endpoint(request) as process:
        yield process


def _lent(process: EndpointProcess) -> Iterator[TranscribeEndpoint]:
    """Give the server to one test and tidy up; one that a test killed is started again for the next."""
    process.start()
    yield TranscribeEndpoint(process, len(process.events()))
    if process.is_running():
        process.clear_faults()


def _endpoint(
    request: pytest.FixtureRequest,
    *,
    recogniser: str | None = None,
    options: list[str] | None = None,
    tls: bool = True,
) -> EndpointProcess:
    """A server, not started; what is not given comes from pytest's configuration."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        pytest.fail(
            f"transcribe_endpoint needs {', '.join(missing)}; install medstream[local]", pytrace=False
        )
    from deploy.local.transcribe.process import EndpointProcess  # at first use: others' runs stay light

    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    return EndpointProcess(
        factory.mktemp("transcribe-endpoint"),
        recogniser=recogniser or request.config.getini(_RECOGNISER),
        options=request.config.getini(_OPTIONS) if options is None else options,
        tls=tls,
    )


def _settings(marker: pytest.Mark) -> dict[str, Any]:
    known = ("recogniser", "options", "tls")
    if marker.args or (odd := set(marker.kwargs) - set(known)):
        wrong = repr(marker.args[0]) if marker.args else min(odd)
        pytest.fail(
            f"@pytest.mark.{MARKER}: {wrong} is not understood; it takes the keywords {', '.join(known)}",
            pytrace=False,
        )
    return dict(marker.kwargs)
