"""Order and duplicates by the producer's `sequence`.

A session lives on one partition, so most of its chunks arrive as they were made. What a producer's retry
wrote twice is recognised by its sequence and its audio; a chunk that comes before its predecessors is held
back until they have come or are given up (`feed` decides when). A sequence that was used with other audio, or
0 once more, tells that the producer has begun again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from zlib import crc32

from pipeline.elements import AudioChunk
from pipeline.engine.chunk_memory import ChunkMemory
from pipeline.engine.timeline import Position

_REMEMBERED_CHUNKS = 512  # a producer's retry repeats a chunk within its request timeout
_REMEMBERED_IN_CURSOR = 32
_REMEMBERED_HOLES = 8


class Verdict(Enum):
    """What a chunk's sequence says of it."""

    NEXT = auto()
    AHEAD = auto()  # chunks before it are missing
    DUPLICATE = auto()
    LATE = auto()  # the hole it belongs into was given up, or it is older than what is remembered
    REUSED = auto()  # a chunk of that sequence, with other audio, is held
    RESTART = auto()  # the producer counts from the beginning again


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk that waits for its predecessors since `since` (monotonic, seconds)."""

    offset: int
    chunk: AudioChunk
    since: float


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """CRC-32 of the audio that a sequence was used for."""

    sequence: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Sequences [from_sequence, to_sequence) that were given up."""

    from_sequence: int
    to_sequence: int


class Resequencer:
    """Judges chunks and holds those that come too early; see the module.

    Begins with what a cursor remembers of its own epoch, `epoch`.
    """

    def __init__(
        self, epoch: int = 0, fingerprints: Iterable[Fingerprint] = (), holes: Iterable[Hole] = ()
    ) -> None:
        self._held: dict[int, Held] = {}
        self._held_samples = 0
        self._seen = ChunkMemory(_REMEMBERED_CHUNKS)
        for fingerprint in fingerprints:  # the oldest first
            self._seen.add(epoch, fingerprint.sequence, fingerprint.crc32)
        self._holes = deque(((epoch, hole) for hole in holes), maxlen=_REMEMBERED_HOLES)

    def judge(self, chunk: AudioChunk, expected: Position) -> Verdict:
        """Compare a chunk with what should come next."""
        sequence = chunk.sequence
        if sequence >= expected.sequence:
            if sequence in self._held:
                same = crc32(self._held[sequence].chunk.payload) == crc32(chunk.payload)
                return Verdict.DUPLICATE if same else Verdict.REUSED
            return Verdict.NEXT if sequence == expected.sequence else Verdict.AHEAD
        known = self._seen.crc_of(expected.epoch, sequence)
        if known == crc32(chunk.payload):
            return Verdict.DUPLICATE
        given_up = any(
            epoch == expected.epoch
            and hole.from_sequence <= sequence < hole.to_sequence
            and expected.sequence - hole.to_sequence <= _REMEMBERED_CHUNKS
            for epoch, hole in self._holes
        )
        if not given_up and (known is not None or sequence == 0):
            return Verdict.RESTART
        return Verdict.LATE

    def remember(self, chunk: AudioChunk, epoch: int) -> None:
        """The chunk has been put on the timeline."""
        self._seen.add(epoch, chunk.sequence, crc32(chunk.payload))

    def give_up(self, epoch: int, from_sequence: int, to_sequence: int) -> None:
        """What comes of these sequences from now on is late."""
        self._holes.append((epoch, Hole(from_sequence, to_sequence)))

    # Chunks that came too early

    def hold(self, offset: int, chunk: AudioChunk, now: float) -> None:
        """Keep a chunk that is AHEAD."""
        self._held[chunk.sequence] = Held(offset, chunk, now)
        self._held_samples += chunk.samples

    def release(self, sequence: int) -> Held | None:
        """The held chunk of that sequence, which is held no more."""
        held = self._held.pop(sequence, None)
        if held is not None:
            self._held_samples -= held.chunk.samples
        return held

    def release_all(self) -> list[Held]:
        """Everything held, by sequence."""
        released = [self._held[sequence] for sequence in sorted(self._held)]
        self._held, self._held_samples = {}, 0
        return released

    @property
    def first(self) -> Held | None:
        """The held chunk with the lowest sequence: the next hole lies before it."""
        return self._held[min(self._held)] if self._held else None

    @property
    def waits_since(self) -> float | None:
        """Since when the first hole is known; None: nothing is held."""
        return min(held.since for held in self._held.values()) if self._held else None

    @property
    def held_samples(self) -> int:
        """Samples per channel of the chunks held."""
        return self._held_samples

    @property
    def held_offsets(self) -> list[int]:
        """Offsets of the records held."""
        return [held.offset for held in self._held.values()] if self._held else []

    # What the cursor keeps

    def fingerprints(self, epoch: int, before_sequence: int) -> tuple[Fingerprint, ...]:
        """The last chunks of the epoch before that sequence."""
        newest = self._seen.newest(epoch, before_sequence, _REMEMBERED_IN_CURSOR)
        return tuple(Fingerprint(sequence, crc) for sequence, crc in newest)

    def holes(self, epoch: int, before_sequence: int) -> tuple[Hole, ...]:
        """The holes of the epoch that were given up before that sequence."""
        return tuple(
            hole
            for of_epoch, hole in self._holes
            if of_epoch == epoch and hole.from_sequence < before_sequence
        )
