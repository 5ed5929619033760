"""Payloads of chunks to PCM: FLAC and Ogg Opus by libsndfile, G.711 by its tables.

Every chunk is decoded by itself. A FLAC chunk is a whole FLAC stream and an Ogg Opus chunk a whole Ogg Opus
stream (from its first page to its last), so that audio can be read again from any record of the topic: what
follows in the pipeline, recovery included, knows PCM only.

- FLAC says its rate and channels, and the chunk must declare the same. More than 16 bits become 16.
- Opus has no rate of its own: a decoder gives what is asked for. It is decoded at the lowest rate of Opus (8,
  12, 16, 24, 48 kHz) that is not below the declared one, and resampled if that is not it. Its length is what
  the stream says, without the encoder's lead-in and padding, in whole samples of the declared rate.
- G.711 is one byte a sample.

A payload that decodes to other than it says is rejected as a whole: no sample of a session may be invented or
lost. Nothing longer than `MAX_CHUNK_SECONDS` is decoded, so that a small record cannot fill the memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NoReturn

import numpy as np
import soundfile

from pipeline.audio import ogg_opus
from pipeline.audio.resampling import Samples, resample_whole
from pipeline.elements import (
    INVALID_CHUNK,
    SAMPLE_RATE_MISMATCH,
    UNDECODABLE_AUDIO,
    UNSUPPORTED_ENCODING,
    AudioFormat,
)
from pipeline.errors import ChunkRejected

MAX_CHUNK_SECONDS: Final = 30
"""The longest audio of one FLAC or Ogg Opus chunk; 50 to 200 ms are usual."""


def to_pcm(payload: bytes, encoding: str, audio: AudioFormat) -> bytes:
    """The chunk's audio as interleaved PCM s16le in its declared format; raises ChunkRejected.

    `encoding` is a symbol of the schema's AudioEncoding. An empty payload is empty audio in any encoding.
    """
    decode = _DECODERS.get(encoding)
    if decode is None:
        raise ChunkRejected(
            UNSUPPORTED_ENCODING,
            f"encoding {encoding} is not supported by this version; send one of {', '.join(_DECODERS)}",
        )
    return decode(payload, audio) if payload else b""


def _pcm(payload: bytes, _audio: AudioFormat) -> bytes:
    return payload


# FLAC

_FLAC_MARK = b"fLaC"
_STREAMINFO = slice(18, 26)  # the part of it with rate (20 bits), channels (3), depth (5), total samples (36)
_TOTAL_BITS = 36


def _flac(payload: bytes, audio: AudioFormat) -> bytes:
    if not payload.startswith(_FLAC_MARK):
        _reject_continuation("FLAC", "fLaC")
    fields = int.from_bytes(payload[_STREAMINFO].ljust(8, b"\0"), "big")
    rate, total = fields >> 44, fields & (1 << _TOTAL_BITS) - 1
    if rate not in (0, audio.sample_rate_hertz):
        raise ChunkRejected(
            SAMPLE_RATE_MISMATCH,
            f"sample_rate_hertz {audio.sample_rate_hertz} contradicts the {rate} of the chunk's FLAC stream; "
            "declare the rate the stream has",
        )
    # A total of 0 is unknown, as encoders write it into a pipe. Then libsndfile reads to the end of the
    # payload; else it would pass over what follows the total in silence, such as a second stream.
    open_ended = (fields - total).to_bytes(8, "big")
    whole = payload[: _STREAMINFO.start] + open_ended + payload[_STREAMINFO.stop :]
    samples, _ = _read(whole, "FLAC", audio, total or None)
    return _to_bytes(samples)


# Ogg Opus


def _ogg_opus(payload: bytes, audio: AudioFormat) -> bytes:
    if not ogg_opus.begins(payload):
        _reject_continuation("Ogg Opus", "OggS and the flag of a first page")
    wanted = audio.sample_rate_hertz
    samples, rate = _read(ogg_opus.prepared(payload, wanted), "Ogg Opus", audio)
    return _to_bytes(samples if rate == wanted else resample_whole(samples, rate, wanted))


# G.711


def _mulaw(payload: bytes, audio: AudioFormat) -> bytes:
    return _g711(payload, "ULAW", audio)


def _alaw(payload: bytes, audio: AudioFormat) -> bytes:
    return _g711(payload, "ALAW", audio)


def _g711(payload: bytes, law: str, audio: AudioFormat) -> bytes:
    if len(payload) % audio.channels:
        raise ChunkRejected(
            INVALID_CHUNK,
            f"payload of {len(payload)} bytes is not a whole number of G.711 samples of {audio.channels} "
            "channels (one byte each)",
        )
    return _to_bytes(_g711_levels(law)[np.frombuffer(payload, np.uint8)])


@lru_cache(maxsize=2)
def _g711_levels(law: str) -> Samples:
    """The PCM sample of each of the 256 codes, as libsndfile decodes them."""
    codes = io.BytesIO(bytes(range(256)))
    raw = {"format": "RAW", "subtype": law, "samplerate": 8000, "channels": 1}
    with soundfile.SoundFile(codes, **raw) as levels:
        decoded: Samples = levels.read(dtype="int16")
    return decoded


_DECODERS: Final[dict[str, Callable[[bytes, AudioFormat], bytes]]] = {
    "PCM": _pcm,
    "FLAC": _flac,
    "OGG_OPUS": _ogg_opus,
    "MULAW": _mulaw,
    "ALAW": _alaw,
}


# libsndfile

_UNKNOWN_TOTAL = 2**63 - 1  # libsndfile's SF_COUNT_MAX


class _OnePass(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped
    """A file read once from its start: soundfile seeks after every read otherwise, which a FLAC stream
    without its total does not allow."""

    def seekable(self) -> bool:
        return False


def _read(payload: bytes, name: str, audio: AudioFormat, total: int | None = None) -> tuple[Samples, int]:
    """Every sample of the stream and the rate it was decoded at; raises ChunkRejected.

    `total`: how many samples there must be, if libsndfile does not know.
    """
    try:
        with _OnePass(io.BytesIO(payload)) as stream:
            _check_channels(name, stream.channels, audio)
            rate: int = stream.samplerate
            limit = MAX_CHUNK_SECONDS * rate
            total = stream.frames if total is None else total
            if total != _UNKNOWN_TOTAL:
                _check_length(name, total, limit)
            samples: Samples = stream.read(min(total, limit) + 1, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ChunkRejected(
            UNDECODABLE_AUDIO,
            f"the payload is not one whole {name} stream: libsndfile error {error.code}: "
            f"{error.error_string}",
        ) from None
    _check_length(name, len(samples), limit)
    if total not in (len(samples), _UNKNOWN_TOTAL):
        raise ChunkRejected(
            UNDECODABLE_AUDIO, f"the {name} stream does not hold the {total} samples that it says it does"
        )
    return samples, rate


def _check_channels(name: str, channels: int, audio: AudioFormat) -> None:
    if channels != audio.channels:
        raise ChunkRejected(
            INVALID_CHUNK,
            f"channels {audio.channels} contradicts the {channels} of the chunk's {name} stream; declare "
            "what the stream has",
        )


def _check_length(name: str, samples: int, limit: int) -> None:
    if not 0 <= samples <= limit:
        raise ChunkRejected(
            INVALID_CHUNK,
            f"the {name} stream would last longer than {MAX_CHUNK_SECONDS} s; send chunks of 50 to 200 ms",
        )


def _to_bytes(samples: Samples) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


def _reject_continuation(name: str, mark: str) -> NoReturn:
    raise ChunkRejected(
        INVALID_CHUNK,
        f"the payload does not begin a {name} stream ({mark}): every chunk must be a whole {name} stream of "
        "its own, not the continuation of the chunk before it; finish the encoder after each chunk",
    )
