"""The seam between the endpoint and whatever turns audio into words.

A recogniser is given the PCM of one channel of one stream in arbitrary pieces and answers with segments:
a segment is one utterance, first reported as partial results that grow and are revised, then once as a
final. Times are seconds from the first sample of the stream, as in the service's results. Recognisers
hold no sockets and read no clock, so the same object runs inside the event loop (`scripted`, `markers`),
in a thread (`vosk`, `sherpa-onnx`) or in a worker process (`pocketsphinx`).

Recognisers are plug-ins. A whole one, which says one word for all the audio of a stream:

    from deploy.local.transcribe.recognisers import Segment, Word
    from deploy.local.transcribe.recognisers.plugin import RecogniserOption
    from deploy.local.transcribe.recognition import InlineHost

    class Parrot:
        def __init__(self, word, sample_rate_hertz):
            self.word, self.rate, self.size = word, sample_rate_hertz, 0
        def accept(self, pcm):
            self.size += len(pcm)
            return []
        def finish(self):
            end = self.size / 2 / self.rate
            return [Segment(0, False, 0.0, end, (Word(self.word, 0.0, end, 0.9),))]

    class ParrotPlugin:
        summary = "says one word, however long the stream"
        options = (RecogniserOption("word", "the word"),)
        def open(self, options):
            word = options.get("word", "hello")
            return InlineHost(lambda request: Parrot(word, request.sample_rate_hertz))

    PLUGIN = ParrotPlugin()

In a module `parrot` of an installed package, whose pyproject.toml says

    [project.entry-points."medstream.recognisers"]
    parrot = "parrot:PLUGIN"

it is there for `medstream endpoint --recogniser parrot --recogniser-option word=polly`. One that takes
processor time is given to a `ThreadedHost` (`recognition_threads.py`) instead of an `InlineHost`. Ids,
confidences and speakers are written the way the service does by `stream.py` and `results.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Word:
    """One item of a segment.

    Attributes:
        content: The text of the item (patient data: hidden from `repr`).
        start_seconds: Start of the item, seconds from the stream's first sample.
        end_seconds: End of the item, seconds from the stream's first sample.
        confidence: 0.0 to 1.0, or None where the service gives none (partials, punctuation).
        is_punctuation: True for a punctuation item, which is joined to the word before it.
        speaker: Who says the word ("0", "1"), or None if the recogniser does not tell speakers apart.
    """

    content: str = field(repr=False)
    start_seconds: float
    end_seconds: float
    confidence: float | None = None
    is_punctuation: bool = False
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A partial or final view of one utterance.

    Attributes:
        index: Number of the segment in its stream and channel, from 0; all views of one segment share it.
        is_partial: True while the segment may still be revised.
        start_seconds: Start of the utterance; the same in every view of the segment.
        end_seconds: End of what this view covers.
        words: The items, in order of time.
    """

    index: int
    is_partial: bool
    start_seconds: float
    end_seconds: float
    words: tuple[Word, ...] = field(repr=False)


class Recogniser(Protocol):
    """Turns the audio of one channel into segments. Not shared between streams."""

    def accept(self, pcm: bytes) -> Sequence[Segment]:
        """Take the next piece of 16-bit little-endian mono PCM, cut anywhere; return what it made known."""

    def finish(self) -> Sequence[Segment]:
        """The audio is complete: return what is left, ending with the final of an open segment."""


@dataclass(frozen=True, slots=True)
class RecognitionRequest:
    """What a recogniser may depend on, from the stream's parameters.

    Attributes:
        sample_rate_hertz: Samples per second of the PCM.
        vocabulary_name: The stream's custom vocabulary, if it named one.
    """

    sample_rate_hertz: int
    vocabulary_name: str | None = None


RecogniserFactory = Callable[[RecognitionRequest], Recogniser]
"""Makes the recogniser of one channel of a new stream; cheap, and callable from the event loop."""
