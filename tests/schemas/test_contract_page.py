"""What schemas/README.md shows works as it stands there."""

from __future__ import annotations

import re
from typing import Any

import pytest

import schemas
from pipeline.output import outputs
from schemas.serde import SingleObjectSerde
from tests.schemas.avro_strategies import witnesses

FOLDER = schemas.path("audio_chunk").parent
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_reader_without_a_registry_reads_our_records(monkeypatch: pytest.MonkeyPatch) -> None:
    example = next(
        code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "schemaless" in code
    )
    monkeypatch.chdir(FOLDER)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - our own page
    for record in witnesses(schemas.load("final_transcript")):
        value = SingleObjectSerde("final_transcript").encode(record)
        assert names["decode"](value) == SingleObjectSerde("final_transcript").decode(value)


def test_links_to_files_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    local = [link for link in links if not link.startswith("https:")]
    assert local
    for link in local:
        assert (FOLDER / link).exists(), link


def test_every_header_and_type_is_named() -> None:
    headers = outputs.cloud_event_headers("id", "type", ("topic", 0), {"traceparent": b"", "tracestate": b""})
    for name, _ in headers:
        assert f"`{name}`" in PAGE
    for kind in (
        outputs.FINAL_TYPE,
        outputs.PARTIAL_TYPE,
        outputs.SESSION_ENDED_TYPE,
        outputs.DEAD_LETTER_TYPE,
    ):
        assert f"`{kind}`" in PAGE


@pytest.mark.parametrize("target", re.findall(r"\]\(#([\w-]+)\)", PAGE))
def test_jumps_within_the_page_have_a_heading(target: str) -> None:
    headings = {
        re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-")
        for h in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert target in headings
