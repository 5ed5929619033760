"""Sessions as JSON for the page. Pure.

`show_text` False leaves out every word, and what would tell something of words: single words' times, which
are their lengths. What stays is what `medstream consume` prints without `--show-text` (places of segments on
the timeline, counts) and the mean confidence of a segment.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from connectors.transcribe.model import ITEM_SPEAKER_CHANGE, MedicalItem
from pipeline.elements import PartialTranscript
from pipeline.export.speech import clean, is_word
from pipeline.watch.board import Board
from pipeline.watch.values import Latency, Segment, WatchedSession

WORD, MARK = 1, 0


def board_view(board: Board, since: int | None, *, show_text: bool) -> dict[str, Any] | None:
    """What has changed since version `since`; None if nothing has. Everything (`full`) without `since`, or
    where it is too long ago to say which sessions have gone.
    """
    if since == board.version:
        return None
    full = since is None or since > board.version or _too_old(board, since)
    start = 0 if full or since is None else since
    sessions = [
        session_view(session, start, show_text=show_text) for session in board if session.version > start
    ]
    return {
        "version": board.version,
        "full": full,
        "sessions": sessions,
        "gone": [] if full else [name for version, name in board.forgotten if version > start],
        "median": _rounded(board.median_latency_seconds),
        "unsure": board.limits.low_confidence,
    }


def _too_old(board: Board, since: int) -> bool:
    """Whether a session may have gone without being listed any more."""
    forgotten = board.forgotten
    return len(forgotten) == forgotten.maxlen and forgotten[0][0] > since


def session_view(session: WatchedSession, since: int, *, show_text: bool) -> dict[str, Any]:
    """The session's facts and its partials, and of its segments those newer than version `since`."""
    segments = sorted(session.segments.items())
    return {
        "id": session.session_id,
        "number": session.number,
        "life": session.life,
        "state": session.state.value,
        "reason": session.reason,
        "finals": session.finals,
        "words": session.words,
        "low": session.low_confidence,
        "missing": session.missing,
        "gaps": [[_rounded(gap.start_time), _rounded(gap.end_time), gap.reason] for gap in session.gaps],
        "until": _rounded(session.heard_until),
        "zero": session.zero_ms,
        "latency": latency_view(session.latency),
        "first": segments[0][0] if segments else None,
        "segments": [
            segment_view(found, show_text=show_text) for _, found in segments if found.version > since
        ],
        "partials": [partial_view(found, show_text=show_text) for found in session.partials.values()],
    }


def latency_view(latency: Latency | None) -> dict[str, float | None] | None:
    """Seconds, to the millisecond."""
    if latency is None:
        return None
    return {"published": _rounded(latency.since_published), "spoken": _rounded(latency.since_spoken)}


def segment_view(segment: Segment, *, show_text: bool) -> dict[str, Any]:
    """A final; `items` are [text, WORD or MARK, start, end, confidence, speaker] of the best reading."""
    final = segment.final
    items = final.alternatives[0].items if final.alternatives else ()
    view: dict[str, Any] = {
        "index": final.segment_index,
        "start": _rounded(final.start_time),
        "end": _rounded(final.end_time),
        "channel": None if final.channel_id is None else clean(final.channel_id),
        "speakers": speakers_of(items),
        "words": segment.words,
        "low": segment.low_confidence,
        "confidence": None if segment.confidence is None else round(segment.confidence, 2),
    }
    if show_text:
        spoken = [_item_view(item) for item in items if item.type != ITEM_SPEAKER_CHANGE and item.content]
        whole = [clean(final.text), WORD, view["start"], view["end"], None, None]
        view["items"] = spoken or ([whole] if whole[0] else [])
    return view


def partial_view(partial: PartialTranscript, *, show_text: bool) -> dict[str, Any]:
    """What is heard so far."""
    view: dict[str, Any] = {
        "id": partial.result_id,
        "start": _rounded(partial.start_time),
        "end": _rounded(partial.end_time),
        "channel": None if partial.channel_id is None else clean(partial.channel_id),
        "words": words_of_partial(partial),
    }
    if show_text:
        view["text"] = text_of_partial(partial)
    return view


def text_of_partial(partial: PartialTranscript) -> str:
    """What was heard so far, on one line."""
    return clean(partial.alternatives[0].transcript) if partial.alternatives else ""


def words_of_partial(partial: PartialTranscript) -> int:
    """Words heard so far."""
    if not partial.alternatives:
        return 0
    best = partial.alternatives[0]
    return sum(map(is_word, best.items)) or len(best.transcript.split())


def speakers_of(items: Iterable[MedicalItem]) -> list[str]:
    """Labels of the speakers, as they come."""
    return list(dict.fromkeys(clean(item.speaker) for item in items if item.speaker))


def _item_view(item: MedicalItem) -> list[Any]:
    kind = WORD if is_word(item) else MARK
    confidence = None if item.confidence is None else round(item.confidence, 2)
    speaker = None if item.speaker is None else clean(item.speaker)
    return [
        clean(item.content),
        kind,
        _rounded(item.start_time),
        _rounded(item.end_time),
        confidence,
        speaker,
    ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
