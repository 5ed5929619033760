"""The recogniser that hears what a script tells it to, whatever the audio holds.

A script places segments at audio times; partials come at a fixed cadence, the final a fixed delay after
the segment's last word. Everything depends on the amount of audio alone, so runs are repeatable and a
stream costs almost nothing: the results are laid out once as a list of moments, and `accept` compares one
number.

Partials show the words begun so far. As the service's do, some may repeat the one before although more was
said, and some may take back a word: every so many-th partial of a segment, as the script says.

A script file is JSON:

    {"partial_interval_seconds": 0.5,        cadence of partials, in audio time
     "final_delay_seconds": 0.5,             audio needed after a segment's last word before its final
     "repeat_partial_every": 3,              each third partial repeats the words before; absent: none
     "shrink_partial_every": 4,              each fourth takes back a word of those before; absent: none
     "repeat_every_seconds": 12.0,           start over after this much audio; absent: heard once
     "segments": [{"start_seconds": 0.5, "end_seconds": 3.1, "text": "The patient is stable.",
                   "speaker": "0"},
                  {"words": [{"content": "Hello", "start_seconds": 4.0, "end_seconds": 4.4,
                              "confidence": 0.97, "speaker": "1"},
                             {"content": ".", "start_seconds": 4.4, "end_seconds": 4.4,
                              "punctuation": true}]}],
     "by_vocabulary_name": {"cardiology-words": {…a script…}},
     "by_sample_rate_hertz": {"8000": {…a script…}}}

`speaker` is optional; a stream is told of speakers only if it asks for their labels.

A stream that names a vocabulary of the file is given that script, else its sample rate's, else the file's
own. The built-in script, used without a file, is a cycle of synthetic sentences that starts with the
first sample; its partials repeat and shrink as in the example above.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from deploy.local.transcribe.errors import ScriptError
from deploy.local.transcribe.recognisers import RecognitionRequest, Segment, Word
from deploy.local.transcribe.recognisers.plugin import RecogniserOption
from deploy.local.transcribe.recognition import InlineHost

_PUNCTUATION = ".,?!"


@dataclass(frozen=True, slots=True)
class Script:
    """What a stream of the service hears.

    Attributes:
        segments: The words of each segment, with times from the first sample of a repetition.
        partial_interval_seconds: Audio time between partials of a segment.
        final_delay_seconds: Audio time from the end of a segment's last word to its final.
        repeat_every_seconds: Length of a repetition; None: no repetition.
        repeat_partial_every: Which partials of a segment repeat the one before (3: the third, sixth, …).
        shrink_partial_every: Which partials show a word less than the one before.
    """

    segments: tuple[tuple[Word, ...], ...] = field(repr=False)
    partial_interval_seconds: float = 0.5
    final_delay_seconds: float = 0.5
    repeat_every_seconds: float | None = None
    repeat_partial_every: int | None = None
    shrink_partial_every: int | None = None

    def words_shown(self, number: int, shown_before: int, spoken: int) -> int:
        """How many words partial `number` (from 1) of a segment shows, of the `spoken` ones."""
        if self.shrink_partial_every and number % self.shrink_partial_every == 0:
            return max(1, shown_before - 1)
        if self.repeat_partial_every and number % self.repeat_partial_every == 0:
            return shown_before
        return spoken


@dataclass(frozen=True, slots=True)
class ScriptBook:
    """A default script and those chosen by vocabulary name or sample rate."""

    default: Script
    by_vocabulary_name: Mapping[str, Script] = field(default_factory=dict)
    by_sample_rate_hertz: Mapping[int, Script] = field(default_factory=dict)

    def choose(self, request: RecognitionRequest) -> Script:
        """The script of a stream: its vocabulary's, else its sample rate's, else the default."""
        named = self.by_vocabulary_name.get(request.vocabulary_name or "")
        return named or self.by_sample_rate_hertz.get(request.sample_rate_hertz) or self.default


@dataclass(frozen=True, slots=True)
class _Moment:
    """At `due_seconds` of audio, segment `segment` is reported with its first `words` words."""

    due_seconds: float
    segment: int
    words: int
    is_partial: bool


class ScriptedRecogniser:
    """Reports the script's segments as the audio passes their times."""

    def __init__(self, script: Script, sample_rate_hertz: int) -> None:
        self._script = script
        self._bytes_per_second = 2 * sample_rate_hertz
        self._bytes = 0
        self._moments = _moments(script)
        self._next = next(self._moments, None)

    def accept(self, pcm: bytes) -> Sequence[Segment]:
        """See `Recogniser.accept`."""
        self._bytes += len(pcm)
        if self._next is None or self._seconds() < self._next.due_seconds:
            return ()
        return list(self._due_segments())

    def finish(self) -> Sequence[Segment]:
        """See `Recogniser.finish`: the final of an open segment holds the words begun within the audio."""
        heard = self._seconds()
        results = list(self._due_segments())
        if self._next is not None:
            index, self._next = self._next.segment, None
            words = [word for word in self._segment_words(index) if word.start_seconds < heard]
            if words:
                results.append(_segment(index, words, is_partial=False, limit_seconds=heard))
        return results

    def _seconds(self) -> float:
        return self._bytes / self._bytes_per_second

    def _due_segments(self) -> Iterator[Segment]:
        heard = self._seconds()
        while self._next is not None and self._next.due_seconds <= heard:
            moment = self._next
            self._next = next(self._moments, None)
            words = self._segment_words(moment.segment)[: moment.words]
            yield _segment(
                moment.segment, words, is_partial=moment.is_partial, limit_seconds=moment.due_seconds
            )

    def _segment_words(self, index: int) -> list[Word]:
        """The words of segment `index` of the stream, moved to their repetition."""
        cycle, place = divmod(index, len(self._script.segments))
        offset = cycle * (self._script.repeat_every_seconds or 0.0)
        return [_moved(word, offset) for word in self._script.segments[place]]


