"""What producers write: in order without trouble, and within the bounds of each trouble."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from pipeline.elements import AudioFormat
from tests.simulation.producer import Script, Write, between_words, write_all
from tests.simulation.settings import ProducerTrouble
from tests.simulation.speech import RATE_HERTZ, SpeechStyle, interleave, speak

CHUNK_SAMPLES = 100
NO_TROUBLE = ProducerTrouble()


def script(**changes: object) -> Script:
    values: dict[str, object] = {
        "session_id": "session",
        "format": AudioFormat(RATE_HERTZ),
        "chunk_samples": CHUNK_SAMPLES,
        "even": True,
        "media_offsets": True,
        "pace": 1.0,
        "start": 10.0,
        "end": "mark",
        "reorder_wait_seconds": 2.0,
    }
    return Script(**(values | changes))  # type: ignore[arg-type]


def written(trouble: ProducerTrouble, seed: int = 1, **changes: object) -> list[Write]:
    rng = random.Random(seed)  # noqa: S311
    return write_all(rng, script(**changes), speak(rng, 1, SpeechStyle(sentences=(12, 12))), trouble)


def sequences(writes: list[Write]) -> list[int]:
    return [write.sequence for write in writes]


def test_without_trouble_chunks_come_in_order_and_on_time() -> None:
    writes = written(NO_TROUBLE)
    assert sequences(writes) == list(range(len(writes)))
    for write in writes:
        assert write.chunk is not None
        assert write.chunk.media_offset_ms == 100 * write.sequence
        assert write.at == pytest.approx(10.0 + (100 * write.sequence + write.chunk.samples) / 1000)
        assert write.chunk.end_of_session == (write is writes[-1])


@pytest.mark.parametrize(("end", "marked"), [("none", False), ("empty", True)])
def test_a_session_ends_as_the_script_says(end: str, marked: bool) -> None:
    last = written(NO_TROUBLE, end=end)[-1].chunk
    assert last is not None
    assert last.end_of_session == marked
    assert (not last.payload) == (end == "empty")


def test_late_chunks_come_within_their_bound() -> None:
    writes = written(ProducerTrouble(reorder_share=0.2))
    assert sorted(sequences(writes)) == list(range(len(writes)))
    assert sequences(writes) != sorted(sequences(writes))
    highest = 0
    for write in writes:
        highest = max(highest, write.sequence)
        assert highest - write.sequence <= 8
    assert [write.at for write in writes] == sorted(write.at for write in writes)


def test_repeated_chunks_are_the_same_and_soon() -> None:
    writes = written(ProducerTrouble(duplicate_share=0.2))
    first: dict[int, int] = {}
    repeated = 0
    for place, write in enumerate(writes):
        if write.sequence in first:
            repeated += 1
            assert write.chunk == writes[first[write.sequence]].chunk
            assert place - first[write.sequence] <= 2 * 20
        first.setdefault(write.sequence, place)
    assert repeated


def test_dropped_chunks_leave_holes_and_offsets_that_tell_their_length() -> None:
    writes = written(ProducerTrouble(drop_share=0.1))
    assert len(writes) < writes[-1].sequence
    for before, after in pairwise(writes):
        assert before.chunk is not None
        assert after.chunk is not None
        assert after.chunk.media_offset_ms == 100 * after.sequence
        assert after.sequence > before.sequence


def test_a_restart_begins_at_zero_once() -> None:
    writes = written(ProducerTrouble(restart_share=1.0))
    epochs = [write.epoch for write in writes]
    assert set(epochs) == {0, 1}
    begun = writes[epochs.index(1)]
    assert begun.sequence == 0
    assert begun.chunk is not None
    assert begun.chunk.media_offset_ms == 0
    assert writes[0].chunk is not None
    assert begun.chunk.payload != writes[0].chunk.payload, "else it would be taken for a repetition"


def test_garbage_takes_the_place_of_a_chunk() -> None:
    writes = written(ProducerTrouble(garbage_share=0.1))
    bad = [write for write in writes if write.chunk is None]
    assert bad
    assert all(write.rejection is not None for write in bad)
    assert sequences(writes) == list(range(len(writes)))


def test_pauses_lie_between_words() -> None:
    writes = written(ProducerTrouble(pause_share=0.2))
    pauses = 0
    for before, after in pairwise(writes):
        assert before.chunk is not None
        assert after.chunk is not None
        if after.at - before.at > 4.0:
            pauses += 1
            assert between_words(before.chunk.payload, after.chunk.payload, 1)
    assert pauses


def test_between_words_asks_every_channel() -> None:
    quiet, word, other = b"\0\0" * 4, b"\5\5" * 4, b"\7\7" * 4
    assert between_words(quiet, word, 1)
    assert between_words(word, other, 1)
    assert not between_words(word, word, 1)
    assert not between_words(interleave([quiet, word]), interleave([quiet, word]), 2)
    assert between_words(interleave([quiet, word]), interleave([other, quiet]), 2)
