"""Makes the domain language model again: model/corpus.txt -> model/medical.lm and model/medical.dict.

Run as `python -m deploy.local.recordings.build_model`. The corpus is a small grammar of dictation sentences
(its format stands at its top); a seeded sample of its expansions trains a trigram model in ARPA form. The
sentences of the recordings are taken out first, so that the demo measures word error rates on held-out
sentences: over known words, as with any custom vocabulary, but not on text the model has seen.

Pronunciations come from the CMU dictionary inside pocketsphinx; words it lacks stand in model/additions.dict.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

from deploy.local.recordings import DICTIONARY, LANGUAGE_MODEL, MANIFEST
from deploy.local.recordings.spoken import spoken_form

CORPUS = LANGUAGE_MODEL.parent / "corpus.txt"
ADDITIONS = LANGUAGE_MODEL.parent / "additions.dict"

SAMPLES_PER_SENTENCE = 20
SEED = 20_240_501

_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")


def main() -> None:
    """Writes both model files; refuses a corpus word that no dictionary has."""
    sentences = training_sentences(CORPUS.read_text(encoding="utf-8"), reference_sentences())
    vocabulary = sorted({word for sentence in sentences for word in sentence.split()})
    write_dictionary(vocabulary, DICTIONARY)
    write_language_model(sentences, LANGUAGE_MODEL)
    print(f"{len(sentences)} sentences, {len(vocabulary)} words")


def reference_sentences() -> set[str]:
    """Every sentence of the recordings, in spoken form."""
    references = [entry["reference"] for entry in json.loads(MANIFEST.read_text(encoding="utf-8"))]
    return {spoken_form(sentence) for text in references for sentence in _SENTENCE_END.split(text)}


def training_sentences(corpus: str, held_out: set[str]) -> list[str]:
    """Distinct expansions of the corpus in spoken form, without the `held_out` ones, repeatable."""
    slots, templates = _parse(corpus)
    draw = random.Random(SEED)  # noqa: S311 - repeatable on purpose
    sentences: dict[str, None] = {}
    for template in templates:
        count = SAMPLES_PER_SENTENCE if _SLOT.search(template) else 1
        for _ in range(count):
            sentences[spoken_form(_expand(template, slots, draw))] = None
    return [sentence for sentence in sentences if sentence not in held_out]


def _parse(corpus: str) -> tuple[dict[str, list[str]], list[str]]:
    slots: dict[str, list[str]] = {}
    templates = []
    for line in (line.strip() for line in corpus.splitlines()):
        if not line or line.startswith("#"):
            continue
        name, is_slot, alternatives = line.partition(" = ")
        if is_slot:
            slots[name] = [alternative.strip() for alternative in alternatives.split("|")]
        else:
            templates.append(line)
    return slots, templates


def _expand(template: str, slots: dict[str, list[str]], draw: random.Random) -> str:
    while match := _SLOT.search(template):
        template = template[: match.start()] + draw.choice(slots[match[1]]) + template[match.end() :]
    return template


def write_dictionary(vocabulary: list[str], path: Path) -> None:
    """Pronunciations of `vocabulary`, from additions and CMU dictionary; SystemExit names lacking words."""
    import pocketsphinx

    pronunciations = _read_dictionary(Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")))
    pronunciations |= _read_dictionary(ADDITIONS)
    missing = [word for word in vocabulary if word not in pronunciations]
    if missing:
        raise SystemExit(f"No pronunciation; add to {ADDITIONS.name}: {', '.join(missing)}")
    lines = [line for word in vocabulary for line in pronunciations[word]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read_dictionary(path: Path) -> dict[str, list[str]]:
    """Word -> its lines; `word(2)` marks a second pronunciation of the same word."""
    entries: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            entries.setdefault(line.split()[0].split("(")[0], []).append(line)
    return entries


def write_language_model(sentences: list[str], path: Path) -> None:
    """Trigram model of `sentences` (spoken form, one utterance each) in ARPA form."""
    from pocketsphinx import lm

    model: Any = lm.ArpaBoLM(text="\n".join(f"<s> {sentence} </s>" for sentence in sentences))
    model.compute()
    if not model.write_file(str(path)):
        raise OSError(f"{path} could not be written")


if __name__ == "__main__":
    main()
