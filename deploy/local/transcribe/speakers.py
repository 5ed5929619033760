"""Who says which word of a final: what the recogniser knows, else turns that a simple rule takes.

The rule, for recognisers that do not tell speakers apart: an odd-numbered segment begins with speaker "1", an
even-numbered one with "0", and a pause of `TURN_PAUSE_SECONDS` within a segment hands over to the other. It
has nothing to do with voices; it gives a client labels and changes of speaker to work with, the same for the
same audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy.local.transcribe.recognisers import Word

TURN_PAUSE_SECONDS = 0.5


def label_speakers(words: Sequence[Word], segment_index: int) -> tuple[Word, ...]:
    """The words of a final with a speaker on each; punctuation has none.

    Where the recogniser named the speakers of some words only, the others continue the turn before them.
    """
    known = next((word.speaker for word in words if word.speaker is not None), None)
    if known is None:
        return _take_turns(words, segment_index)
    labelled = []
    for word in words:
        known = word.speaker or known
        labelled.append(replace(word, speaker=None if word.is_punctuation else known))
    return tuple(labelled)


def _take_turns(words: Sequence[Word], segment_index: int) -> tuple[Word, ...]:
    turn = segment_index
    spoken_until = words[0].start_seconds if words else 0.0
    labelled = []
    for word in words:
        if word.is_punctuation:
            labelled.append(word)
            continue
        turn += word.start_seconds - spoken_until >= TURN_PAUSE_SECONDS
        spoken_until = word.end_seconds
        labelled.append(replace(word, speaker=str(turn % 2)))
    return tuple(labelled)