def _moved(word: Word, seconds: float) -> Word:
    start, end = round(word.start_seconds + seconds, 3), round(word.end_seconds + seconds, 3)
    return replace(word, start_seconds=start, end_seconds=end)


def _moments(script: Script) -> Iterator[_Moment]:
    """All moments of the script in order of time, for ever if it repeats."""
    one_cycle = [
        moment
        for index, words in enumerate(script.segments)
        for moment in _segment_moments(script, index, words)
    ]
    cycle = 0
    while one_cycle:
        offset = cycle * (script.repeat_every_seconds or 0.0)
        for moment in one_cycle:
            segment = moment.segment + cycle * len(script.segments)
            yield _Moment(moment.due_seconds + offset, segment, moment.words, moment.is_partial)
        if script.repeat_every_seconds is None:
            return
        cycle += 1


def _segment_moments(script: Script, index: int, words: tuple[Word, ...]) -> Iterator[_Moment]:
    """Partials at the cadence while the segment is spoken, then the final."""
    starts = [word.start_seconds for word in words if not word.is_punctuation]
    final_due = words[-1].end_seconds + script.final_delay_seconds
    due = words[0].start_seconds
    shown = 0
    for number in count(1):
        due += script.partial_interval_seconds
        if due >= final_due:
            break
        shown = script.words_shown(number, shown, bisect_right(starts, due))
        yield _Moment(due, index, shown, True)
    yield _Moment(final_due, index, len(words), False)


def _segment(
    index: int, words: Sequence[Word], *, is_partial: bool, limit_seconds: float = float("inf")
) -> Segment:
    """A view of segment `index`: partials carry no confidence; no time lies beyond `limit_seconds`."""
    shown = tuple(
        replace(
            word,
            end_seconds=min(word.end_seconds, limit_seconds),
            confidence=None if is_partial or word.is_punctuation else word.confidence,
        )
        for word in words
    )
    return Segment(index, is_partial, shown[0].start_seconds, shown[-1].end_seconds, shown)


class ScriptedPlugin:
    """The recogniser of the endpoint by default: it runs inside the event loop."""

    summary = "says what a script tells it to, whatever the audio holds; without one, synthetic sentences"
    options = (RecogniserOption("script", "script file; its format is in recognisers/scripted.py"),)

    def open(self, options: Mapping[str, str]) -> InlineHost:
        """See `RecogniserPlugin.open`."""
        book = load_script_book(Path(options["script"])) if "script" in options else built_in_book()
        return InlineHost(scripted_factory(book))


PLUGIN = ScriptedPlugin()


def scripted_factory(book: ScriptBook) -> Callable[[RecognitionRequest], ScriptedRecogniser]:
    """Return the factory of scripted recognisers that choose from `book`."""
    return lambda request: ScriptedRecogniser(book.choose(request), request.sample_rate_hertz)


def load_script_book(path: Path) -> ScriptBook:
    """Read a script file.

    Raises:
        ScriptError: The file cannot be read or says something that is no script; names the file and the
        place.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return ScriptBook(
            default=_parse_script(document),
            by_vocabulary_name={
                name: _parse_script(entry) for name, entry in document.get("by_vocabulary_name", {}).items()
            },
            by_sample_rate_hertz={
                int(rate): _parse_script(entry)
                for rate, entry in document.get("by_sample_rate_hertz", {}).items()
            },
        )
    except OSError as error:
        raise ScriptError(path, error.strerror or "cannot be read") from error
    except KeyError as error:
        raise ScriptError(path, f"a required field is missing: {error.args[0]}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ScriptError(path, _reason(error)) from None


def _reason(error: Exception) -> str:
    """Why parsing failed; only our own sentences and the JSON parser's, which quote no text of the script."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at line {error.lineno}"
    if isinstance(error, _ScriptValueError):
        return str(error)
    return "a field has a value of the wrong type"


