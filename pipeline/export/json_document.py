"""A session as one JSON document: what is known of it, and the records of its segments in order. Pure."""

from __future__ import annotations

import json

from pipeline.output.outputs import final_record, session_ended_record
from pipeline.output.transcripts import SessionTranscript

FORMAT, VERSION = "medstream.session", 1


def json_document(session: SessionTranscript) -> str:
    """The session as indented JSON.

    `segments` have the fields of the schema `final_transcript`, `ended` those of `session_ended` (null before
    the end); their moments are microseconds since 1970. `missing_segments` are pairs: first and last.
    """
    ended = session.ended
    document = {
        "format": FORMAT,
        "version": VERSION,
        "session_id": session.session_id,
        "complete": session.complete,
        "missing_segments": session.missing,
        "duration_seconds": session.duration_seconds,
        "segments": [final_record(final) for final in session.segments],
        "ended": None if ended is None else session_ended_record(ended.summary, ended.ended_at_ms),
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
