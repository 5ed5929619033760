"""Recognisers of the endpoint as a process: plug-ins of others, models of the user's, what finals tell."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import resolve_endpoint
from connectors.transcribe.errors import InternalFailureError, LimitExceededError
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import MedicalResult, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream
from deploy.local.transcribe import recognisers
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import REGION, EndpointProcess

SPEECH_LIBRARIES = Path(__file__).parents[1] / "fakes" / "speech_libraries"
SECOND = bytes(32_000)
Start = Callable[..., EndpointProcess]


async def connect(endpoint: EndpointProcess, **parameters: Any) -> TranscribeStream:
    return await open_http2_stream(
        resolve_endpoint(REGION, endpoint.url),
        StartMedicalStreamTranscriptionRequest(**parameters),
        Credentials(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY),
        clock=ServiceClock(lambda: time.time_ns() // 1_000_000),
    )


async def hear(endpoint: EndpointProcess, seconds: int, **parameters: Any) -> list[MedicalResult]:
    """What comes back for so many seconds of silence, sent at once; the audio is small enough for buffers."""
    stream = await connect(endpoint, **parameters)
    try:
        for _ in range(seconds):
            await stream.send_audio(SECOND)
        await stream.end()
        results: list[MedicalResult] = []
        while (event := await stream.receive()) is not None:
            results += event
        return results
    finally:
        await stream.close()


def run(endpoint: EndpointProcess, seconds: int, **parameters: Any) -> list[MedicalResult]:
    return asyncio.run(asyncio.wait_for(hear(endpoint, seconds, **parameters), 30))


def texts(results: list[MedicalResult]) -> list[str]:
    return [r.alternatives[0].transcript for r in results if not r.is_partial]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an endpoint: `start("vosk", "--model", directory)`."""
    started: list[EndpointProcess] = []

    def start(recogniser: str, *options: str | Path) -> EndpointProcess:
        process = EndpointProcess(
            tmp_path / f"endpoint-{len(started)}",
            recogniser=recogniser,
            options=[str(option) for option in options],
        )
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.stop()


# Plug-ins of others --------------------------------------------------------------------------------


