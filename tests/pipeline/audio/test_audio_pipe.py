"""Recordings from a pipe: chunks as they come, held until they are covered, and WAV headers on a stream."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO, FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.audio_file import DeclaredFormat, Piece
from pipeline.audio.audio_pipe import AudioPipe, WholeReads, open_audio, open_audio_pipe
from pipeline.audio.playback import chunk_bytes
from pipeline.elements import AudioFormat
from pipeline.errors import SettingsError

RATE = 8000
RAW = DeclaredFormat(RATE)
CHUNK = chunk_bytes(AudioFormat(RATE))
UNKNOWN_LENGTH = 0xFFFFFFFF  # what a program writes that does not know the length when it begins


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.001)


class Arrivals:
    """An event for `on_arrival`, with which to wait for pieces."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def piece(self, audio: AudioPipe, number: int) -> Piece:
        deadline = time.monotonic() + 20
        while (found := audio.piece(number)) is None:
            assert self.event.wait(deadline - time.monotonic()), "nothing arrived"
            self.event.clear()
        return found

    def pieces(self, audio: AudioPipe) -> list[Piece]:
        found = [self.piece(audio, 0)]
        while not found[-1].last:
            found.append(self.piece(audio, len(found)))
        return found


def opened(data: bytes, declared: DeclaredFormat = RAW) -> tuple[AudioPipe, Arrivals]:
    arrivals = Arrivals()
    return open_audio_pipe("a pipe", BytesIO(data), declared, arrivals.event.set), arrivals


def payload(found: list[Piece]) -> bytes:
    return b"".join(piece.payload for piece in found)


