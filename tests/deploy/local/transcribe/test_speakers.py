"""Who says which word, where the recogniser knows it and where it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.transcribe.recognisers import Word
from deploy.local.transcribe.speakers import TURN_PAUSE_SECONDS, label_speakers


def speakers(*words: Word, index: int = 0) -> list[str | None]:
    return [word.speaker for word in label_speakers(words, index)]


def word(start: float, speaker: str | None = None) -> Word:
    """Half a second of speech."""
    return Word("word", start, start + 0.5, 0.9, speaker=speaker)


STOP = Word(".", 0.5, 0.5, is_punctuation=True)


def test_what_the_recogniser_knows_is_kept_and_continued() -> None:
    known = (word(0.0), word(0.5, "1"), STOP, word(9.0), word(9.5, "0"), STOP)
    assert speakers(*known) == ["1", "1", None, "1", "0", None]


def test_segments_take_turns_and_a_pause_hands_over() -> None:
    sentence = (word(0.0), word(0.9), STOP, word(1.9), word(2.4))  # pauses of 0.4, 0.5 and 0 seconds
    assert speakers(*sentence) == ["0", "0", None, "1", "1"]
    assert speakers(*sentence, index=7) == ["1", "1", None, "0", "0"]


def test_no_words_have_no_speakers() -> None:
    assert label_speakers((), 1) == ()


@given(
    st.lists(
        st.tuples(st.floats(0, 2 * TURN_PAUSE_SECONDS), st.booleans(), st.sampled_from([None, "0", "1"]))
    ),
    st.integers(0, 9),
)
def test_every_word_is_labelled_nothing_else_changes_and_a_second_time_adds_nothing(
    steps: list[tuple[float, bool, str | None]], index: int
) -> None:
    words, at = [], 0.0
    for pause, is_punctuation, speaker in steps:
        at += pause
        words.append(Word("x", at, at, 0.5, is_punctuation, None if is_punctuation else speaker))
    labelled = label_speakers(words, index)
    assert [(w.content, w.start_seconds) for w in labelled] == [(w.content, w.start_seconds) for w in words]
    assert all((w.speaker is None) == w.is_punctuation for w in labelled)
    assert label_speakers(labelled, index) == labelled
