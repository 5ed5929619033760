"""What a producer writes, and when: its session's chunks in their order, and everything that goes wrong.

A plan is made before the run. Chunk i is due when its audio has been spoken (at the producer's pace). It may
be written once more within twenty chunks, come up to eight chunks late, so late that nobody waits for it,
never, or as a record that is no chunk. A producer may fall silent for longer than a stream is kept; it does
so between words only, since no engine can join a word that two streams were told halves of.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.elements import AFTER_END_OF_SESSION, LATE_CHUNK, NOT_AVRO, AudioChunk, AudioFormat
from pipeline.errors import ChunkRejected
from tests.simulation.settings import ProducerTrouble
from tests.simulation.speech import RATE_HERTZ

_DUPLICATE_CHUNKS = 20  # a chunk is repeated within so many of its successors
_CLEAN_CHUNKS = 25  # around a restart of the sequence nothing else goes wrong
_REORDER_SHARE = 0.75  # of the engine's reorder wait, in audio and on the clock, is late but in time
_MAX_AFTER_END = 3


@dataclass(frozen=True, slots=True)
class Write:
    """One record: `chunk` is None for one that cannot be decoded.

    What only the producer knows: `epoch` counts how often the sequence has begun again, `refused` is the
    error class of the dead letter that the record must become.
    """

    at: float
    session_id: str
    epoch: int
    sequence: int
    chunk: AudioChunk | None
    rejection: ChunkRejected | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """How a producer sends `pcm`. `end`: "mark" on the last chunk, "empty" chunk with the mark, or "none".

    `even`: all chunks have `chunk_samples`; else they have half as many at least. `reorder_wait_seconds`: so
    much audio behind a missing chunk makes it a gap.
    """

    session_id: str
    format: AudioFormat
    chunk_samples: int
    even: bool
    media_offsets: bool
    pace: float
    start: float
    end: str
    reorder_wait_seconds: float


@dataclass(slots=True)
class _Plan:
    """Indexes of chunks: which are dropped, garbage, late by how many, too late, repeated behind which.

    `surplus`: how many chunks come behind the end.
    """

    dropped: set[int] = field(default_factory=set)
    garbage: set[int] = field(default_factory=set)
    late: dict[int, int] = field(default_factory=dict)
    too_late: set[int] = field(default_factory=set)
    repeated: dict[int, int] = field(default_factory=dict)
    restart: int | None = None
    count: int = 0  # without the surplus
    surplus: int = 0

    def epoch(self, index: int) -> int:
        return int(self.restart is not None and index >= self.restart)


def write_all(rng: random.Random, script: Script, pcm: bytes, trouble: ProducerTrouble) -> list[Write]:
    """The records of a session in the order of their writing."""
    parts = _cut(rng, script, pcm)
    plan = _plan(rng, script, parts, trouble)
    due, paused = _times(rng, script, parts, plan, trouble)
    _delay(rng, script, plan, due, paused, trouble)
    _delay_too_long(rng, script, plan, parts, trouble)
    if plan.surplus:
        plan.late.pop(plan.count - 1, None)  # an end mark without audio would be taken for a number left out
    parts += [_surplus_part(script)] * plan.surplus
    due += [due[-1] + 0.3 * number for number in range(1, plan.surplus + 1)]
    chunks = list(_chunks(script, parts, plan))
    keyed: list[tuple[float, int]] = []  # (place among the chunks, index)
    for index in range(len(parts)):
        if index not in plan.dropped:
            keyed.append((index + plan.late.get(index, 0) + (0.3 if index in plan.late else 0.0), index))
        if index in plan.repeated:
            keyed.append((max(plan.repeated[index], plan.late.get(index, 0)) + index + 0.6, index))
    keyed.sort()
    return [
        _write(script, plan, chunks[index], index, due[min(int(place), len(due) - 1)])
        for place, index in keyed
    ]


def _cut(rng: random.Random, script: Script, pcm: bytes) -> list[bytes]:
    """The audio of each chunk. None of them is so short that its absence could be taken for jitter."""
    width, most = script.format.bytes_per_sample, script.chunk_samples
    parts, at = [], 0
    while at < len(pcm):
        size = width * (most if script.even else rng.randint(most // 2, most))
        parts.append(pcm[at : at + size])
        at += size
    if len(parts) > 1 and len(parts[-1]) < width * most // 2:
        parts[-2:] = [parts[-2] + parts[-1]]
    if script.end == "empty":
        parts.append(b"")
    return parts


def _surplus_part(script: Script) -> bytes:
    """Audio for a chunk that should not be."""
    return b"\1\1" * (script.chunk_samples * script.format.channels)


def _plan(rng: random.Random, script: Script, parts: list[bytes], trouble: ProducerTrouble) -> _Plan:
    count = len(parts)
    plan = _Plan(count=count)
    if rng.random() < trouble.restart_share:
        # A chunk 0 that equals the first one would be a repetition of it.
        places = [index for index in range(1, count - 1) if parts[index] != parts[0]]
        plan.restart = rng.choice(places) if places else None
    # Before a sequence begins again its first 0 must have come: the next could not be told from a late one.
    first = 0 if trouble.head and plan.restart is None else 1
    for index in range(first, count):
        if not _is_clean(plan, index):
            _trouble_chunk(rng, plan, index, count, trouble)
    if len(plan.dropped) == count:
        plan.dropped.discard(count - 1)
    ends = script.end != "none" and count - 1 not in plan.dropped | plan.garbage
    if ends and rng.random() < trouble.surplus_share:
        plan.surplus = rng.randint(1, _MAX_AFTER_END)
    return plan


def _is_clean(plan: _Plan, index: int) -> bool:
    return plan.restart is not None and abs(index - plan.restart) <= _CLEAN_CHUNKS


def _trouble_chunk(rng: random.Random, plan: _Plan, index: int, count: int, trouble: ProducerTrouble) -> None:
    drawn = rng.random()
    if drawn < trouble.drop_share:
        long = rng.random() < trouble.long_drop_share
        hole = range(index, index + (rng.randint(10, 40) if long else rng.randint(*trouble.drop_chunks)))
        plan.dropped.update(i for i in hole if i < count and not _is_clean(plan, i))
    elif index not in plan.dropped and drawn < trouble.drop_share + trouble.garbage_share:
        plan.garbage.add(index)
    elif index not in plan.dropped and drawn > 1.0 - trouble.duplicate_share:
        plan.repeated[index] = rng.randint(0, _DUPLICATE_CHUNKS)


def _times(
    rng: random.Random, script: Script, parts: list[bytes], plan: _Plan, trouble: ProducerTrouble
) -> tuple[list[float], list[int]]:
    """When each chunk is due, and the indexes before which the producer pauses."""
    at, due, paused, before = script.start, [], [], b""
    for index, part in enumerate(parts):
        at += script.pace * len(part) / script.format.bytes_per_sample / RATE_HERTZ
        if index not in plan.dropped and part:
            quiet = before and between_words(before, part, script.format.channels)
            if quiet and rng.random() < trouble.pause_share:
                at += rng.uniform(4.5, 9.0)
                paused.append(index)
            before = part
        due.append(at)
    return due, paused


def between_words(before: bytes, after: bytes, channels: int) -> bool:
    """Whether no word goes on from the chunk `before` to the chunk `after`, on any channel."""
    pairs = ((before[2 * c - 2 * channels], after[2 * c]) for c in range(channels))
    return all(old == 0 or old != new for old, new in pairs)


def _delay(
    rng: random.Random,
    script: Script,
    plan: _Plan,
    due: list[float],
    paused: list[int],
    trouble: ProducerTrouble,
) -> None:
    """Let chunks be late: never over a pause, never for longer than the engine waits."""
    wait_seconds = _REORDER_SHARE * script.reorder_wait_seconds
    for index in range(0 if trouble.head else 1, len(due)):
        if index in plan.dropped or _is_clean(plan, index) or rng.random() >= trouble.reorder_share:
            continue
        furthest = min(trouble.reorder_chunks, int(wait_seconds * RATE_HERTZ / script.chunk_samples))
        late = rng.randint(1, max(1, furthest))
        over_pause = bisect_right(paused, index + late) > bisect_right(paused, index)
        waits_seconds = due[min(index + late, len(due) - 1)] - due[index]
        if not over_pause and waits_seconds <= wait_seconds and not _is_clean(plan, index + late):
            plan.late[index] = late


def _delay_too_long(
    rng: random.Random, script: Script, plan: _Plan, parts: list[bytes], trouble: ProducerTrouble
) -> None:
    """Let chunks be so late that more audio than the engine waits for comes before them, for certain."""
    if plan.restart is not None:
        return
    touched = plan.dropped | plan.garbage | set(plan.late) | set(plan.repeated)
    enough = round((script.reorder_wait_seconds + 1.0) * RATE_HERTZ) * script.format.bytes_per_sample
    for index in range(1, len(parts) - 1):  # a chunk 0 so late could be a restart as well
        if index in touched or rng.random() >= trouble.too_late_share:
            continue
        behind, last = 0, index
        while behind < enough and last < len(parts) - 1:
            last += 1
            behind += 0 if last in touched or last in plan.too_late else len(parts[last])
        if behind >= enough:
            plan.late[index] = last - index
            plan.too_late.add(index)


def _chunks(script: Script, parts: list[bytes], plan: _Plan) -> Iterator[AudioChunk]:
    sample, first = 0, 0
    for index, part in enumerate(parts):
        if index == plan.restart:
            sample, first = 0, index
        yield AudioChunk(
            script.session_id,
            index - first,
            part,
            script.format,
            media_offset_ms=sample * 1000 // RATE_HERTZ if script.media_offsets else None,
            end_of_session=script.end != "none" and index == plan.count - 1,
        )
        sample += len(part) // script.format.bytes_per_sample


def _write(script: Script, plan: _Plan, chunk: AudioChunk, index: int, at: float) -> Write:
    place = (at, script.session_id, plan.epoch(index), chunk.sequence)
    if index in plan.garbage:
        return Write(*place, None, ChunkRejected(NOT_AVRO, "garbage of the simulation"), NOT_AVRO)
    refused = LATE_CHUNK if index in plan.too_late else None
    return Write(*place, chunk, refused=AFTER_END_OF_SESSION if index >= plan.count else refused)
