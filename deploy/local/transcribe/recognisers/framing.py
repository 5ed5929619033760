"""What the endpoint and the processes of the speech recogniser say to each other over a socket.

Frames of `length u32 | body`. To the recogniser a body is PCM, from it a JSON list of segments. An empty
frame ends the audio, and is the answer once the last segment was sent.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import astuple

from deploy.local.transcribe.recognisers import Segment, Word

LENGTH = struct.Struct(">I")
"""Before each frame: the size of its body in bytes, big-endian."""

READY = b"ready\n"
"""What the worker sends on its control socket once the model is loaded; anything else is an error's text."""


def encode_segments(segments: Iterable[Segment]) -> bytes:
    """A frame with the segments."""
    rows = [
        [
            segment.index,
            segment.is_partial,
            segment.start_seconds,
            segment.end_seconds,
            [astuple(word) for word in segment.words],
        ]
        for segment in segments
    ]
    body = json.dumps(rows).encode()
    return LENGTH.pack(len(body)) + body


def decode_segments(body: bytes) -> list[Segment]:
    """The segments of a frame's body."""
    return [
        Segment(index, is_partial, start, end, tuple(Word(*word) for word in words))
        for index, is_partial, start, end, words in json.loads(body)
    ]
