"""What must hold when a world is over: the transcript is what was said, once, in order, on the timeline."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

from pipeline.elements import (
    AFTER_END_OF_SESSION,
    LATE_CHUNK,
    NOT_AVRO,
    RETRIES_EXHAUSTED,
    SESSION_REFUSED,
    FinalTranscript,
    SessionSummary,
)
from pipeline.engine.session import REJECTED
from tests.simulation.oracle import Expected, expect
from tests.simulation.recogniser import Word
from tests.simulation.speech import RATE_HERTZ
from tests.simulation.world import Published, World

_TOLERANCE_SECONDS = 0.002
_END_OF_LOG = 10**9


def check(world: World) -> None:
    """Raises AssertionError for the first thing that does not hold."""
    for session_id, published in world.published.items():
        expected = expect(world.log.of_session(session_id), world.formats[session_id].channels)
        try:
            _check_session(world, session_id, published, expected)
        except AssertionError as error:
            error.add_note(session_id)
            raise
    _check_streams(world)


def _check_session(world: World, session_id: str, published: Published, expected: Expected) -> None:
    summary = published.ended[-1]
    by_index = {final.segment_index: final for final in published.finals}
    finals = [by_index[index] for index in range(summary.segments)]
    assert finals == published.history, "a consumer that keeps the last of each id sees what happened"
    for final in finals:
        _check_source(final, expected)
    given_up = summary.reason in (REJECTED, RETRIES_EXHAUSTED)
    for channel, words in enumerate(expected.words):
        channel_id = None if expected.channels == 1 else f"ch_{channel}"
        spoken = [final for final in finals if final.channel_id == channel_id]
        heard = _word_count(spoken) if given_up else len(words)
        _check_words(spoken, words[:heard])
        _check_rest(published, words[heard:], expected)
    if not given_up:
        _check_summary(summary, expected)
        _check_dead_letters(published, expected, restored=world.troubles.restored)
    _check_sink(world, session_id, expected)
    if not world.troubles.restored:
        assert published.finals == finals, "without a restore nothing is published twice"
        assert len(published.ended) == 1
        _check_partials(published)


def _word_count(finals: list[FinalTranscript]) -> int:
    return sum(len(final.alternatives[0].items) for final in finals)


def _check_words(finals: list[FinalTranscript], expected: list[Word]) -> None:
    heard = [item for final in finals for item in final.alternatives[0].items]
    assert [item.content for item in heard] == [word.name for word in expected], "other words"
    for item, word in zip(heard, expected, strict=True):
        assert abs(item.start_time - word.start / RATE_HERTZ) <= _TOLERANCE_SECONDS, f"{word} at {item}"
        assert abs(item.end_time - word.end / RATE_HERTZ) <= _TOLERANCE_SECONDS, f"{word} at {item}"
    for before, after in pairwise(finals):
        assert before.end_time <= after.start_time + _TOLERANCE_SECONDS, "finals overlap"


def _check_source(final: FinalTranscript, expected: Expected) -> None:
    """The records named as a final's source hold its first and its last word."""
    words = final.alternatives[0].items
    for seconds in (words[0].start_time, words[-1].end_time - 1 / RATE_HERTZ):
        place = bisect_right(expected.spans, round(seconds * RATE_HERTZ), key=lambda span: span.start)
        offsets = expected.spans[place - 1].offsets
        named = final.source.first_offset, final.source.last_offset
        assert any(named[0] <= offset <= named[1] for offset in offsets), f"source {named} lacks {offsets}"


