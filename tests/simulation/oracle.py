"""What a session's transcript must say: its ideal audio, heard once, undisturbed, by the service's own ears.

The ideal audio comes from the log by a model that shares nothing with the engine: sort by sequence, drop
duplicates, silence for what is missing where the producer's media_offset_ms tells how long it was, nothing
where it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.elements import MISSING_SEQUENCE, NOT_AVRO, SEQUENCE_RESTARTED, UNDECODABLE, AudioChunk
from tests.simulation.fake_log import Record
from tests.simulation.recogniser import ChannelEar, Word
from tests.simulation.speech import RATE_HERTZ, split


@dataclass(frozen=True, slots=True)
class ExpectedGap:
    """Samples `[start, end)` of the timeline are missing, for one of `reasons`."""

    start: int
    end: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Samples `[start, end)` are the audio of a chunk, whose copies lie at `offsets`."""

    start: int
    end: int
    offsets: tuple[int, ...]


@dataclass(slots=True)
class Expected:
    """`words` by channel, `chunks` with audio, gaps, the timeline's length; `refused`: the error classes of
    the dead letters, by offset."""

    channels: int
    words: list[list[Word]] = field(default_factory=list)
    gaps: list[ExpectedGap] = field(default_factory=list)
    chunks: int = 0
    samples: int = 0
    end_marked: bool = False
    refused: dict[int, str] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)


def expect(records: Iterable[Record], channels: int) -> Expected:
    """What must come of a session whose records these are."""
    records = list(records)
    expected = Expected(channels)
    expected.refused = {r.offset: r.write.refused for r in records if r.write.refused is not None}
    records = [record for record in records if record.write.refused is None]
    ears = [ChannelEar() for _ in range(channels)]
    expected.words = [[] for _ in range(channels)]
    for pcm in _ideal_audio(records, expected):
        for ear, words, mono in zip(ears, expected.words, split(pcm, channels), strict=True):
            for segment in ear.feed(mono):
                words.extend(segment.words)
    for ear, words in zip(ears, expected.words, strict=True):
        for segment in ear.finish():
            words.extend(segment.words)
    return expected


def _ideal_audio(records: list[Record], expected: Expected) -> Iterator[bytes]:
    by_place: dict[tuple[int, int], list[Record]] = {}
    for record in records:
        by_place.setdefault((record.write.epoch, record.write.sequence), []).append(record)
    epoch, due, due_ms = 0, 0, 0
    for (of_epoch, sequence), copies in sorted(by_place.items()):
        chunk = copies[0].entry.chunk
        assert chunk is not None
        if of_epoch != epoch:
            expected.gaps.append(ExpectedGap(expected.samples, expected.samples, (SEQUENCE_RESTARTED,)))
            epoch, due, due_ms = of_epoch, 0, 0
        if sequence != due:
            yield _enter_gap(chunk, due_ms, expected)
        yield chunk.payload
        end = expected.samples + chunk.samples
        expected.spans.append(Span(expected.samples, end, tuple(copy.offset for copy in copies)))
        expected.samples = end
        expected.chunks += chunk.samples > 0
        expected.end_marked = expected.end_marked or chunk.end_of_session
        due = sequence + 1
        due_ms = (chunk.media_offset_ms or 0) + chunk.samples * 1000 // RATE_HERTZ


def _enter_gap(chunk: AudioChunk, due_ms: int, expected: Expected) -> bytes:
    missing = 0 if chunk.media_offset_ms is None else (chunk.media_offset_ms - due_ms) * RATE_HERTZ // 1000
    # Which sequence a bad record had, nobody can tell.
    reasons = (
        (MISSING_SEQUENCE, UNDECODABLE) if NOT_AVRO in expected.refused.values() else (MISSING_SEQUENCE,)
    )
    expected.gaps.append(ExpectedGap(expected.samples, expected.samples + missing, reasons))
    expected.samples += missing
    return bytes(missing * chunk.format.bytes_per_sample)