def wav(
    data: bytes, *, rate: int = RATE, channels: int = 1, bits: int = 16, length: int | None = None
) -> bytes:
    """A WAV file with a LIST chunk before the audio, as ffmpeg writes them."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * frame, frame, bits)
    body = b"".join(
        name + struct.pack("<I", size) + content
        for name, size, content in (
            (b"fmt ", len(form), form),
            (b"LIST", 6, b"INFOab"),
            (b"data", len(data) if length is None else length, data),
        )
    )
    size = 4 + len(body) if length is None else UNKNOWN_LENGTH
    return b"RIFF" + struct.pack("<I", size) + b"WAVE" + body


@pytest.fixture
def pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """Reading and writing end of a real pipe, unbuffered."""
    read_fd, write_fd = os.pipe()
    with FileIO(read_fd) as read_end, FileIO(write_fd, "w") as write_end:
        yield read_end, write_end


# Chunks


@given(st.binary(max_size=5 * CHUNK).map(lambda data: data and bytes(8) + data))  # no container begins so
def test_chunks_put_together_are_what_came_without_half_a_sample(data: bytes) -> None:
    audio, arrivals = opened(data)
    found = arrivals.pieces(audio)
    assert payload(found) == data[: len(data) - len(data) % 2]
    assert all(len(piece.payload) == CHUNK for piece in found[:-1])
    assert [piece.last for piece in found] == [False] * (len(found) - 1) + [True]


def test_a_chunk_is_there_as_soon_as_it_is_complete(pipe: tuple[FileIO, FileIO]) -> None:
    read_end, write_end = pipe
    arrivals = Arrivals()
    write_end.write(b"\x01" * 12)
    audio = open_audio_pipe("a pipe", read_end, RAW, arrivals.event.set)
    assert audio.piece(0) is None
    write_end.write(b"\x01" * (CHUNK - 12))
    assert arrivals.piece(audio, 0) == Piece(b"\x01" * CHUNK, last=False)
    assert audio.piece(1) is None
    write_end.close()
    assert arrivals.piece(audio, 1) == Piece(b"", last=True)


def test_a_chunk_can_be_asked_for_again_until_it_is_covered() -> None:
    audio, arrivals = opened(bytes(10 * CHUNK))
    found = arrivals.pieces(audio)
    assert [audio.piece(number) for number in range(len(found))] == found
    audio.forget_before(4)
    assert audio.held == len(found) - 4
    assert audio.piece(4) == found[4]
    with pytest.raises(LookupError, match="chunk 3 is gone"):
        audio.piece(3)
    audio.forget_before(2)
    audio.forget_before(1000)
    assert audio.held == 0


def test_the_writer_waits_while_nobody_asks(pipe: tuple[FileIO, FileIO]) -> None:
    read_end, write_end = pipe
    audio = open_audio_pipe("a pipe", WithHead(read_end), RAW, lambda: None)
    threading.Thread(target=write_all, args=(write_end, bytes(500 * CHUNK)), daemon=True).start()
    eventually(lambda: audio.held == 50)
    time.sleep(0.05)
    assert audio.held == 50, "five seconds of audio, and no more"
    audio.piece(49)
    audio.forget_before(50)
    eventually(lambda: audio.held == 50)
    audio.close()


class WithHead:
    """A stream whose first bytes are there at once."""

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._head = bytes(12)

    def read(self, size: int, /) -> bytes | None:
        head, self._head = self._head[:size], self._head[size:]
        return head or self._stream.read(size)


def write_all(stream: FileIO, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(OSError, ValueError):  # the test is over
        while view:
            view = view[stream.write(view) or 0 :]


def test_a_pipe_that_breaks_is_told_after_what_came_before() -> None:
    class Broken:
        def __init__(self) -> None:
            self.left = CHUNK

        def read(self, size: int, /) -> bytes:
            if not self.left:
                raise OSError(5, "Input/output error")
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    arrivals = Arrivals()
    audio = open_audio_pipe("a pipe", Broken(), RAW, arrivals.event.set)
    assert not arrivals.piece(audio, 0).last
    with pytest.raises(SettingsError, match="a pipe cannot be read: Input/output error"):
        arrivals.piece(audio, 1)


@given(st.lists(st.integers(1, 7), min_size=1), st.integers(0, 7))
def test_reads_are_whole_whatever_the_stream_gives_at_once(sizes: list[int], peeked: int) -> None:
    data = bytes(range(40))

    class Trickle(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 3))

    whole = WholeReads(Trickle(data))
    assert whole.peek(peeked) == data[:peeked]
    at = 0
    for size in sizes:
        assert whole.read(size) == data[at : at + size]
        at += size


# WAV


@pytest.mark.parametrize("length", [None, UNKNOWN_LENGTH], ids=["known", "unknown"])
def test_wav_is_read_from_a_stream(length: int | None) -> None:
    data = bytes(range(256)) * 40
    audio, arrivals = opened(wav(data, rate=16_000, channels=2, length=length), DeclaredFormat())
    assert audio.format == AudioFormat(16_000, 2)
    assert payload(arrivals.pieces(audio)) == data


def test_what_follows_the_audio_in_a_wav_is_no_audio() -> None:
    data = bytes(range(256)) * 10
    audio, arrivals = opened(wav(data) + b"LIST\x04\0\0\0junk", DeclaredFormat())
    assert payload(arrivals.pieces(audio)) == data


def refusal(data: bytes, declared: DeclaredFormat = DeclaredFormat()) -> SettingsError:  # noqa: B008
    with pytest.raises(SettingsError) as refused:
        opened(data, declared)
    return refused.value


def test_an_option_that_contradicts_the_header_names_both() -> None:
    refused = refusal(wav(bytes(100), rate=16_000), RAW)
    assert refused.setting == "--sample-rate"
    assert "8000 contradicts the 16000" in str(refused)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (wav(bytes(96), bits=24), "WAV of 24 bits; from a pipe send 16"),
        (wav(b"")[:30], "it ends within its header"),
        (b"RF64" + wav(b"")[4:], "no WAV that can be read from a pipe"),
        (b"fLaC" + bytes(100), "FLAC, which cannot be read from a pipe"),
        (b"OggS" + bytes(100), "Ogg"),
    ],
)
def test_what_a_pipe_cannot_carry_is_said_with_the_remedy(data: bytes, sentence: str) -> None:
    refused = refusal(data)
    assert refused.setting == "AUDIO"
    assert sentence in str(refused)


def test_raw_audio_needs_a_rate() -> None:
    assert refusal(bytes(100)).setting == "--sample-rate"


# Names


def test_a_named_pipe_is_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = bytes(range(256)) * 20
    writer = threading.Thread(target=path.write_bytes, args=(wav(data),), daemon=True)
    writer.start()
    arrivals = Arrivals()
    audio = open_audio(str(path), DeclaredFormat(), arrivals.event.set)
    assert isinstance(audio, AudioPipe)
    assert payload(arrivals.pieces(audio)) == data


def test_a_directory_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a directory"):
        open_audio(str(tmp_path), DeclaredFormat(), lambda: None)
