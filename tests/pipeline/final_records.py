"""Records of the output schemas, synthetic, as the engine's outputs become them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def a_final_record(
    session_id: str, words: Sequence[tuple[str, float, float]], channel: str | None = None
) -> dict[str, Any]:
    """A record of `final_transcript` with these words: content, start and end in seconds."""
    items = [
        {
            "content": content,
            "type": "pronunciation",
            "start_time": float(start),
            "end_time": float(end),
            "confidence": 0.9,
            "speaker": None,
            "vocabulary_filter_match": False,
        }
        for content, start, end in words
    ]
    return {
        "session_id": session_id,
        "result_id": f"r-{words[0][1]}",
        "segment_index": 0,
        "channel_id": channel,
        "start_time": float(words[0][1]),
        "end_time": float(words[-1][2]),
        "started_at": None,
        "alternatives": [
            {"transcript": " ".join(content for content, _, _ in words), "items": items, "entities": []}
        ],
        "language_code": "en-US",
        "specialty": "PRIMARYCARE",
        "type": "CONVERSATION",
        "sample_rate_hertz": 16_000,
        "source": {"topic": "audio", "partition": 0, "first_offset": 0, "last_offset": 9},
        "stream_id": "stream",
        "request_id": None,
    }


def a_session_ended_record(session_id: str) -> dict[str, Any]:
    """A record of `session_ended`."""
    return {
        "session_id": session_id,
        "reason": "END_OF_SESSION",
        "segments": 0,
        "chunks": 10,
        "audio_seconds": 1.0,
        "gaps": [],
        "streams": 1,
        "retries": 0,
        "ended_at": 1_700_000_000_000_000,
        "source": {"topic": "audio", "partition": 0, "first_offset": 0, "last_offset": 9},
    }
