"""The rules of evolution against what fastavro really reads."""

from __future__ import annotations

import copy
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from schemas.compatibility import changed_meanings, incompatibilities, release_problems
from schemas.serde import SingleObjectSerde
from tests.schemas.avro_strategies import changed, next_versions, values, witnesses
from tests.schemas.avro_strategies import schemas as any_schemas
from tests.schemas.schema_pairs import COMPATIBLE, INCOMPATIBLE, field, record


@pytest.mark.parametrize(("reader", "writer"), COMPATIBLE)
def test_what_avro_resolves_is_compatible(reader: Any, writer: Any) -> None:
    assert incompatibilities(reader, writer) == []


@pytest.mark.parametrize(("reader", "writer", "told"), INCOMPATIBLE)
def test_what_avro_does_not_resolve_is_named_with_its_place(reader: Any, writer: Any, told: str) -> None:
    problems = incompatibilities(reader, writer)
    assert any(told in problem for problem in problems), problems


def test_another_unit_of_time_is_no_matter_of_bytes_but_told() -> None:
    millis, micros = ({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros"))
    reader, writer = record(field("at", ["null", micros])), record(field("at", ["null", millis]))
    assert incompatibilities(reader, writer) == []
    assert changed_meanings(reader, writer) == ["at: logical type timestamp-millis became timestamp-micros"]


def reads(reader: Any, writer: Any, value: Any) -> bool:
    """Whether fastavro reads `value`, written by one schema, with the other."""
    data = BytesIO()
    schemaless_writer(data, parse_schema(writer), value)
    data.seek(0)
    try:
        schemaless_reader(data, parse_schema(writer), parse_schema(reader))
    except Exception:
        return False
    return True


@settings(max_examples=300)
@given(st.data())
def test_the_verdict_is_what_fastavro_does(data: st.DataObject) -> None:
    writer = data.draw(any_schemas())
    reader = data.draw(changed(writer))
    all_read = all(reads(reader, writer, value) for value in witnesses(writer))
    assert (incompatibilities(reader, writer) == []) == all_read


NAMES = schemas.names()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(data=st.data())
def test_versions_that_the_rules_allow_read_each_other(name: str, data: st.DataObject) -> None:
    older = schemas.load(name)
    newer = data.draw(next_versions(older))
    assert release_problems(newer, {"older": older}) == []
    for reader, writer in ((older, newer), (newer, older)):
        value = data.draw(values(writer))
        encoded = SingleObjectSerde(writer).encode(value)
        found = SingleObjectSerde(reader, writer_schemas=[writer]).decode(encoded)
        assert set(found) == {f["name"] for f in reader["fields"]}


FORBIDDEN = {
    "a new field without a default": lambda s: s["fields"].append({"name": "added", "type": "string"}),
    "a field taken away": lambda s: s["fields"].pop(0),
    "a field renamed": lambda s: s["fields"][0].update(name="renamed"),
    "another type": lambda s: s["fields"][0].update(type={"type": "array", "items": "int"}),
    "a wider type": lambda s: next(f for f in s["fields"] if f["type"] in ("int", "long")).update(
        type="double"
    ),
    "another name": lambda s: s.update(name="Renamed"),
}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("dead_letter", "recorded_record")])
@pytest.mark.parametrize("change", sorted(FORBIDDEN))
def test_a_change_that_breaks_readers_is_told(name: str, change: str) -> None:
    newer = schemas.load(name)
    if change == "a wider type" and name == "partial_transcript":
        newer["fields"][3]["type"] = "string"
    else:
        FORBIDDEN[change](newer)
    assert release_problems(newer, {"0.0.1": schemas.load(name)})


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_may_follow_its_releases(name: str) -> None:
    assert release_problems(schemas.load(name), schemas.released(name)) == []


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(data=st.data())
def test_every_release_reads_our_records_and_we_read_its(name: str, data: st.DataObject) -> None:
    for older in schemas.released(name).values():
        ours = data.draw(values(schemas.load(name)))
        SingleObjectSerde(older, writer_schemas=[schemas.load(name)]).decode(
            SingleObjectSerde(name).encode(ours)
        )
        theirs = data.draw(values(older))
        SingleObjectSerde(name).decode(SingleObjectSerde(older).encode(theirs))


def test_problems_name_the_release() -> None:
    newer = copy.deepcopy(schemas.load("session_ended"))
    newer["fields"].pop(0)
    problems = release_problems(newer, {"0.1.0": schemas.load("session_ended")})
    assert problems == [
        "readers of 0.1.0 cannot read its records: field 'session_id' is not written, "
        "and the reader has no default"
    ]
