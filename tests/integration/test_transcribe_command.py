"""`medstream transcribe` as a process against a real endpoint: every word once, at its time, whatever breaks.

Audio is marked (see `recognisers/markers.py`): synthetic, and each word is unique, so one that is lost,
doubled or moved shows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from connectors.transcribe.endpoint import HTTP2, TRANSPORTS, WEBSOCKET
from deploy.local.processes import free_port
from deploy.local.transcribe.process import EndpointProcess
from deploy.local.transcribe.recognisers.markers import encode_markers, marked_words

RATE = 16_000
SENTENCES = [[f"s{s}w{w}" for w in range(4)] for s in range(6)]
PCM = encode_markers(SENTENCES, RATE)
SECONDS = len(PCM) / 2 / RATE
WORDS = [
    (word.content, word.start_seconds, word.end_seconds)
    for words in marked_words(SENTENCES)
    for word in words
]
Word = tuple[str, float, float]
REFUSED_FOR_EVER = {"kind": "refuse", "code": "LimitExceededException", "times": None}


@pytest.fixture(scope="module")
def markers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path_factory.mktemp("markers"), recogniser="markers") as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(markers: EndpointProcess) -> Iterator[EndpointProcess]:
    yield markers
    markers.clear_faults()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audio as WAV, FLAC and raw, and beside it a stereo and a telephone recording."""
    folder = tmp_path_factory.mktemp("recordings")
    samples = np.frombuffer(PCM, "<i2")
    soundfile.write(folder / "mono.wav", samples, RATE)
    soundfile.write(folder / "mono.flac", samples, RATE)
    (folder / "mono.raw").write_bytes(PCM)
    other = np.frombuffer(encode_markers([[f"o{w}" for w in words] for words in SENTENCES], RATE), "<i2")
    soundfile.write(folder / "stereo.wav", np.stack([samples, other], axis=1), RATE)
    soundfile.write(folder / "telephone.wav", np.frombuffer(encode_markers(SENTENCES, 8000), "<i2"), 8000)
    return folder


def command(endpoint: str, audio: str | Path, *options: str) -> list[str]:
    medstream = str(Path(sys.executable).with_name("medstream"))
    return [medstream, "transcribe", str(audio), f"--endpoint-url={endpoint}", *options]


