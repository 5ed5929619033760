"""Payloads to PCM: exact where the encoding is, of exact length where it is not, rejected where broken."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import elements
from pipeline.audio.audio_decoding import MAX_CHUNK_SECONDS, to_pcm
from pipeline.elements import AudioFormat
from pipeline.errors import ChunkRejected
from tests.encoders import (
    encode,
    interleaved,
    ogg_pages,
    ogg_stream,
    samples_of,
    tone,
    with_total_samples,
)
from tests.pipeline.builders import SECRET_AUDIO

OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
FLAC_RATES = (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000)
COMPRESSED = ("FLAC", "OGG_OPUS")
G711 = ("MULAW", "ALAW")
VECTORS = Path(__file__).parents[2] / "vectors"

MONO = AudioFormat(16_000)
STEREO = AudioFormat(16_000, 2)
NOISE = np.random.default_rng(4).integers(-9000, 9000, 1600).astype("<i2").tobytes()
FLAC = encode(NOISE, "FLAC", 16_000)
OPUS = encode(tone(440, 1600, 16_000), "OGG_OPUS", 16_000)
FLAC_STREAMINFO_END = 42


def rejected(payload: bytes, encoding: str, audio: AudioFormat = MONO) -> ChunkRejected:
    with pytest.raises(ChunkRejected) as found:
        to_pcm(payload, encoding, audio)
    assert found.value.__cause__ is None
    return found.value


def pcm_or_rejection(payload: bytes, encoding: str, audio: AudioFormat = MONO) -> bytes | str:
    """The PCM, or the class of the rejection; any other error fails the test."""
    try:
        return to_pcm(payload, encoding, audio)
    except ChunkRejected as rejection:
        return rejection.error_class


def lag_samples(found: bytes, wanted: bytes) -> int:
    """By how many samples `found` comes later than `wanted`, by correlation."""
    one, other = samples_of(found)[:, 0].astype(float), samples_of(wanted)[:, 0].astype(float)
    return int(np.correlate(one, other, "full").argmax()) - (len(other) - 1)


def loudness(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(samples_of(pcm).astype(float) ** 2)))


# PCM


@given(st.binary(max_size=64), st.sampled_from([8000, 16_000, 48_000]), st.sampled_from([1, 2]))
def test_pcm_stays_as_it_is(payload: bytes, rate: int, channels: int) -> None:
    assert to_pcm(payload, "PCM", AudioFormat(rate, channels)) == payload


# FLAC


@given(
    pcm=st.binary(min_size=4, max_size=1200).map(lambda b: b[: len(b) // 4 * 4]),
    rate=st.sampled_from(FLAC_RATES),
    channels=st.sampled_from([1, 2]),
    known=st.booleans(),
)
def test_flac_gives_back_every_sample(pcm: bytes, rate: int, channels: int, known: bool) -> None:
    flac = encode(pcm, "FLAC", rate, channels)
    payload = flac if known else with_total_samples(flac, 0)
    assert to_pcm(payload, "FLAC", AudioFormat(rate, channels)) == pcm


@pytest.mark.parametrize(("subtype", "shift"), [("PCM_24", 8), ("PCM_S8", -8)])
def test_flac_of_other_depths_becomes_16_bits(subtype: str, shift: int) -> None:
    pcm = samples_of(NOISE)[:, 0]
    payload = io.BytesIO()
    soundfile.write(payload, pcm.astype(np.int32) << 16, 16_000, format="FLAC", subtype=subtype)
    wanted = pcm if shift > 0 else pcm >> 8 << 8
    assert to_pcm(payload.getvalue(), "FLAC", MONO) == wanted.astype("<i2").tobytes()


def test_flac_with_more_than_it_says_is_rejected_and_not_cut() -> None:
    two = FLAC + FLAC
    assert rejected(two, "FLAC").error_class == elements.UNDECODABLE_AUDIO
    assert rejected(with_total_samples(FLAC, 800), "FLAC").error_class == elements.UNDECODABLE_AUDIO
    assert rejected(with_total_samples(FLAC, 1700), "FLAC").error_class == elements.UNDECODABLE_AUDIO


@given(st.integers(FLAC_STREAMINFO_END, len(FLAC) - 1), st.integers(1, 255))
def test_flac_with_a_damaged_byte_is_rejected_or_unharmed(at: int, change: int) -> None:
    damaged = bytearray(FLAC)
    damaged[at] ^= change
    assert pcm_or_rejection(bytes(damaged), "FLAC") in (NOISE, elements.UNDECODABLE_AUDIO)


# Ogg Opus


@given(st.integers(1, 3000), st.sampled_from(OPUS_RATES), st.sampled_from([1, 2]))
def test_opus_is_as_long_as_what_was_encoded(samples: int, rate: int, channels: int) -> None:
    pcm = interleaved(*[tone(440, samples, rate)] * channels)
    payload = encode(pcm, "OGG_OPUS", rate, channels)
    assert len(to_pcm(payload, "OGG_OPUS", AudioFormat(rate, channels))) == len(pcm)


@given(st.integers(1, 6000), st.sampled_from(OPUS_RATES), st.integers(8000, 48_000))
@example(4410, 48_000, 44_100)
def test_opus_has_the_declared_rate_whatever_its_encoder_was_fed(
    samples: int, encoded_rate: int, declared: int
) -> None:
    payload = encode(tone(440, samples, encoded_rate), "OGG_OPUS", encoded_rate)
    decoded = samples_of(to_pcm(payload, "OGG_OPUS", AudioFormat(declared)))
    assert abs(len(decoded) - samples * declared / encoded_rate) <= 1.5


@given(st.integers(1, 8000))
def test_opus_of_44_1_khz_audio_is_as_long_as_the_audio(samples: int) -> None:
    """An encoder resamples to 48 kHz; back at the rate it was recorded with, no sample is lost or won."""
    resampled = round(samples * 48_000 / 44_100)
    payload = encode(tone(440, resampled, 48_000), "OGG_OPUS", 48_000)
    assert len(to_pcm(payload, "OGG_OPUS", AudioFormat(44_100))) == 2 * samples


@pytest.mark.parametrize("rate", OPUS_RATES)
def test_opus_keeps_the_place_of_its_sounds(rate: int) -> None:
    pcm = bytes(2 * (rate // 7)) + tone(600, rate // 20, rate) + bytes(2 * (rate // 5))
    decoded = to_pcm(encode(pcm, "OGG_OPUS", rate), "OGG_OPUS", AudioFormat(rate))
    assert lag_samples(decoded, pcm) == 0


@pytest.mark.parametrize("said", [0, 8000, 16_000, 44_100, 48_000, 2**32 - 1])
def test_opus_has_its_whole_band_whatever_its_head_says_of_the_input(said: int) -> None:
    pcm = tone(6000, 1600, 16_000)
    pages = ogg_pages(encode(pcm, "OGG_OPUS", 16_000))
    pages[0][40:44] = said.to_bytes(4, "little")
    decoded = to_pcm(ogg_stream(pages), "OGG_OPUS", MONO)
    assert len(decoded) == len(pcm)
    assert loudness(decoded) > loudness(pcm) / 2


def test_opus_is_decoded_to_the_same_pcm_each_time() -> None:
    declared = AudioFormat(11_025)
    assert len({to_pcm(OPUS, "OGG_OPUS", declared) for _ in range(20)}) == 1


def test_opus_as_ffmpeg_writes_it_is_as_long_as_what_was_encoded() -> None:
    """The vector is 1,607 samples of a synthetic 440 Hz tone at 16 kHz, by ffmpeg 9 with libopus."""
    payload = (VECTORS / "ffmpeg-tone-16000.opus").read_bytes()
    decoded, wanted = to_pcm(payload, "OGG_OPUS", MONO), tone(440, 1607, 16_000)
    assert len(decoded) == len(wanted)
    assert loudness(decoded) == pytest.approx(loudness(wanted), rel=0.05)


def test_opus_that_is_cut_damaged_or_followed_by_more_is_rejected() -> None:
    damaged = bytearray(OPUS)
    damaged[-20] ^= 1
    for payload in (bytes(damaged), ogg_stream(ogg_pages(OPUS)[:-1]), OPUS + OPUS):
        assert rejected(payload, "OGG_OPUS").error_class == elements.UNDECODABLE_AUDIO


def test_another_codec_in_ogg_is_no_opus() -> None:
    vorbis = io.BytesIO()
    soundfile.write(vorbis, samples_of(NOISE), 16_000, format="OGG", subtype="VORBIS")
    assert "Opus" in rejected(vorbis.getvalue(), "OGG_OPUS").reason


# G.711


def mulaw_level(code: int) -> int:
    """ITU-T G.711, table 2: sign, three bits of segment, four of the step, all inverted."""
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def alaw_level(code: int) -> int:
    """ITU-T G.711, table 1: every other bit inverted."""
    code ^= 0x55
    segment, step = (code & 0x70) >> 4, (code & 0x0F) << 4
    magnitude = step + 8 if segment == 0 else (step + 0x108) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


@pytest.mark.parametrize(("encoding", "level"), [("MULAW", mulaw_level), ("ALAW", alaw_level)])
def test_every_code_of_g711_has_the_level_of_the_recommendation(encoding: str, level: Any) -> None:
    decoded = samples_of(to_pcm(bytes(range(256)), encoding, AudioFormat(8000)))[:, 0]
    assert decoded.tolist() == [level(code) for code in range(256)]


@pytest.mark.parametrize("encoding", G711)
def test_g711_needs_a_byte_for_each_channel(encoding: str) -> None:
    found = rejected(bytes(801), encoding, AudioFormat(8000, 2))
    assert found.error_class == elements.INVALID_CHUNK
    assert "801 bytes" in found.reason


# All of them


@pytest.mark.parametrize("encoding", ["PCM", "FLAC", "OGG_OPUS", "MULAW", "ALAW"])
def test_the_left_channel_stays_left(encoding: str) -> None:
    left, right = tone(440, 1600, 16_000), tone(440, 1600, 16_000, amplitude=500)
    payload = encode(interleaved(left, right), encoding, 16_000, 2)
    decoded = samples_of(to_pcm(payload, encoding, STEREO), 2)
    assert loudness(decoded[:, 0].tobytes()) == pytest.approx(loudness(left), rel=0.1)
    assert loudness(decoded[:, 1].tobytes()) == pytest.approx(loudness(right), rel=0.3)


@pytest.mark.parametrize("encoding", ["PCM", "FLAC", "OGG_OPUS", "MULAW", "ALAW"])
def test_nothing_is_nothing_in_every_encoding(encoding: str) -> None:
    assert to_pcm(b"", encoding, MONO) == b""


@pytest.mark.parametrize("payload", [b"", b"\0\0"])
def test_an_encoding_that_this_version_does_not_know_is_never_guessed(payload: bytes) -> None:
    found = rejected(payload, "UNKNOWN")
    assert found.error_class == elements.UNSUPPORTED_ENCODING
    assert "FLAC" in found.reason


# Streams that are not whole


@pytest.mark.parametrize(("encoding", "payload"), [("FLAC", FLAC), ("OGG_OPUS", OPUS)], ids=["flac", "opus"])
def test_a_continuation_is_rejected_in_words_that_say_what_to_do(encoding: str, payload: bytes) -> None:
    later = payload[len(payload) // 2 :] if encoding == "FLAC" else ogg_stream(ogg_pages(payload)[2:])
    found = rejected(later, encoding)
    assert found.error_class == elements.INVALID_CHUNK
    assert "every chunk must be a whole" in found.reason
    assert "continuation" in found.reason


@pytest.mark.parametrize(("encoding", "payload"), [("FLAC", FLAC), ("OGG_OPUS", OPUS)], ids=["flac", "opus"])
def test_a_stream_cut_anywhere_is_rejected(encoding: str, payload: bytes) -> None:
    for end in range(1, len(payload)):
        rejected(payload[:end], encoding)


# Streams that contradict their record


def test_another_rate_than_the_flac_stream_s_is_a_mismatch_and_names_both() -> None:
    found = rejected(FLAC, "FLAC", AudioFormat(8000))
    assert found.error_class == elements.SAMPLE_RATE_MISMATCH
    assert "8000" in found.reason
    assert "16000" in found.reason


@pytest.mark.parametrize(("encoding", "payload"), [("FLAC", FLAC), ("OGG_OPUS", OPUS)], ids=["flac", "opus"])
def test_another_number_of_channels_than_the_stream_s_is_rejected_and_names_both(
    encoding: str, payload: bytes
) -> None:
    found = rejected(payload, encoding, STEREO)
    assert found.error_class == elements.INVALID_CHUNK
    assert "channels 2 contradicts the 1" in found.reason


def test_flac_of_six_channels_is_rejected() -> None:
    surround = io.BytesIO()
    soundfile.write(surround, np.zeros((160, 6), np.int16), 16_000, format="FLAC")
    assert rejected(surround.getvalue(), "FLAC", STEREO).error_class == elements.INVALID_CHUNK


# Bounds


def silence(encoding: str, samples: int) -> bytes:
    return encode(bytes(2 * samples), encoding, 8000)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_the_longest_chunk_is_decoded_and_a_longer_one_is_not(encoding: str) -> None:
    audio, longest = AudioFormat(8000), MAX_CHUNK_SECONDS * 8000
    assert len(to_pcm(silence(encoding, longest), encoding, audio)) == 2 * longest
    found = rejected(silence(encoding, longest + 1), encoding, audio)
    assert found.error_class == elements.INVALID_CHUNK
    assert f"{MAX_CHUNK_SECONDS} s" in found.reason


@pytest.mark.parametrize("total", [None, 0, 2**36 - 1])
def test_a_small_record_of_endless_silence_does_not_fill_the_memory(total: int | None) -> None:
    flac = silence("FLAC", 600 * 8000)
    bomb = flac if total is None else with_total_samples(flac, total)
    assert len(bomb) < 64_000
    tracemalloc.start()
    try:
        found = rejected(bomb, "FLAC", AudioFormat(8000))
        assert tracemalloc.get_traced_memory()[1] < 2 * MAX_CHUNK_SECONDS * 8000 * 2
    finally:
        tracemalloc.stop()
    assert found.error_class == elements.INVALID_CHUNK


def test_a_flac_stream_of_a_huge_rate_is_not_even_begun() -> None:
    fast = io.BytesIO()
    soundfile.write(fast, np.zeros(160, np.int16), 655_350, format="FLAC")
    assert (
        rejected(with_total_samples(fast.getvalue(), 0), "FLAC").error_class == elements.SAMPLE_RATE_MISMATCH
    )


@pytest.mark.parametrize("granule", [0, 1, 311, 2**31, 2**62])
def test_an_opus_stream_with_a_senseless_length_is_rejected(granule: int) -> None:
    pages = ogg_pages(OPUS)
    pages[-1][6:14] = granule.to_bytes(8, "little")
    rejected(ogg_stream(pages), "OGG_OPUS")


# Garbage


@given(
    st.sampled_from(["FLAC", "OGG_OPUS", "MULAW", "ALAW"]),
    st.sampled_from([b"", b"fLaC", b"fLaC\0\0\0\x22", b"OggS\0\x02", OPUS[:28], OPUS[:36], FLAC[:42]]),
    st.binary(max_size=300),
    st.integers(8000, 48_000),
    st.sampled_from([1, 2]),
)
def test_any_bytes_become_pcm_or_a_rejection_and_never_another_error(
    encoding: str, head: bytes, rest: bytes, rate: int, channels: int
) -> None:
    found = pcm_or_rejection(head + rest, encoding, AudioFormat(rate, channels))
    assert len(found) % (2 * channels) == 0 if isinstance(found, bytes) else found in vars(elements)


@given(
    st.sampled_from([("FLAC", FLAC), ("OGG_OPUS", OPUS)]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 40), st.binary(max_size=40)), max_size=6),
    st.booleans(),
)
def test_a_mangled_stream_becomes_pcm_or_a_rejection_and_never_another_error(
    stream: tuple[str, bytes], edits: list[tuple[int, int, bytes]], reseal: bool
) -> None:
    encoding, payload = stream
    for at, removed, inserted in edits:
        payload = payload[:at] + inserted + payload[at + removed :]
    if reseal and encoding == "OGG_OPUS" and payload.startswith(b"OggS"):
        payload = resealed(payload)
    found = pcm_or_rejection(payload, encoding)
    assert len(found) % 2 == 0 if isinstance(found, bytes) else found in vars(elements)


def resealed(ogg: bytes) -> bytes:
    """The pages with valid checksums, so that what is wrong in them gets past the container."""
    try:
        return ogg_stream(page for page in ogg_pages(ogg) if len(page) >= 27)
    except IndexError:
        return ogg


@pytest.mark.parametrize("encoding", COMPRESSED)
@pytest.mark.parametrize("head", [b"", b"fLaC", FLAC[:42], OPUS[:47]], ids=range(4))
def test_no_rejection_shows_what_was_in_the_payload(encoding: str, head: bytes) -> None:
    shown = str(rejected(head + SECRET_AUDIO * 4, encoding))
    assert SECRET_AUDIO.decode() not in shown
    assert "BytesIO" not in shown
