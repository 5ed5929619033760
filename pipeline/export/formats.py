"""The formats there are, by the name that `--format` takes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from urllib.parse import quote

from pipeline.export.captions import subrip, webvtt
from pipeline.export.html_page import html_page
from pipeline.export.json_document import json_document
from pipeline.export.plain_text import plain_text
from pipeline.output.transcripts import SessionTranscript

Renderer = Callable[[SessionTranscript], str]

FORMATS: dict[str, tuple[Renderer, str]] = {
    "text": (plain_text, "txt"),
    "json": (json_document, "json"),
    "vtt": (webvtt, "vtt"),
    "srt": (subrip, "srt"),
    "html": (html_page, "html"),
}
"""Renderer and file name extension."""

_MAX_STEM_CHARS = 150


def file_name(session_id: str, name: str) -> str:
    """A file name for the session in this format: whatever the id holds, one name, and no other id's."""
    stem = quote(session_id, safe="", errors="surrogatepass")
    if stem.startswith("."):
        stem = "%2E" + stem[1:]
    if len(stem) > _MAX_STEM_CHARS or not stem:
        digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        stem = f"{stem[:_MAX_STEM_CHARS]}~{digest}"
    return f"{stem}.{FORMATS[name][1]}"