def environment(endpoint: EndpointProcess, **changes: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MEDSTREAM_"))}
    return {**clean, "AWS_EC2_METADATA_DISABLED": "true", **endpoint.environment(), **changes}


def transcribe(
    endpoint: EndpointProcess,
    audio: str | Path,
    *options: str,
    url: str | None = None,
    stdin: bytes | None = None,
    **changes: str,
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(url or endpoint.url, audio, *options),
        input=stdin,
        env=environment(endpoint, **changes),
        capture_output=True,
        timeout=60,
        check=False,
    )


def records(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def finals(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [record for record in records(done) if record["schema"] == "final_transcript"]


def words(found: Sequence[Mapping[str, Any]], channel_id: str | None = None) -> list[Word]:
    """Words with their times, in order."""
    return [
        (item["content"], item["start_time"], item["end_time"])
        for final in found
        if final["channel_id"] == channel_id
        for item in final["alternatives"][0]["items"]
    ]


def check(done: subprocess.CompletedProcess[bytes]) -> None:
    """All is well and every word there once, at its time."""
    assert done.returncode == 0, done.stderr.decode()
    assert words(finals(done)) == WORDS
    assert [final["segment_index"] for final in finals(done)] == list(range(len(finals(done))))


# What goes in


@pytest.mark.parametrize(
    ("name", "transport"), [("mono.wav", HTTP2), ("mono.flac", HTTP2), ("mono.wav", WEBSOCKET)]
)
def test_a_whole_file(endpoint: EndpointProcess, recordings: Path, name: str, transport: str) -> None:
    options = (f"--transport={transport}", "--json", "--speed=max")
    done = transcribe(endpoint, recordings / name, *options)
    check(done)
    assert done.stderr.decode() == (
        f"medstream: {SECONDS:.1f} s of audio, {len(SENTENCES)} finals, 1 stream, 0 retries\n"
    )
    schemas = [record["schema"] for record in records(done)]
    assert schemas.count("partial_transcript") == len(WORDS)
    assert schemas[-1] == "session_ended"
    assert records(done)[-1]["audio_seconds"] == pytest.approx(SECONDS)


def test_raw_audio(endpoint: EndpointProcess, recordings: Path) -> None:
    check(transcribe(endpoint, recordings / "mono.raw", f"--sample-rate={RATE}", "--json", "--speed=0"))


@pytest.mark.parametrize("name", ["mono.raw", "mono.wav"])
def test_standard_input(endpoint: EndpointProcess, recordings: Path, name: str) -> None:
    rate = (f"--sample-rate={RATE}",) if name.endswith("raw") else ()
    stdin = (recordings / name).read_bytes()
    check(transcribe(endpoint, "-", "--json", "--speed=max", *rate, stdin=stdin))


def test_standard_input_that_comes_slowly_is_transcribed_as_it_comes(endpoint: EndpointProcess) -> None:
    """A final is there before the next sentence is spoken."""
    process = subprocess.Popen(
        command(endpoint.url, "-", f"--sample-rate={RATE}", "--json", "--speed=max"),
        env=environment(endpoint),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    sentence_bytes = int(RATE * 2 * 1.9)  # words and pause; 0.2 s of silence before the first
    heard: list[dict[str, Any]] = []
    for number in range(len(SENTENCES)):
        process.stdin.write(PCM[number * sentence_bytes : (number + 1) * sentence_bytes])
        process.stdin.flush()
        while not heard or heard[-1]["schema"] != "final_transcript":
            heard.append(json.loads(process.stdout.readline()))
        assert heard[-1]["segment_index"] == number
        last, heard = heard, []
        assert words(last[-1:])[0][0] == SENTENCES[number][0]
    process.stdin.write(PCM[len(SENTENCES) * sentence_bytes :])
    process.stdin.close()
    assert b"session_ended" in process.stdout.read()
    assert process.wait(30) == 0


def test_two_channels_are_identified(endpoint: EndpointProcess, recordings: Path) -> None:
    done = transcribe(endpoint, recordings / "stereo.wav", "--json", "--speed=max")
    assert done.returncode == 0, done.stderr
    assert words(finals(done), "ch_0") == WORDS
    assert words(finals(done), "ch_1") == [(f"o{word}", start, end) for word, start, end in WORDS]


def test_a_telephone_recording_is_sent_as_it_is(endpoint: EndpointProcess, recordings: Path) -> None:
    done = transcribe(endpoint, recordings / "telephone.wav", "--json", "--speed=max")
    check(done)
    assert {final["sample_rate_hertz"] for final in finals(done)} == {8000}


def test_a_recording_can_be_brought_to_another_rate(endpoint: EndpointProcess, recordings: Path) -> None:
    """Markers do not survive resampling, so it is the length that the endpoint received that counts."""
    done = transcribe(endpoint, recordings / "telephone.wav", "--json", "--speed=max", "--resample-to=16000")
    assert done.returncode == 0, done.stderr
    started = [event for event in endpoint.events() if event["event"] == "stream_started"][-1]
    assert started["sample_rate_hertz"] == RATE
    ended = [event for event in endpoint.events() if event["event"] == "stream_ended"][-1]
    assert ended["audio_seconds"] == pytest.approx(SECONDS, abs=0.001)
    assert records(done)[-1]["audio_seconds"] == pytest.approx(SECONDS)


def test_lines_of_text(endpoint: EndpointProcess, recordings: Path) -> None:
    done = transcribe(endpoint, recordings / "mono.wav", "--speed=max")
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(SENTENCES)
    assert lines[0] == "[0:00.20–0:01.40] s0w0 s0w1 s0w2 s0w3"


def test_real_time_is_real_time(endpoint: EndpointProcess, recordings: Path) -> None:
    started_at = time.monotonic()
    done = transcribe(endpoint, recordings / "mono.wav", "--json", "--speed=4")
    check(done)
    assert time.monotonic() - started_at > (SECONDS - 0.2) / 4


def test_no_name_of_a_file_reaches_the_service(endpoint: EndpointProcess, recordings: Path) -> None:
    path = recordings / "SYNTHETIC-PATIENT-NAME.wav"
    path.write_bytes((recordings / "mono.wav").read_bytes())
    done = transcribe(endpoint, path, "--json", "--speed=max")
    check(done)
    assert b"SYNTHETIC-PATIENT-NAME" not in done.stdout
    assert "SYNTHETIC-PATIENT-NAME" not in endpoint.event_log_path.read_text()


# What breaks


FAULTS = [
    {"kind": "reset", "after_partials": 6},
    {"kind": "exception", "after_partials": 6, "code": "InternalFailureException"},
    {"kind": "exception", "after_partials": 10, "code": "LimitExceededException"},
    {"kind": "clean_end", "after_partials": 6},
    {"kind": "truncate", "after_partials": 6},
    {"kind": "reset", "after_audio_seconds": 5.0},
    {"kind": "disconnect", "after_partials": 6},
    {"kind": "reset", "after_partials": 2, "times": 3},
]
PACED_FAULTS = [FAULTS[3], FAULTS[-1]]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("fault", "speed"),
    [*((fault, "max") for fault in FAULTS), *((fault, "6") for fault in PACED_FAULTS)],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_a_stream_lost_midway_costs_nothing(
    endpoint: EndpointProcess, recordings: Path, fault: dict[str, Any], speed: str, transport: str
) -> None:
    endpoint.inject(fault)
    options = (f"--transport={transport}", "--json", f"--speed={speed}")
    done = transcribe(endpoint, recordings / "mono.flac", *options)
    check(done)
    lost = fault.get("times", 1)
    lines = done.stderr.decode().splitlines()
    assert len(lines) == lost + 1
    assert all("a stream was lost (" in line for line in lines[:-1])
    assert f"{lost + 1} streams, {lost} retr" in lines[-1]


def test_a_refusal_at_the_start_is_waited_out(endpoint: EndpointProcess, recordings: Path) -> None:
    endpoint.inject({**REFUSED_FOR_EVER, "times": 3, "message": "Wait a little."})
    done = transcribe(endpoint, recordings / "mono.wav", "--json", "--speed=6")
    check(done)
    assert b"(LimitExceededException: Wait a little.); retry 3 of 5" in done.stderr


@pytest.mark.parametrize("speed", ["max", "6"])
def test_standard_input_can_be_sent_again_too(endpoint: EndpointProcess, speed: str) -> None:
    endpoint.inject({"kind": "reset", "after_partials": 6}, {"kind": "truncate", "after_partials": 5})
    rate = f"--sample-rate={RATE}"
    check(transcribe(endpoint, "-", rate, "--json", f"--speed={speed}", "--max-retries=9", stdin=PCM))


def test_two_channels_recover_too(endpoint: EndpointProcess, recordings: Path) -> None:
    endpoint.inject({"kind": "reset", "after_partials": 13})
    done = transcribe(endpoint, recordings / "stereo.wav", "--json", "--speed=6")
    assert done.returncode == 0, done.stderr
    assert words(finals(done), "ch_0") == WORDS
    assert words(finals(done), "ch_1") == [(f"o{word}", start, end) for word, start, end in WORDS]


def test_a_service_that_takes_audio_slowly_holds_the_sender(endpoint: EndpointProcess) -> None:
    endpoint.inject({"kind": "slow_read", "seconds": 0.005})
    check(transcribe(endpoint, "-", f"--sample-rate={RATE}", "--json", "--speed=max", stdin=PCM))


# Exit codes


def test_a_wrong_key_is_4_and_not_tried_again(endpoint: EndpointProcess, recordings: Path) -> None:
    done = transcribe(endpoint, recordings / "mono.wav", AWS_SECRET_ACCESS_KEY="not-the-secret")
    assert done.returncode == 4
    lines = done.stderr.decode().splitlines()
    assert "InvalidSignatureException" in lines[-1]
    assert "AWS_ACCESS_KEY_ID" in lines[-1]
    assert len(lines) == 2
    assert "not-the-secret" not in done.stderr.decode()


def test_throttled_for_ever_is_5_after_the_retries(endpoint: EndpointProcess, recordings: Path) -> None:
    endpoint.inject(REFUSED_FOR_EVER)
    done = transcribe(endpoint, recordings / "mono.wav", "--max-retries=2")
    assert done.returncode == 5
    lines = done.stderr.decode().splitlines()
    assert [line.count("retry") for line in lines[:2]] == [1, 1]
    assert "0 finals, 3 streams, 2 retries; finals cover the first 0.0 s" in lines[2]
    assert "LimitExceededException" in lines[3]


def test_a_closed_port_is_6(endpoint: EndpointProcess, recordings: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = transcribe(endpoint, recordings / "mono.wav", "--max-retries=1", url=url)
    assert done.returncode == 6
    assert url in done.stderr.decode()


def test_an_unknown_host_is_6(endpoint: EndpointProcess, recordings: Path) -> None:
    url = "https://no-such-host.invalid"
    done = transcribe(endpoint, recordings / "mono.wav", "--max-retries=0", url=url)
    assert done.returncode == 6
    assert url in done.stderr.decode()


def test_a_failing_service_is_7(endpoint: EndpointProcess, recordings: Path) -> None:
    endpoint.inject({"kind": "exception", "times": None})
    done = transcribe(endpoint, recordings / "mono.wav", "--max-retries=1", "--speed=max")
    assert done.returncode == 7
    assert b"InternalFailureException" in done.stderr


def test_what_the_service_refuses_is_3_and_not_tried_again(
    endpoint: EndpointProcess, recordings: Path
) -> None:
    endpoint.inject({"kind": "exception", "code": "BadRequestException", "message": "Odd audio."})
    done = transcribe(endpoint, recordings / "mono.wav", "--speed=max", "--json")
    assert done.returncode == 3
    assert b"BadRequestException: Odd audio" in done.stderr
    assert records(done)[-1]["reason"] == "REJECTED"


def test_a_parameter_the_service_would_refuse_is_3(endpoint: EndpointProcess, recordings: Path) -> None:
    done = transcribe(endpoint, recordings / "mono.wav", "--specialty=DENTISTRY")
    assert done.returncode == 3
    assert b"allowed: PRIMARYCARE" in done.stderr


def test_a_missing_file_is_1(endpoint: EndpointProcess, recordings: Path) -> None:
    done = transcribe(endpoint, recordings / "no-such.wav")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("medstream: AUDIO: ")
    assert "Traceback" not in done.stderr.decode()


def test_empty_standard_input_is_1(endpoint: EndpointProcess) -> None:
    done = transcribe(endpoint, "-", f"--sample-rate={RATE}", stdin=b"")
    assert done.returncode == 1
    assert b"there is no audio" in done.stderr


def test_a_terminal_is_no_recording(endpoint: EndpointProcess) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            command(endpoint.url, "-", f"--sample-rate={RATE}"),
            env=environment(endpoint),
            stdin=theirs,
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1
    assert b"standard input is a terminal" in done.stderr


def test_wrong_usage_is_2(endpoint: EndpointProcess, recordings: Path) -> None:
    assert transcribe(endpoint, recordings / "mono.wav", "--channels=7").returncode == 2


@pytest.fixture(scope="module")
def tls_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    """An endpoint over TLS, with an authority of its own."""
    with EndpointProcess(tmp_path_factory.mktemp("tls"), recogniser="markers", tls=True) as endpoint:
        yield endpoint


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_private_authority_is_trusted_by_name_and_6_without(
    tls_endpoint: EndpointProcess, recordings: Path, transport: str
) -> None:
    options = (f"--transport={transport}", "--json", "--speed=max")
    trusting = (f"--ca-file={tls_endpoint.ca_file}", *options)
    check(transcribe(tls_endpoint, recordings / "mono.wav", *trusting, SSL_CERT_FILE=""))
    done = transcribe(tls_endpoint, recordings / "mono.wav", *options, SSL_CERT_FILE="")
    assert done.returncode == 6
    assert b"not trusted" in done.stderr
    assert b"--ca-file" in done.stderr


# Interrupts and what is kept private


@pytest.fixture
def start() -> Iterator[Callable[[list[str], dict[str, str]], subprocess.Popen[bytes]]]:
    """Starts a command with pipes for its outputs; it is killed after the test if it still runs."""
    started: list[subprocess.Popen[bytes]] = []

    def start(arguments: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(arguments, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_an_interrupt_says_what_is_covered(
    endpoint: EndpointProcess,
    recordings: Path,
    start: Callable[[list[str], dict[str, str]], subprocess.Popen[bytes]],
) -> None:
    process = start(command(endpoint.url, recordings / "mono.wav"), environment(endpoint))
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, told = process.communicate(timeout=30)
    assert process.returncode == 130
    shown = (first + rest).decode()
    assert shown.startswith("[0:00.20–0:01.40] s0w0 s0w1 s0w2 s0w3\n")
    assert SENTENCES[-1][0] not in shown
    lines = told.decode().splitlines()
    assert lines[0] == "medstream: interrupted; waiting up to 5 s for the last results"
    assert "finals cover the first" in lines[-1]
    assert len(lines) == 2


def test_a_second_interrupt_ends_it_at_once(
    endpoint: EndpointProcess,
    recordings: Path,
    start: Callable[[list[str], dict[str, str]], subprocess.Popen[bytes]],
) -> None:
    endpoint.inject({"kind": "stall", "after_partials": 5})
    arguments = command(endpoint.url, recordings / "mono.wav", "--partials", "--speed=4")
    process = start(arguments, environment(endpoint))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert b"interrupted" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _rest, told = process.communicate(timeout=4)
    assert process.returncode == 130
    assert b"Traceback" not in told


def test_a_reader_that_leaves_ends_it_quietly(endpoint: EndpointProcess, recordings: Path) -> None:
    process = subprocess.Popen(
        command(endpoint.url, recordings / "mono.wav", "--speed=4"),
        env=environment(endpoint),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 1
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def test_words_are_on_standard_output_alone(endpoint: EndpointProcess, recordings: Path) -> None:
    endpoint.inject({"kind": "exception", "after_partials": 6})
    done = transcribe(endpoint, recordings / "mono.wav", "--json", "--speed=max", "--log-level=DEBUG")
    check(done)
    told = done.stderr.decode()
    assert told.count("DEBUG") + told.count("INFO") > 0, "the level has an effect"
    assert not [word for word, _start, _end in WORDS if word in told]


def test_neither_beam_nor_more_than_needed_is_imported(endpoint: EndpointProcess, recordings: Path) -> None:
    program = (
        "import sys; from pipeline.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in ('apache_beam', 'grpc') if name in sys.modules])"
    )
    arguments = command(endpoint.url, recordings / "mono.raw", f"--sample-rate={RATE}", "--speed=max")[1:]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment(endpoint),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == b"[]"


def test_many_at_once_do_not_disturb_one_another(endpoint: EndpointProcess, recordings: Path) -> None:
    done: list[subprocess.CompletedProcess[bytes]] = []

    def run() -> None:
        done.append(transcribe(endpoint, recordings / "mono.wav", "--json", "--speed=max"))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in done:
        check(one)
