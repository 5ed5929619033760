"""The domain language model: rebuilt from its corpus, held-out sentences held out, and fit to recognise."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.recordings import DICTIONARY, LANGUAGE_MODEL
from deploy.local.recordings.build_model import (
    CORPUS,
    reference_sentences,
    training_sentences,
    write_dictionary,
    write_language_model,
)


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return training_sentences(CORPUS.read_text(encoding="utf-8"), reference_sentences())


def test_model_files_are_what_the_corpus_gives(sentences: list[str], tmp_path: Path) -> None:
    vocabulary = sorted({word for sentence in sentences for word in sentence.split()})
    write_dictionary(vocabulary, tmp_path / "medical.dict")
    write_language_model(sentences, tmp_path / "medical.lm")
    assert (tmp_path / "medical.dict").read_bytes() == DICTIONARY.read_bytes()
    assert (tmp_path / "medical.lm").read_bytes() == LANGUAGE_MODEL.read_bytes()


def test_training_text_is_larger_than_the_recordings_and_lacks_their_sentences(sentences: list[str]) -> None:
    said = reference_sentences()
    said_words = {word for sentence in said for word in sentence.split()}
    known_words = {word for sentence in sentences for word in sentence.split()}
    assert not said & set(sentences)
    assert said_words <= known_words
    assert len(known_words) > 4 * len(said_words)


def test_slots_nest_and_a_held_out_expansion_is_dropped() -> None:
    corpus = "# comment\n\nsmall = 1 | two\nnumber = {small}\nTake {number} tablets\nTake none\n"
    assert set(training_sentences(corpus, held_out={"take two tablets"})) == {"take one tablets", "take none"}


def test_a_word_without_pronunciation_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="xyzzyplugh"):
        write_dictionary(["patient", "xyzzyplugh"], tmp_path / "medical.dict")
