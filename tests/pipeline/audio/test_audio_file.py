"""Recordings in files: what they are, what must agree with them, chunks to be read again. All synthetic."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.audio_file import (
    FLAC,
    RAW,
    WAV,
    AudioFile,
    DeclaredFormat,
    Piece,
    RawReader,
    container_of,
    open_audio_file,
)
from pipeline.audio.playback import chunk_bytes
from pipeline.elements import AudioFormat
from pipeline.errors import SettingsError
from tests.pipeline.builders import SECRET_AUDIO

ANY = DeclaredFormat()
RATE = 16_000


def noise(samples: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).integers(-30_000, 30_000, (samples, channels), dtype=np.int16)


def pieces(audio: AudioFile) -> list[Piece]:
    found = []
    while not found or not found[-1].last:
        piece = audio.piece(len(found))
        assert piece is not None
        found.append(piece)
    return found


def payload(found: list[Piece]) -> bytes:
    return b"".join(piece.payload for piece in found)


def written(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


# Chunks


@given(
    st.binary(min_size=0, max_size=40_000), st.sampled_from((8000, 11_025, 48_000)), st.sampled_from((1, 2))
)
def test_chunks_put_together_are_the_audio(data: bytes, rate: int, channels: int) -> None:
    audio = AudioFormat(rate, channels)
    data = data[: len(data) - len(data) % audio.bytes_per_sample]
    found = pieces(AudioFile(RawReader(BytesIO(data), audio), audio))
    assert payload(found) == data
    assert all(len(piece.payload) == chunk_bytes(audio) for piece in found[:-1])
    assert [piece.last for piece in found] == [False] * (len(found) - 1) + [True]
    assert found[-1].payload or not data


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_gives_its_samples_in_any_order_and_again(tmp_path: Path, name: str, channels: int) -> None:
    samples = noise(10 * 1600 + 700, channels)
    with open_audio_file(written(tmp_path / name, samples), ANY) as audio:
        assert audio.format == AudioFormat(RATE, channels)
        found = pieces(audio)
        assert len(found) == 11
        assert payload(found) == samples.astype("<i2").tobytes()
        for number in (3, 10, 0, 1, 9):
            assert audio.piece(number) == found[number]
        audio.forget_before(9)
        assert audio.piece(0) == found[0]


def test_the_last_chunk_is_the_last_also_when_it_is_full(tmp_path: Path) -> None:
    with open_audio_file(written(tmp_path / "a.wav", noise(3200)), ANY) as audio:
        assert [piece.last for piece in pieces(audio)] == [False, True]


@pytest.mark.parametrize(("subtype", "tolerance"), [("PCM_24", 0), ("FLOAT", 1), ("DOUBLE", 1)])
def test_other_sample_formats_become_16_bits_at_the_same_level(
    tmp_path: Path, subtype: str, tolerance: int
) -> None:
    samples = noise(2000)
    stored = samples if subtype.startswith("PCM") else samples / 32_768
    with open_audio_file(written(tmp_path / "a.wav", stored, subtype=subtype), ANY) as audio:
        found = np.frombuffer(payload(pieces(audio)), "<i2").astype(int)
    assert np.abs(found - samples[:, 0].astype(int)).max() <= tolerance


def test_floats_above_full_scale_are_clipped_and_not_wrapped(tmp_path: Path) -> None:
    loud = np.full((1600, 1), 1.5, dtype=np.float32)
    with open_audio_file(written(tmp_path / "a.wav", loud, subtype="FLOAT"), ANY) as audio:
        assert set(np.frombuffer(payload(pieces(audio)), "<i2")) == {32_767}


def test_raw_audio_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(noise(2000).tobytes())
    with open_audio_file(path, DeclaredFormat(8000)) as audio:
        assert audio.format == AudioFormat(8000)
        assert payload(pieces(audio)) == path.read_bytes()


def test_a_wav_that_was_cut_off_ends_where_it_ends(tmp_path: Path) -> None:
    samples = noise(16_000)
    path = written(tmp_path / "a.wav", samples)
    path.write_bytes(path.read_bytes()[:-9001])
    with open_audio_file(path, ANY) as audio:
        found = payload(pieces(audio))
    assert samples.astype("<i2").tobytes().startswith(found)
    assert len(found) == 32_000 - 9002


def test_a_flac_that_was_cut_off_is_told_with_the_place(tmp_path: Path) -> None:
    path = written(tmp_path / "a.flac", noise(16_000))
    path.write_bytes(path.read_bytes()[:-9001])
    with (
        open_audio_file(path, ANY) as audio,
        pytest.raises(SettingsError, match=r"a\.flac cannot be read at 0\.\d s: flac decoder"),
    ):
        pieces(audio)


# What it is


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"RIFF\x24\0\0\0WAVE", WAV),
        (b"RF64\xff\xff\xff\xffWAVE", WAV),
        (b"fLaC\0\0\0\x22", FLAC),
        (b"RIFF\x24\0\0\0AVI ", RAW),
        (b"\0" * 12, RAW),
        (b"", RAW),
    ],
)
def test_the_first_bytes_tell_what_a_file_is(head: bytes, container: str) -> None:
    assert container_of(head, "a file") == container


@pytest.mark.parametrize(
    ("head", "name"), [(b"OggS", "Ogg"), (b"ID3\3", "MP3"), (b"\0\0\0\x20ftypM4A ", "MP4")]
)
def test_another_container_is_named_and_not_taken_for_raw_audio(head: bytes, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"visit is {name}; WAV, FLAC or raw") as refused:
        container_of(head, "visit")
    assert refused.value.setting == "AUDIO"


# What does not fit


def refusal(path: Path, declared: DeclaredFormat = ANY) -> SettingsError:
    with pytest.raises(SettingsError) as refused:
        open_audio_file(path, declared)
    return refused.value


@pytest.mark.parametrize(
    ("declared", "setting", "numbers"),
    [
        (DeclaredFormat(8000), "--sample-rate", ("8000", "16000")),
        (DeclaredFormat(RATE, 2), "--channels", ("2", "1")),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_an_option_that_contradicts_the_header_is_an_error_naming_both(
    tmp_path: Path, name: str, declared: DeclaredFormat, setting: str, numbers: tuple[str, str]
) -> None:
    refused = refusal(written(tmp_path / name, noise(1600)), declared)
    assert refused.setting == setting
    assert all(number in str(refused) for number in (*numbers, name))


def test_an_option_that_says_what_the_header_says_is_fine(tmp_path: Path) -> None:
    with open_audio_file(written(tmp_path / "a.wav", noise(1600, 2)), DeclaredFormat(RATE, 2)) as audio:
        assert audio.format == AudioFormat(RATE, 2)


def test_raw_audio_needs_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    path.write_bytes(SECRET_AUDIO * 100)
    refused = refusal(path)
    assert refused.setting == "--sample-rate"
    assert SECRET_AUDIO.decode() not in str(refused)


def test_half_a_sample_of_raw_audio_says_that_it_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(4002))
    assert "4002 bytes" in str(refusal(path, DeclaredFormat(RATE, 2)))
    open_audio_file(path, DeclaredFormat(RATE, 1)).close()


def test_more_than_two_channels_are_refused(tmp_path: Path) -> None:
    assert "6 channels" in str(refusal(written(tmp_path / "a.wav", noise(1600, 6))))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused = refusal(tmp_path / "no-such.wav")
    assert "no-such.wav" in str(refused)
    assert "No such file" in str(refused)


@pytest.mark.parametrize("head", [b"RIFF\x24\0\0\0WAVE", b"fLaC\0\0\0\x22"])
def test_a_broken_header_is_one_sentence(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(head + SECRET_AUDIO)
    refused = refusal(path)
    assert refused.setting == "AUDIO"
    assert "cannot be read as" in str(refused)
    assert SECRET_AUDIO.decode() not in str(refused)


def test_a_piece_s_repr_shows_no_audio() -> None:
    assert SECRET_AUDIO.decode() not in repr(Piece(SECRET_AUDIO, last=True))
