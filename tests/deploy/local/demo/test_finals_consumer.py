"""The page that application teams copy: it stands alone and reads what the pipeline's serde writes."""

from __future__ import annotations

import ast
import sys
from typing import Any

import pytest

import deploy.local.demo.finals_consumer as page
import schemas
from schemas.serde import SingleObjectSerde

FINAL: dict[str, Any] = {
    "session_id": "a-1",
    "result_id": "r0",
    "segment_index": 0,
    "start_time": 0.5,
    "end_time": 2.0,
    "alternatives": [{"transcript": "Synthetic words.", "items": []}],
    "language_code": "en-US",
    "specialty": "CARDIOLOGY",
    "type": "DICTATION",
    "sample_rate_hertz": 16_000,
    "source": {"topic": "audio", "partition": 0, "first_offset": 0, "last_offset": 19},
    "stream_id": "00000000-0000-0000-0000-000000000000",
}


@pytest.fixture
def reader() -> page.FinalsReader:
    return page.FinalsReader(schemas.path("final_transcript"))


def test_it_reads_what_our_serde_writes(reader: page.FinalsReader) -> None:
    final = reader.decode(SingleObjectSerde("final_transcript").encode(FINAL))
    assert final["alternatives"][0]["transcript"] == "Synthetic words."
    assert final["source"] == FINAL["source"]


def test_it_refuses_what_another_schema_wrote(reader: page.FinalsReader) -> None:
    chunk = {"session_id": "a-1", "sequence": 0, "payload": b"", "sample_rate_hertz": 8_000}
    with pytest.raises(ValueError, match="no FinalTranscript"):
        reader.decode(SingleObjectSerde("audio_chunk").encode(chunk))
    with pytest.raises(ValueError, match="no FinalTranscript"):
        reader.decode(b"")


def test_a_segment_is_new_once(reader: page.FinalsReader) -> None:
    other = FINAL | {"segment_index": 1}
    assert [reader.is_new(final) for final in (FINAL, other, FINAL)] == [True, True, False]


def test_a_segment_that_was_cut_in_another_way_replaces_the_one_before(reader: page.FinalsReader) -> None:
    longer = FINAL | {"end_time": FINAL["end_time"] + 1.0}
    assert [reader.is_new(final) for final in (FINAL, longer, longer)] == [True, True, False]


def test_it_imports_nothing_of_ours() -> None:
    with open(page.__file__, encoding="utf-8") as source:  # noqa: PTH123
        tree = ast.parse(source.read())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in imported}
    assert roots - sys.stdlib_module_names == {"fastavro", "kafka"}
