"""Sessions for the tests of comparison and report, synthetic."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from deploy.local.testing.expected import Expected, ExpectedSession, Segment

WORD = st.text(alphabet="abcdefgh", min_size=1, max_size=4)
SENTENCE = st.lists(WORD, min_size=1, max_size=6)
SENTENCES = st.lists(SENTENCE, min_size=1, max_size=6)
SESSIONS = st.dictionaries(st.sampled_from("pqrst"), SENTENCES, min_size=1)


def segments(sentences: Sequence[Sequence[str]]) -> tuple[Segment, ...]:
    """A segment of two seconds for each sentence, three seconds apart."""
    return tuple(
        Segment(" ".join(sentence), 3.0 * number, 3.0 * number + 2.0)
        for number, sentence in enumerate(sentences)
    )


def expected(sessions: dict[str, list[list[str]]]) -> Expected:
    return {name: ExpectedSession(name, segments(said)) for name, said in sessions.items()}


def actual(sessions: dict[str, list[list[str]]]) -> dict[str, tuple[Segment, ...]]:
    return {name: segments(said) for name, said in sessions.items()}
