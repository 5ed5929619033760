"""Documents of a synthetic session against files that were read by a person; what holds for any session."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.elements import FinalTranscript, SessionSummary
from pipeline.export.formats import FORMATS, file_name
from pipeline.export.speech import MAX_CUE_CHARS, clean, cues_of
from pipeline.output.output_values import SessionEnded, final_of
from pipeline.output.transcripts import SessionTranscript
from tests.pipeline.output.test_outputs import FINALS, MILLISECONDS, SUMMARIES
from tests.pipeline.synthetic_session import a_final, a_session, items_of

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "MEDSTREAM_UPDATE_GOLDEN"  # set it to write the files anew, then read them


@pytest.mark.parametrize("name", FORMATS)
def test_the_document_of_a_synthetic_session(name: str) -> None:
    render, extension = FORMATS[name]
    path = GOLDEN / f"session.{extension}"
    document = render(a_session())
    if os.environ.get(UPDATE):
        path.write_text(document, encoding="utf-8")
    assert document == path.read_text(encoding="utf-8")


def _session(
    finals: Sequence[FinalTranscript], ended: tuple[SessionSummary, int] | None
) -> SessionTranscript:
    by_index = {final.segment_index: final for final in finals}
    segments = tuple(by_index[index] for index in sorted(by_index))
    end = None if ended is None else SessionEnded(*ended)
    return SessionTranscript("a <session> & --> its id", segments, end)


SESSIONS = st.builds(
    _session,
    st.lists(FINALS, max_size=4),
    st.none() | st.tuples(SUMMARIES, MILLISECONDS),
)


@settings(max_examples=25)
@given(SESSIONS)
def test_cues_are_in_order_and_those_of_one_voice_apart(session: SessionTranscript) -> None:
    cues = cues_of(session)
    assert [cue.start_ms for cue in cues] == sorted(cue.start_ms for cue in cues)
    assert len({cue.name for cue in cues}) == len(cues)
    ends: dict[object, int] = {}
    for cue in cues:
        assert cue.start_ms < cue.end_ms
        assert cue.start_ms >= ends.get(cue.voice, 0)
        ends[cue.voice] = cue.end_ms
        assert cue.text == clean(cue.text) != ""


_TIMING = re.compile(r"^(\d\d+):([0-5]\d):([0-5]\d)[.,](\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d)[.,](\d{3})$")


def _read_captions(text: str) -> list[tuple[int, int, str]]:
    """Start, end and text of each block with a timing line, as a player reads them."""
    cues = []
    for block in re.split(r"\n\n+", text.strip("\n")):
        lines = block.split("\n")
        if len(lines) > 1 and (timing := _TIMING.match(lines[1])):
            hours, minutes, seconds, rest = ([int(part) for part in timing.groups()[n::4]] for n in range(4))
            moments = [
                ((h * 60 + m) * 60 + s) * 1000 + r
                for h, m, s, r in zip(hours, minutes, seconds, rest, strict=True)
            ]
            cues.append((moments[0], moments[1], " ".join(lines[2:])))
    return cues


@settings(max_examples=25)
@given(SESSIONS)
def test_captions_are_read_as_they_were_meant(session: SessionTranscript) -> None:
    cues = cues_of(session)
    meant = [(cue.start_ms, cue.end_ms) for cue in cues]
    vtt, srt = FORMATS["vtt"][0](session), FORMATS["srt"][0](session)
    assert vtt.startswith("WEBVTT\n\n")
    assert [cue[:2] for cue in _read_captions(vtt)] == meant
    assert [cue[:2] for cue in _read_captions(srt)] == meant
    assert vtt.count("-->") == srt.count("-->") == len(cues)
    for found, cue in zip(_read_captions(vtt), cues, strict=True):
        spoken = re.sub(r"^<v [^>]*>", "", found[2])
        assert not re.search("[<>]", spoken)
        assert unescape(spoken) == cue.text or "&" in cue.text


def test_long_speech_is_cut_where_a_reader_would_breathe() -> None:
    words = " ".join(f"word{number}" for number in range(60)) + ". Then more."
    cues = cues_of(SessionTranscript("s", (a_final(0, words, 0.0, items=items_of(words, 0.0)),)))
    assert " ".join(cue.text for cue in cues) == words
    assert all(len(cue.text) <= MAX_CUE_CHARS + 1 for cue in cues)
    assert all(cue.end_ms - cue.start_ms <= 7000 for cue in cues)


def test_a_short_word_stays_until_it_can_be_read_or_another_comes() -> None:
    finals = (
        a_final(0, "Yes.", 1.0, items=items_of("Yes.", 1.0, step=0.1)),
        a_final(1, "No.", 1.5, items=items_of("No.", 1.5, step=0.1)),
    )
    cues = cues_of(SessionTranscript("s", finals))
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(1000, 1500), (1500, 2500)]


class _Page(HTMLParser):
    """The tags, references and visible text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.identifiers: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("href", "src", "action", "srcset", "data"):
                self.references.append(value or "")
            if name == "id":
                self.identifiers.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


_TAGS = {"html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "main", "section"}
_TAGS |= {"span", "b", "a", "time", "div"}


@settings(max_examples=25)
@given(SESSIONS)
def test_the_page_holds_the_words_and_reaches_nothing(session: SessionTranscript) -> None:
    page = _Page()
    page.feed(FORMATS["html"][0](session))
    page.close()
    assert page.tags <= _TAGS  # nothing of the session became markup
    assert len(page.identifiers) == len(set(page.identifiers))
    assert {reference[1:] for reference in page.references} <= set(page.identifiers)
    assert all(reference.startswith("#") for reference in page.references)
    for final in session.segments:
        items = final.alternatives[0].items if final.alternatives else ()
        for item in items:
            assert clean(item.content) in page.text


def test_the_page_names_no_other_place() -> None:
    document = FORMATS["html"][0](a_session())
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img", document)
    assert "default-src 'none'" in document


@settings(max_examples=25)
@given(SESSIONS)
def test_the_json_document_holds_every_segment_whole(session: SessionTranscript) -> None:
    document = json.loads(FORMATS["json"][0](session))
    assert tuple(final_of(record) for record in document["segments"]) == session.segments
    assert document["complete"] == session.complete


@settings(max_examples=25)
@given(SESSIONS)
def test_the_text_is_one_line_for_each_turn(session: SessionTranscript) -> None:
    text = FORMATS["text"][0](session)
    for final in session.segments:
        for item in final.alternatives[0].items if final.alternatives else ():
            assert clean(item.content) in text


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_file_name_stays_in_its_directory_and_is_one_session_s(one: str, other: str) -> None:
    name = file_name(one, "vtt")
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name) <= 180
    assert (file_name(other, "vtt") == name) == (one == other)
