"""Audio files as the records of a recording, as if they had been spoken live into a topic.

A file is a session, named after it. A chunk's timestamp is when its last sample would have been captured, as
with a live microphone; files begin together, or `stagger_seconds` apart.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from connectors.kafka.partitions import partition_for
from connectors.kafka.records import CREATE_TIME, KafkaRecord
from pipeline.audio.audio_file import AudioSource, DeclaredFormat, open_audio_file
from pipeline.audio.playback import chunk_samples
from pipeline.audio.raw_chunks import AVRO, RAW, raw_value
from pipeline.errors import SettingsError
from schemas.serde import SingleObjectSerde

FROM_AUDIO = "--from-audio"


def session_names(files: Sequence[Path]) -> list[str]:
    """A name of each file, without its ending; raises SettingsError when two would have the same."""
    names = [file.stem for file in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SettingsError(FROM_AUDIO, f"two files would be session {twice[0]!r}; rename one")
    return names


def audio_records(
    files: Sequence[Path],
    declared: DeclaredFormat,
    *,
    topic: str,
    partitions: int,
    started_at_ms: int,
    stagger_seconds: float = 0.0,
    settings: dict[str, Any] | None = None,
    chunk_format: str = AVRO,
) -> Iterator[KafkaRecord]:
    """The records of all files in the order of their time, with the offsets they would have in a new topic.

    `partitions`: how many the topic has; sessions go where Kafka's producers would put them. `settings` are
    the first chunk's. Raises SettingsError.
    """
    names = session_names(files)
    opened = [open_audio_file(file, declared) for file in files]
    offsets: Counter[int] = Counter()
    try:
        streams = [
            _chunks(source, name, started_at_ms + round(number * stagger_seconds * 1000), settings)
            for number, (source, name) in enumerate(zip(opened, names, strict=True))
        ]
        serde = SingleObjectSerde("audio_chunk")
        for timestamp_ms, name, chunk in heapq.merge(*streams, key=lambda chunk: chunk[0]):
            value, headers = raw_value(chunk) if chunk_format == RAW else (serde.encode(chunk), ())
            key = name.encode()
            partition = partition_for(key, partitions)
            place = topic, partition, offsets[partition]
            yield KafkaRecord(*place, timestamp_ms, CREATE_TIME, key, value, headers)
            offsets[partition] += 1
    finally:
        for source in opened:
            source.close()


def _chunks(
    source: AudioSource, name: str, started_at_ms: int, settings: dict[str, Any] | None
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Timestamp and session of each chunk, and the chunk as a record of the schema `audio_chunk`."""
    audio = source.format
    sequence = samples = 0
    last = False
    while not last:
        piece = source.piece(sequence)
        if piece is None:
            raise SettingsError(FROM_AUDIO, f"the audio of {name} ends before its time")
        begins_ms = round(audio.seconds(sequence * chunk_samples(audio)) * 1000)
        samples += audio.samples(len(piece.payload))
        last = piece.last
        record = {
            "session_id": name,
            "sequence": sequence,
            "payload": piece.payload,
            "encoding": "PCM",
            "sample_rate_hertz": audio.sample_rate_hertz,
            "channels": audio.channels,
            "captured_at": (started_at_ms + begins_ms) * 1000,
            "media_offset_ms": begins_ms,
            "end_of_session": last,
            "settings": settings if sequence == 0 else None,
        }
        yield started_at_ms + round(audio.seconds(samples) * 1000), name, record
        sequence += 1