def _check_summary(summary: SessionSummary, expected: Expected) -> None:
    assert summary.reason == ("END_OF_SESSION" if expected.end_marked else "SESSION_TIMEOUT")
    assert summary.chunks == expected.chunks, "chunks"
    assert abs(summary.audio_seconds - expected.samples / RATE_HERTZ) <= _TOLERANCE_SECONDS, "audio_seconds"
    assert len(summary.gaps) == len(expected.gaps), f"gaps {summary.gaps}, expected {expected.gaps}"
    for gap, wanted in zip(summary.gaps, expected.gaps, strict=True):
        assert gap.reason in wanted.reasons, f"{gap}, expected {wanted}"
        assert abs(gap.start_time - wanted.start / RATE_HERTZ) <= _TOLERANCE_SECONDS, f"{gap}, {wanted}"
        assert abs(gap.end_time - wanted.end / RATE_HERTZ) <= _TOLERANCE_SECONDS, f"{gap}, {wanted}"


def _check_sink(world: World, session_id: str, expected: Expected) -> None:
    """Whoever reads what was published with its markers has each word once, without leaving anything out.

    An end that was published stays, also that of a session given up on a branch that a restore took back.
    """
    finals = world.job.sink.finals[session_id]
    assert [final["segment_index"] for final in finals] == list(range(len(finals))), "indexes with holes"
    (ended,) = world.job.sink.ended[session_id]
    assert ended["segments"] == len(finals), "segments"
    given_up = ended["reason"] in (REJECTED, RETRIES_EXHAUSTED)
    for channel, words in enumerate(expected.words):
        channel_id = None if expected.channels == 1 else f"ch_{channel}"
        spoken = [final for final in finals if final["channel_id"] == channel_id]
        heard = [item["content"] for final in spoken for item in final["alternatives"][0]["items"]]
        names = [word.name for word in words]
        assert heard == (names[: len(heard)] if given_up else names), "published other words"


def _check_rest(published: Published, unheard: list[Word], expected: Expected) -> None:
    """The words that a session which was given up has no finals of are in the dead-letter topic."""
    named = {reject.offset for reject in published.rejected}
    ranges = [
        range(given_up.start_offset, _END_OF_LOG if given_up.end_offset is None else given_up.end_offset + 1)
        for given_up in published.given_up
    ]
    for word in unheard:
        for span in expected.spans:
            if span.start < word.end and span.end > word.start:
                known = any(offset in named or any(offset in r for r in ranges) for offset in span.offsets)
                assert known, f"nobody knows of {word} at {span}"


def _check_dead_letters(published: Published, expected: Expected, *, restored: bool) -> None:
    """Every record that belongs there has one, nothing else has; what is read again may have it again."""
    refused: dict[int, str] = {}
    for reject in published.rejected:
        error_class = reject.rejection.error_class
        if restored and error_class == SESSION_REFUSED:
            continue  # on a branch that was given up
        late = error_class == AFTER_END_OF_SESSION and expected.refused.get(reject.offset) == LATE_CHUNK
        refused[reject.offset] = LATE_CHUNK if late else error_class  # too late even for the end
    assert refused == expected.refused, f"dead letters {refused}, expected {expected.refused}"
    if not restored:
        bad = [r.offset for r in published.rejected if r.rejection.error_class == NOT_AVRO]
        assert len(bad) == len(set(bad)), "a dead letter twice"


def _check_partials(published: Published) -> None:
    """What was shown of a segment is finished by a final of the same result, or withdrawn."""
    finished = {final.result_id for final in published.finals}
    open_results: set[str] = set()
    for partial in published.partials:
        if partial.superseded:
            open_results.discard(partial.result_id)
        else:
            open_results.add(partial.result_id)
    assert open_results <= finished, f"partials left open: {open_results - finished}"


def _check_streams(world: World) -> None:
    assert not world.service.alive, "a stream is left open"
    for worker in world.workers:
        assert not worker.busy, "a worker holds a stream or a slot"
    summaries = [published.ended[-1] for published in world.published.values()]
    if world.settings.profile in ("calm", "ordering"):
        counts = world.service.counts
        assert counts.died_of_age == 0, "a stream lived too long"
        assert counts.died_idle == 0, "a stream was left without audio"
        assert counts.lost == 0, "a stream was lost"
        assert sum(summary.streams for summary in summaries) == counts.opened
        assert not any(summary.retries for summary in summaries)
