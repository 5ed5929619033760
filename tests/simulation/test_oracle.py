"""The oracle's model of a log: order, duplicates and gaps, checked by hand."""

from __future__ import annotations

import random

from pipeline.elements import AudioChunk, AudioFormat
from tests.simulation.fake_log import FakeLog
from tests.simulation.oracle import Expected, ExpectedGap, expect
from tests.simulation.producer import Write
from tests.simulation.recogniser import Word
from tests.simulation.speech import RATE_HERTZ

WORD = 5  # 100 samples long, which is a chunk
SPOKEN, SILENT = bytes((WORD,)) * 200, bytes(200)


def heard(*chunks: tuple[int, bytes], offsets: bool = True, epochs: tuple[int, ...] = ()) -> Expected:
    """What the log of these (sequence, PCM) says, in the order of writing."""
    writes = []
    for at, (sequence, pcm) in enumerate(chunks):
        audio = AudioChunk(
            "session", sequence, pcm, AudioFormat(RATE_HERTZ), 100 * sequence if offsets else None
        )
        writes.append(Write(float(at), "session", epochs[at] if epochs else 0, sequence, audio))
    log = FakeLog(random.Random(1), writes)  # noqa: S311
    return expect(log.of_session("session"), 1)


def test_chunks_are_sorted_and_counted_once() -> None:
    found = heard((0, SILENT), (2, SILENT), (1, SPOKEN), (2, SILENT))
    assert found.words == [[Word("w5", 100, 200)]]
    assert (found.chunks, found.samples, found.gaps) == (3, 300, [])


def test_a_hole_of_known_length_is_silence() -> None:
    found = heard((0, SPOKEN[:100]), (3, SPOKEN[:60]))
    gap = ExpectedGap(50, 300, ("MISSING_SEQUENCE",))
    assert found.gaps == [gap]
    assert found.words == [[Word("w5~50", 0, 50), Word("w5~30", 300, 330)]]


def test_a_hole_of_unknown_length_is_nothing() -> None:
    found = heard((0, SPOKEN[:100]), (3, SPOKEN[:60]), offsets=False)
    assert found.gaps == [ExpectedGap(50, 50, ("MISSING_SEQUENCE",))]
    assert found.words == [[Word("w5~80", 0, 80)]]


def test_a_missing_beginning_is_a_hole() -> None:
    assert heard((2, SPOKEN)).gaps == [ExpectedGap(0, 200, ("MISSING_SEQUENCE",))]


def test_a_restart_goes_on_behind_what_was() -> None:
    found = heard((0, SPOKEN), (1, SILENT), (0, SPOKEN), epochs=(0, 0, 1))
    assert found.gaps == [ExpectedGap(200, 200, ("SEQUENCE_RESTARTED",))]
    assert found.words == [[Word("w5", 0, 100), Word("w5", 200, 300)]]
