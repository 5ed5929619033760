"""Events of a board as lines: text for people, JSON for programs. Pure.

Without `show_text` a line has counts in place of words, as in `medstream consume`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors.transcribe.model import MedicalItem
from pipeline.elements import FinalTranscript
from pipeline.engine.reassembly import join_items
from pipeline.export.speech import is_word
from pipeline.output.transcript_text import counted, final_lines_of_session
from pipeline.watch.values import BoardEvent, FinalSeen, Latency, PartialSeen, PartialWithdrawn, StateChanged
from pipeline.watch.views import (
    latency_view,
    partial_view,
    segment_view,
    text_of_partial,
)

UNSURE = "(?)"
"""Behind a word of low confidence."""


def event_lines(event: BoardEvent, *, show_text: bool, low_below: float) -> Iterator[str]:
    """A line for each turn of a final and for each change of state; none for partials."""
    match event:
        case FinalSeen():
            final = _marked(event.segment.final, low_below) if show_text else event.segment.final
            age = "" if event.latency is None else f"  {latency_text(event.latency)}"
            lines = final_lines_of_session(final, show_text=show_text, revised=event.revised)
            yield from lines[:-1]
            yield from (f"{line}{age}" for line in lines[-1:])
        case StateChanged():
            yield f"{_plain(event.session_id)}  {state_text(event)}"


def state_text(event: StateChanged) -> str:
    """The state in words."""
    reason = f", {event.reason}" if event.reason else ""
    missing = f", {counted(event.missing, 'final', 'finals')} not seen" if event.missing else ""
    return f"{event.state}{reason}{missing}"


def latency_text(latency: Latency) -> str:
    """One figure and what it is measured from."""
    if latency.since_spoken is None:
        return f"({latency.since_published:.1f} s after its publication)"
    return f"({latency.since_spoken:.1f} s after it was spoken)"


def event_json(event: BoardEvent, now: float, *, show_text: bool) -> str:
    """One JSON object; `at` is the time of arrival, ISO 8601."""
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {"session_id": event.session_id, "at": at}
    match event:
        case FinalSeen():
            name, more = "final", _final_fields(event, show_text=show_text)
        case PartialSeen():
            name, more = "partial", _partial_fields(event, show_text=show_text)
        case PartialWithdrawn():
            name, more = "withdrawn", {"result_id": event.result_id}
        case StateChanged():
            name = "state"
            more = {"state": event.state, "reason": event.reason, "missing_finals": event.missing}
    return json.dumps({"event": name, **fields, **more}, ensure_ascii=False)


def _final_fields(event: FinalSeen, *, show_text: bool) -> dict[str, Any]:
    final = event.segment.final
    view = segment_view(event.segment, show_text=False)
    fields = {
        "segment_index": final.segment_index,
        "result_id": final.result_id,
        "revised": event.revised,
        "channel_id": final.channel_id,
        "speakers": view["speakers"],
        "start_time": final.start_time,
        "end_time": final.end_time,
        "words": view["words"],
        "low_confidence_words": view["low"],
        "confidence": view["confidence"],
        "latency_seconds": latency_view(event.latency),
    }
    return fields | ({"text": final.text} if show_text else {"masked": True})


def _partial_fields(event: PartialSeen, *, show_text: bool) -> dict[str, Any]:
    partial = event.partial
    fields = {
        "result_id": partial.result_id,
        "channel_id": partial.channel_id,
        "start_time": partial.start_time,
        "end_time": partial.end_time,
        "words": partial_view(partial, show_text=False)["words"],
        "latency_seconds": latency_view(event.latency),
    }
    return fields | ({"text": text_of_partial(partial)} if show_text else {"masked": True})


def is_unsure(item: MedicalItem, low_below: float) -> bool:
    """Whether it is a word that the service is not sure of."""
    return is_word(item) and item.confidence is not None and item.confidence < low_below


def _marked(final: FinalTranscript, low_below: float) -> FinalTranscript:
    """The final with `(?)` behind each word of low confidence."""
    if not final.alternatives:
        return final
    best = final.alternatives[0]
    items = tuple(
        replace(item, content=f"{item.content}{UNSURE}") if is_unsure(item, low_below) else item
        for item in best.items
    )
    if items == best.items:
        return final
    return replace(final, alternatives=(replace(best, items=items, transcript=join_items(items)),))


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
