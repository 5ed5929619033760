"""A made-up session of two speakers, for tests of whoever reads finals. No real person spoke."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.transcribe.model import MedicalAlternative, MedicalItem
from pipeline.elements import (
    LOST_OFFSETS,
    MISSING_SEQUENCE,
    FinalTranscript,
    Gap,
    SessionSettings,
    SessionSummary,
    SourceRange,
)
from pipeline.output.output_values import SessionEnded
from pipeline.output.transcripts import SessionTranscript, Transcripts

SOURCE = SourceRange("audio", 0, 0, 99)


def items_of(
    text: str, start: float, *, speaker: str | None = None, confidence: float = 0.95, step: float = 0.4
) -> tuple[MedicalItem, ...]:
    """Words and punctuation of `text`, a word every `step` seconds."""
    items: list[MedicalItem] = []
    for word in text.split():
        bare = word.rstrip(".,?")
        items.append(
            MedicalItem(
                round(start, 2), round(start + step, 2), "pronunciation", bare, confidence, speaker=speaker
            )
        )
        start += step
        if bare != word:
            items.append(MedicalItem(round(start, 2), round(start, 2), "punctuation", word[len(bare) :]))
    return tuple(items)


def a_final(
    index: int,
    text: str,
    start: float,
    *,
    session_id: str = "session-1",
    channel: str | None = None,
    items: Sequence[MedicalItem] | None = None,
) -> FinalTranscript:
    """A final that says `text` from `start` on."""
    items = tuple(items) if items is not None else items_of(text, start)
    return FinalTranscript(
        session_id=session_id,
        result_id=f"result-{index}",
        segment_index=index,
        channel_id=channel,
        start_time=start,
        end_time=items[-1].end_time if items else start,
        alternatives=(MedicalAlternative(text, items),),
        settings=SessionSettings(),
        sample_rate_hertz=16_000,
        source=SOURCE,
        stream_id="stream-1",
        started_at_ms=1_772_348_400_000,
    )


def an_end(segments: int, *, session_id: str = "session-1", gaps: Sequence[Gap] = ()) -> SessionEnded:
    """The end of a session of so many segments, 40 s long."""
    summary = SessionSummary(session_id, "END_OF_SESSION", segments, 400, 40.0, tuple(gaps), 1, 0, SOURCE)
    return SessionEnded(summary, 1_772_348_440_000)


def a_session() -> SessionTranscript:
    """Two speakers on one channel, another channel, unsure words, markup in the text, and two gaps."""
    turn = (
        *items_of("Good morning, how is the knee?", 0.5, speaker="0"),
        MedicalItem(3.1, 3.1, "speaker-change", ""),
        *items_of("Better <since> Monday & less swollen.", 3.2, speaker="1", confidence=0.41),
    )
    text = "Good morning, how is the knee? Better <since> Monday & less swollen."
    events = [
        a_final(0, text, 0.5, channel="ch_0", items=turn),
        a_final(1, "Please note the range of motion.", 4.0, channel="ch_1"),
        a_final(2, "Flexion is one hundred and ten degrees.", 33.25, channel="ch_0"),
        an_end(3, gaps=[Gap(12.0, 30.0, MISSING_SEQUENCE), Gap(38.0, 38.0, LOST_OFFSETS)]),
    ]
    return next(iter(Transcripts(events)))