class _ScriptValueError(ValueError):
    """A value of a script file that cannot be meant."""


def _parse_script(document: Mapping[str, Any]) -> Script:
    segments = tuple(_parse_segment(entry) for entry in document["segments"])
    if not segments:
        raise _ScriptValueError("segments: at least one is needed")
    repeat = document.get("repeat_every_seconds")
    script = Script(
        segments,
        float(document.get("partial_interval_seconds", 0.5)),
        float(document.get("final_delay_seconds", 0.5)),
        None if repeat is None else float(repeat),
        _parse_every(document, "repeat_partial_every"),
        _parse_every(document, "shrink_partial_every"),
    )
    _check_order(script)
    return script


def _parse_every(document: Mapping[str, Any], name: str) -> int | None:
    """The first partial has none before it, so the second is the earliest to repeat or shrink."""
    value = document.get(name)
    if value is not None and (type(value) is not int or value < 2):
        raise _ScriptValueError(f"{name} must be a whole number from 2 up; leave it out for none")
    return value


def _check_order(script: Script) -> None:
    """Finals of one segment come before the next begins, and a repetition holds the whole script."""
    if script.partial_interval_seconds <= 0 or script.final_delay_seconds < 0:
        raise _ScriptValueError("partial_interval_seconds must be above 0, final_delay_seconds not below 0")
    free_from = 0.0
    for number, words in enumerate(script.segments):
        times = [time for word in words for time in (word.start_seconds, word.end_seconds)]
        if times != sorted(times) or times[0] < free_from:
            raise _ScriptValueError(
                f"segments[{number}]: starts before {free_from:g} s (the end of the segment before it plus "
                "final_delay_seconds) or its times go backwards"
            )
        free_from = times[-1] + script.final_delay_seconds
    if script.repeat_every_seconds is not None and script.repeat_every_seconds < free_from:
        raise _ScriptValueError(f"repeat_every_seconds must be at least {free_from:g}, the script's length")


def _parse_segment(entry: Mapping[str, Any]) -> tuple[Word, ...]:
    if "words" in entry:
        words = tuple(_parse_word(word) for word in entry["words"])
    else:
        words = spread_words(str(entry["text"]), float(entry["start_seconds"]), float(entry["end_seconds"]))
        words = tuple(replace(word, speaker=_parse_speaker(entry)) for word in words)
    if not words or words[0].is_punctuation:
        raise _ScriptValueError("a segment begins with a word")
    return words


def _parse_word(entry: Mapping[str, Any]) -> Word:
    punctuation = bool(entry.get("punctuation", False))
    confidence = None if punctuation else float(entry.get("confidence", 0.99))
    start, end = float(entry["start_seconds"]), float(entry["end_seconds"])
    return Word(str(entry["content"]), start, end, confidence, punctuation, _parse_speaker(entry))


def _parse_speaker(entry: Mapping[str, Any]) -> str | None:
    speaker = entry.get("speaker")
    return None if speaker is None else str(speaker)


def spread_words(text: str, start_seconds: float, end_seconds: float) -> tuple[Word, ...]:
    """Give each word of `text` an equal share of the time; punctuation after a word becomes an own item."""
    parts = text.split()
    share = (end_seconds - start_seconds) / max(len(parts), 1)
    words: list[Word] = []
    for number, part in enumerate(parts):
        content = part.rstrip(_PUNCTUATION) or part
        start = round(start_seconds + number * share, 3)
        end = round(start_seconds + (number + 1) * share, 3)
        words.append(Word(content, start, end, 0.99))
        if part != content:
            words.append(Word(part[len(content) :], end, end, None, is_punctuation=True))
    return tuple(words)


_BUILT_IN_SENTENCES = (
    (0.0, 2.4, "This is a scripted sentence."),
    (3.2, 6.4, "The endpoint does not listen to the audio."),
    (7.2, 10.4, "Segment three ends the cycle of the script."),
)


def built_in_book() -> ScriptBook:
    """The script used without a file: synthetic sentences from the first sample, repeated every 12 s."""
    segments = tuple(spread_words(text, start, end) for start, end, text in _BUILT_IN_SENTENCES)
    script = Script(segments, repeat_every_seconds=12.0, repeat_partial_every=3, shrink_partial_every=4)
    return ScriptBook(script)
