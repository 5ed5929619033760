"""One session's audio out of a recording, as a WAV or FLAC file.

Chunks are put in order within a window; repeated ones are left out. Where one is missing and
`media_offset_ms` tells how long, there is silence instead, so that the file keeps the session's timeline.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.kafka.records import KafkaRecord
from pipeline.audio.decoding import ChunkDecoder
from pipeline.audio.raw_chunks import AVRO
from pipeline.elements import AudioChunk, AudioFormat
from pipeline.errors import ChunkRejected, SettingsError

EXPORT = "--export-audio"
_WINDOW_CHUNKS = 256
_MAX_SILENCE_SECONDS = 24 * 3600
_FORMATS = {".wav": "WAV", ".flac": "FLAC"}


@dataclass(frozen=True, slots=True)
class ExportedAudio:
    """What was written; `skipped_records` are none of a chunk that could be decoded."""

    audio: AudioFormat
    seconds: float
    silence_seconds: float
    skipped_records: int


def export_audio(
    records: Iterable[KafkaRecord], session: str, path: Path, chunk_format: str = AVRO
) -> ExportedAudio:
    """Write the session's audio to `path`, which says by its ending whether WAV or FLAC; 16 bits.

    The file appears when it is complete. Raises SettingsError, and what reading the records raises.
    """
    container = _FORMATS.get(path.suffix.lower())
    if container is None:
        raise SettingsError("--output", f"{path.name} ends neither in .wav nor in .flac")
    chunks = _Chunks((record for record in records if record.key == session.encode()), chunk_format)
    in_order = iter(chunks)
    first = next(in_order, None)
    if first is None:
        raise SettingsError(
            EXPORT, f"no audio of session {session!r} is in the recording; medstream inspect lists them"
        )
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch(mode=0o600)  # patient data
        samples, silence = _write(partial, container, first, in_order)
        partial.replace(path)
    except OSError as error:
        raise SettingsError("--output", f"{path} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
    audio = first.format
    return ExportedAudio(audio, audio.seconds(samples), audio.seconds(silence), chunks.skipped)


def _write(path: Path, container: str, first: AudioChunk, rest: Iterator[AudioChunk]) -> tuple[int, int]:
    """Samples written, and how many of them are silence in place of missing chunks."""
    import soundfile  # with numpy a tenth of a second

    audio, samples, silence = first.format, 0, 0
    begins_ms = first.media_offset_ms
    layout = {"samplerate": audio.sample_rate_hertz, "channels": audio.channels}
    with (
        path.open("wb") as file,
        soundfile.SoundFile(file, "w", format=container, subtype="PCM_16", **layout) as sound,
    ):
        chunk: AudioChunk | None = first
        while chunk is not None:
            if chunk.format != audio:
                raise SettingsError(
                    EXPORT, "the session changes its sample rate or channels; no one file can hold it"
                )
            if chunk.media_offset_ms is not None and begins_ms is not None:
                place = (chunk.media_offset_ms - begins_ms) * audio.sample_rate_hertz // 1000
                missing = min(place - samples, _MAX_SILENCE_SECONDS * audio.sample_rate_hertz)
                if missing > audio.sample_rate_hertz // 1000:  # more than milliseconds can err
                    sound.buffer_write(bytes(missing * audio.bytes_per_sample), dtype="int16")
                    samples, silence = samples + missing, silence + missing
            sound.buffer_write(chunk.payload, dtype="int16")
            samples += chunk.samples
            chunk = next(rest, None)
    return samples, silence


class _Chunks:
    """The chunks of one session's records in order, each once."""

    def __init__(self, records: Iterable[KafkaRecord], chunk_format: str) -> None:
        self._records = records
        self._decoder = ChunkDecoder(chunk_format=chunk_format)
        self.skipped = 0

    def __iter__(self) -> Iterator[AudioChunk]:
        window: list[tuple[int, int, AudioChunk]] = []
        given = -1
        for place, record in enumerate(self._records):
            try:
                chunk = self._decoder.decode(record)
            except ChunkRejected:
                self.skipped += 1
                continue
            heapq.heappush(window, (chunk.sequence, place, chunk))
            while window and (window[0][0] <= given + 1 or len(window) > _WINDOW_CHUNKS):
                sequence, _, chunk = heapq.heappop(window)
                if sequence > given:
                    given = sequence
                    yield chunk
        while window:
            sequence, _, chunk = heapq.heappop(window)
            if sequence > given:
                given = sequence
                yield chunk