def test_the_documented_plug_in_is_installed_and_heard(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code and the entry point of the package's docstring, as they stand there."""
    documentation = inspect.getdoc(recognisers) or ""
    blocks = re.findall(r"\n\n((?:    .*\n|\n)+)", documentation)
    code, metadata = (dedent(block) for block in blocks)
    (tmp_path / "parrot.py").write_text(code)
    distribution = tmp_path / "parrot-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot\nVersion: 1.0\n")
    group, line = metadata.strip().splitlines()
    assert group == '[project.entry-points."medstream.recognisers"]'
    (distribution / "entry_points.txt").write_text(f"[medstream.recognisers]\n{line.replace(chr(34), '')}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert texts(run(start("parrot"), 1)) == ["hello"]
    (final,) = run(start("parrot", "--recogniser-option", "word=polly"), 2)
    (item,) = final.alternatives[0].items
    assert (item.content, item.end_time, item.confidence) == ("polly", 2.0, 0.9)


# Models of the user's, the libraries faked at their API ------------------------------------------------


@pytest.fixture
def vosk_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the stand-in for vosk takes for a model."""
    monkeypatch.setenv("PYTHONPATH", str(SPEECH_LIBRARIES))
    (tmp_path / "final.mdl").touch()
    (tmp_path / "mfcc.conf").touch()
    words = [["sinus", 0.5, 1.0, 0.8], ["rhythm", 1.0, 1.5, 0.9], ["fine", 2.5, 3.0, 0.7]]
    (tmp_path / "heard.json").write_text(json.dumps({"words": words, "fails_at": 20.0}))
    return tmp_path


def test_vosk_recognises_streams_side_by_side_up_to_its_cap(start: Start, vosk_model: Path) -> None:
    endpoint = start("vosk", "--model", vosk_model, "--workers", "3")

    async def work() -> None:
        held = await connect(endpoint)
        heard = await asyncio.gather(hear(endpoint, 4), hear(endpoint, 4))
        assert [texts(results) for results in heard] == [["Sinus rhythm.", "Fine."]] * 2
        stereo = {"enable_channel_identification": True, "number_of_channels": 2}
        pair = await connect(endpoint, **stereo)
        with pytest.raises(LimitExceededError, match="All 3 recognisers"):
            await connect(endpoint)
        await pair.close()
        await held.close()

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_recogniser_that_breaks_down_is_an_internal_failure(start: Start, vosk_model: Path) -> None:
    endpoint = start("vosk", "--model", vosk_model)
    with pytest.raises(InternalFailureError):
        run(endpoint, 21)
    assert "recognition failed: the recogniser failed with Exception" in endpoint.log_path.read_text()
    assert texts(run(endpoint, 4)) == ["Sinus rhythm.", "Fine."]


def test_what_sherpa_onnx_writes_to_standard_error_is_in_no_log(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SPEECH_LIBRARIES))
    for name in ("encoder.onnx", "decoder.onnx", "joiner.onnx"):
        (tmp_path / name).touch()
    (tmp_path / "tokens.txt").write_text("<blk> 0\n▁SINUS 1\n")
    tokens = [[" SINUS", 0.5, -0.1], [" RHYTHM", 1.0, -0.1]]
    (tmp_path / "heard.json").write_text(json.dumps({"tokens": tokens}))
    endpoint = start("sherpa-onnx", "--model", tmp_path, "--log-level", "debug")
    assert texts(run(endpoint, 3)) == ["Sinus rhythm."]
    log = endpoint.log_path.read_text()
    assert "3.0 s of audio" in log, "our own log goes on"
    assert "RHYTHM" not in log.upper()


# What finals tell --------------------------------------------------------------------------------------


def test_finals_tell_speakers_and_phi_to_streams_that_ask(start: Start, tmp_path: Path) -> None:
    def word(content: str, start: float, speaker: str) -> dict[str, Any]:
        times = {"start_seconds": start, "end_seconds": start + 0.5}
        return {"content": content, "speaker": speaker, "confidence": 0.9} | times

    words = [word("Call", 0, "0"), word("Anna", 0.5, "0"), word("yes", 1, "1")]
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"segments": [{"words": words}], "partial_interval_seconds": 0.6}))
    endpoint = start("scripted", "--script", script)
    asking = {"show_speaker_label": True, "content_identification_type": "PHI"}
    *partials, final = run(endpoint, 3, **asking)
    assert [r.alternatives[0].transcript for r in partials] == ["Call Anna", "Call Anna yes", "Call Anna yes"]
    assert not [r for r in partials if r.alternatives[0].entities]
    assert {item.speaker for r in partials for item in r.alternatives[0].items} == {None}
    (alternative,) = final.alternatives
    assert [(item.type, item.content, item.speaker) for item in alternative.items] == [
        ("pronunciation", "Call", "0"),
        ("pronunciation", "Anna", "0"),
        ("speaker-change", "", None),
        ("pronunciation", "yes", "1"),
    ]
    assert [(e.category, e.content, e.start_time) for e in alternative.entities] == [
        ("PHI", "Anna", 0.5),
    ]
    (*_, plain) = run(endpoint, 3)
    assert [item.type for item in plain.alternatives[0].items] == ["pronunciation"] * 3
    assert plain.alternatives[0].entities == ()


# The command line --------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.local.transcribe", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )


def test_the_help_lists_the_recognisers() -> None:
    shown = command("--help").stdout
    for name in ("markers", "pocketsphinx", "scripted", "sherpa-onnx", "vosk"):
        assert re.search(rf"^ *{name}: \w", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recogniser", "scriptd"], "--recogniser scriptd: no such recogniser is installed (did you mean"),
        (["--lm", "x.lm"], "--recogniser scripted has no option 'lm'; it has: script"),
        (["--recogniser-option", "scrpt=x"], "has no option 'scrpt' (did you mean script?)"),
        (["--recogniser-option", "script"], "--recogniser-option script: KEY=VALUE is needed"),
        (["--recogniser-option", "script=/nowhere"], "--script /nowhere: No such file or directory"),
        (["--recogniser", "pocketsphinx", "--recogniser-option", "workers=no"], "option workers is 'no'"),
    ],
)
def test_a_wrong_recogniser_ends_in_one_sentence(arguments: list[str], sentence: str) -> None:
    ended = command(*arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert sentence in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
