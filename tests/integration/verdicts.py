"""What must hold of a job's outputs, and of what the endpoint saw, whatever went wrong meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import pytest

from tests.integration.harness import Job, Session, words_of

_NEAR_SECONDS = 6.0


def assert_complete(job: Job, sessions: Sequence[Session]) -> None:
    """Every word once, in order, at its time on the session's timeline; every segment_index present."""
    for session in sessions:
        finals = job.outputs.finals_of(session.id)
        assert [final["segment_index"] for final in finals] == list(range(len(finals)))
        expected = session.words
        heard, spoken = words_of(finals), [word.content.lower() for word in expected]
        assert heard == spoken, difference(job, session, heard, spoken)
        items = [
            item
            for final in finals
            for item in final["alternatives"][0]["items"]
            if item["type"] == "pronunciation"
        ]
        for item, word in zip(items, expected, strict=True):
            assert item["start_time"] == pytest.approx(word.start_seconds, abs=0.02)
            assert item["end_time"] == pytest.approx(word.end_seconds, abs=0.02)


def difference(job: Job, session: Session, heard: Sequence[str], spoken: Sequence[str]) -> str:
    """Where the two part, and everything that the job published about that place."""
    pairs = zip_longest(heard, spoken)
    place = next(number for number, (one, other) in enumerate(pairs) if one != other)
    words = session.words
    start = words[min(place, len(words) - 1)].start_seconds
    near = [
        (
            final["segment_index"],
            final["start_time"],
            final["end_time"],
            final["stream_id"][:6],
            words_of([final]),
        )
        for final in job.outputs.finals
        if final["session_id"] == session.id and abs(final["start_time"] - start) < _NEAR_SECONDS
    ]
    ended = [ended for ended in job.outputs.sessions if ended["session_id"] == session.id]
    rejected = [letter for letter in job.outputs.dead_letters if letter["session_id"] == session.id]
    return (
        f"{session.id}: {len(heard)} words instead of {len(spoken)}; first difference at word {place}, "
        f"{start:.2f} s: {heard[place : place + 3]} instead of {spoken[place : place + 3]}\n"
        f"missing: {sorted(set(spoken) - set(heard))}, damaged: {sorted(set(heard) - set(spoken))}\n"
        + "".join(f"{entry}\n" for entry in near)
        + f"{ended}\n{[(letter['error_class'], letter['message']) for letter in rejected]}"
    )


def assert_repeats_are_the_same(job: Job, sessions: Sequence[Session]) -> int:
    """A final that came again under its id says the same at the same time, and new ids come in order.

    Returns how many came again: at-least-once delivery repeats, it does not contradict itself.
    """
    repeats = 0
    for session in sessions:
        finals = [final for final in job.outputs.finals if final["session_id"] == session.id]
        by_index: dict[int, Mapping[str, Any]] = {}
        for final in finals:
            first = by_index.setdefault(final["segment_index"], final)
            assert words_of([final]) == words_of([first]), "one id, two texts"
            assert final["start_time"] == pytest.approx(first["start_time"], abs=0.02)
            assert final["end_time"] == pytest.approx(first["end_time"], abs=0.02)
        assert list(by_index) == sorted(by_index), "new segments came in order"
        repeats += len(finals) - len(by_index)
    return repeats


def most_streams_at_once(events: Iterable[Mapping[str, Any]]) -> int:
    """The largest number of streams that the endpoint served at one time, by its event log."""
    open_now: set[str] = set()
    most = 0
    for event in events:
        if event["event"] == "stream_started":
            open_now.add(event["session_id"])
        elif event["event"] == "stream_ended":
            open_now.discard(event["session_id"])
        most = max(most, len(open_now))
    return most


def end_reasons(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many streams ended for each reason."""
    counts: defaultdict[str, int] = defaultdict(int)
    for event in events:
        if event["event"] == "stream_ended":
            counts[event["reason"]] += 1
    return dict(counts)


def largest_burst_seconds(events: Iterable[Mapping[str, Any]], rate: float) -> float:
    """By how many seconds of audio any stream was ever ahead of `rate` audio seconds a second.

    Between any two moments of one stream: audio that the endpoint received, less what the rate allows.
    """
    marks: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        if event["event"] == "stream_started":
            marks[event["session_id"]].append((event["at"], 0.0))
        elif event["event"] == "final_sent":
            marks[event["session_id"]].append((event["emitted_at"], event["audio_received_seconds"]))
    return max((_burst(stream, rate) for stream in marks.values()), default=0.0)


def _burst(marks: Sequence[tuple[float, float]], rate: float) -> float:
    """The largest rise of audio - rate * time: how far it is above its lowest point so far."""
    largest = lead = 0.0
    for (before_at, before), (at, audio) in pairwise(marks):
        lead = max(0.0, lead + audio - before - rate * (at - before_at))
        largest = max(largest, lead)
    return largest
