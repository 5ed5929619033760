"""Segments as people speak: turns of one voice, and cues short enough to be read as captions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from connectors.transcribe.model import ITEM_PRONUNCIATION, ITEM_PUNCTUATION, MedicalItem
from pipeline.elements import FinalTranscript
from pipeline.engine.reassembly import join_items
from pipeline.output.transcript_text import turns
from pipeline.output.transcripts import SessionTranscript

MAX_CUE_CHARS = 84
"""Two lines of 42 characters, what makers of subtitles agree on."""
MAX_CUE_MS = 7_000
MIN_CUE_MS = 1_000
"""Shorter ones are shown for so long, if nothing follows."""
_SENTENCE_ENDS = (".", "?", "!")


@dataclass(frozen=True, slots=True)
class Voice:
    """Who is heard, as far as the service tells voices apart; neither is a name."""

    channel_id: str | None = None
    speaker: str | None = None

    @property
    def label(self) -> str:
        """`ch_0`, `Speaker 1`, `ch_0, Speaker 1`, or nothing."""
        parts = [
            *([clean(self.channel_id)] if self.channel_id else []),
            *([f"Speaker {clean(self.speaker)}"] if self.speaker else []),
        ]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one voice says within one segment. `items` are words and punctuation; none where the service
    gave only the text.
    """

    segment_index: int
    voice: Voice
    start_time: float
    end_time: float
    text: str = field(repr=False)
    items: tuple[MedicalItem, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cue:
    """A caption, milliseconds on the session's timeline; `name` is unique within the session."""

    name: str
    voice: Voice
    start_ms: int
    end_ms: int
    text: str = field(repr=False)


def turns_of(session: SessionTranscript) -> list[Turn]:
    """Every turn of the session, by its start."""
    found = [turn for final in session.in_time_order for turn in _turns_of(final)]
    return sorted(found, key=lambda turn: (turn.start_time, turn.segment_index))


def _turns_of(final: FinalTranscript) -> Iterator[Turn]:
    if not final.alternatives:
        return
    best = final.alternatives[0]
    spoken = tuple(item for item in best.items if item.content)
    if not spoken:
        if clean(best.transcript):
            yield Turn(
                final.segment_index,
                Voice(final.channel_id),
                final.start_time,
                final.end_time,
                clean(best.transcript),
                (),
            )
        return
    for speaker, items in turns(spoken):
        voice = Voice(final.channel_id, speaker or None)
        start, end = items[0].start_time, max(item.end_time for item in items)
        yield Turn(final.segment_index, voice, start, end, clean(join_items(items)), items)


def cues_of(session: SessionTranscript) -> list[Cue]:
    """The session's cues by start; those of one voice do not overlap, each lasts a millisecond at least."""
    cues = [cue for turn in turns_of(session) for cue in _cues_of(turn)]
    placed: list[Cue] = []
    ends: dict[Voice, int] = {}
    for cue in sorted(cues, key=lambda cue: cue.start_ms):
        start = max(cue.start_ms, ends.get(cue.voice, 0))
        ends[cue.voice] = end = max(cue.end_ms, start + 1)
        placed.append(replace(cue, start_ms=start, end_ms=end))
    placed.sort(key=lambda cue: cue.start_ms)
    numbered: dict[int, int] = {}
    return [_named(cue, numbered) for cue in _lengthened(placed)]


def _named(cue: Cue, numbered: dict[int, int]) -> Cue:
    """`SEGMENT.NUMBER`, counted within the segment."""
    segment = int(cue.name)
    numbered[segment] = numbered.get(segment, -1) + 1
    return replace(cue, name=f"{segment}.{numbered[segment]}")


def _lengthened(cues: Sequence[Cue]) -> list[Cue]:
    """A word of a moment stays until it can be read, or until the next cue."""
    nexts = [cue.start_ms for cue in cues[1:]]
    limits: list[int | None] = [*nexts, None]
    return [
        replace(cue, end_ms=max(cue.end_ms, wanted if limit is None else min(wanted, limit)))
        for cue, limit in zip(cues, limits, strict=False)
        for wanted in (cue.start_ms + MIN_CUE_MS,)
    ]


def _cues_of(turn: Turn) -> Iterator[Cue]:
    if not turn.items:
        yield _cue(turn, turn.start_time, turn.end_time, turn.text)
        return
    for items in _readable(turn.items):
        text = clean(join_items(items))
        if text:
            yield _cue(turn, items[0].start_time, max(item.end_time for item in items), text)


def _cue(turn: Turn, start: float, end: float, text: str) -> Cue:
    return Cue(str(turn.segment_index), turn.voice, milliseconds(start), milliseconds(end), text)


def _readable(items: Iterable[MedicalItem]) -> Iterator[tuple[MedicalItem, ...]]:
    """Stretches of words that fit a caption; they end with a sentence if they can."""
    cue: list[MedicalItem] = []
    for item in items:
        if item.type != ITEM_PUNCTUATION and cue and not _fits(cue, item):
            yield tuple(cue)
            cue = []
        cue.append(item)
    if cue:
        yield tuple(cue)


def _fits(cue: Sequence[MedicalItem], word: MedicalItem) -> bool:
    text = join_items((*cue, word))
    if len(text) > MAX_CUE_CHARS or milliseconds(word.end_time - cue[0].start_time) > MAX_CUE_MS:
        return False
    return not (cue[-1].content.endswith(_SENTENCE_ENDS) and len(text) > MAX_CUE_CHARS // 2)


def is_word(item: MedicalItem) -> bool:
    """Whether it was pronounced."""
    return item.type == ITEM_PRONUNCIATION


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, never before the session's start."""
    return max(0, round(seconds * 1000))


def clean(text: str) -> str:
    """`text` on one line, without characters that are not to be seen."""
    visible = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(visible.split())
