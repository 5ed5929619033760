"""Audio and encoders for tests: chunks as producers would encode them, by libsndfile. All is synthetic.

PCM is interleaved s16le bytes, samples are int16 arrays of shape (samples, channels).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.int16]

_SOUNDFILE = {
    "FLAC": {"format": "FLAC", "subtype": "PCM_16"},
    "OGG_OPUS": {"format": "OGG", "subtype": "OPUS"},
    "MULAW": {"format": "RAW", "subtype": "ULAW"},
    "ALAW": {"format": "RAW", "subtype": "ALAW"},
}


def samples_of(pcm: bytes, channels: int = 1) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.int16).reshape(-1, channels)


def encode(pcm: bytes, encoding: str, rate: int, channels: int = 1) -> bytes:
    """A chunk's payload: `pcm` alone, as a whole stream of `encoding`."""
    if encoding == "PCM":
        return pcm
    payload = io.BytesIO()
    soundfile.write(payload, samples_of(pcm, channels), rate, **_SOUNDFILE[encoding])
    return payload.getvalue()


def tone(hertz: float, samples: int, rate: int, amplitude: int = 8000) -> bytes:
    """A sine, one channel."""
    wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)
    return wave.astype("<i2").tobytes()


def interleaved(*channels: bytes) -> bytes:
    """One PCM of many channels from one PCM for each of them."""
    return np.hstack([samples_of(channel) for channel in channels]).astype("<i2").tobytes()


def with_total_samples(flac: bytes, total: int) -> bytes:
    """A FLAC stream that says it has `total` samples (0: unknown, as encoders write into a pipe)."""
    fields = int.from_bytes(flac[18:26], "big") >> 36 << 36 | total
    return flac[:18] + fields.to_bytes(8, "big") + flac[26:]


def ogg_pages(ogg: bytes) -> list[bytearray]:
    """The pages of an Ogg stream."""
    pages = []
    while ogg:
        body = 27 + ogg[26]
        size = body + sum(ogg[27:body])
        pages.append(bytearray(ogg[:size]))
        ogg = ogg[size:]
    return pages


def ogg_stream(pages: Iterable[bytearray]) -> bytes:
    """Pages as a stream, each with the checksum that its bytes have now."""
    return b"".join(_sealed(page) for page in pages)


def _sealed(page: bytearray) -> bytes:
    page = bytearray(page)
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", _ogg_crc(page))
    return bytes(page)


def _ogg_crc(page: bytes) -> int:
    """Bit by bit as RFC 3533 has it."""
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)
            register &= 0xFFFFFFFF
    return register
