"""The record type: its tuple form, its headers, and that it hides what it carries."""

from __future__ import annotations

from apache_beam.coders import FastPrimitivesCoder
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import KafkaRecord

BYTES = st.none() | st.binary(max_size=30)
RECORDS = st.builds(
    KafkaRecord,
    topic=st.text(max_size=10),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    timestamp_ms=st.integers(-1, 2**60),
    timestamp_type=st.integers(0, 1),
    key=BYTES,
    value=BYTES,
    headers=st.lists(st.tuples(st.text(max_size=5), BYTES), max_size=3).map(tuple),
)


@given(RECORDS)
def test_the_tuple_form_crosses_beams_coder(record: KafkaRecord) -> None:
    coder = FastPrimitivesCoder()
    assert KafkaRecord.from_tuple(coder.decode(coder.encode(record.as_tuple()))) == record


@given(RECORDS)
def test_header_is_the_last_of_its_name(record: KafkaRecord) -> None:
    for name, _ in record.headers:
        assert record.header(name) == dict(record.headers)[name]
    assert record.header("no such header") is None


def test_repr_shows_the_position_only() -> None:
    record = KafkaRecord("audio", 3, 17, 5, 0, b"KEY-1", b"VALUE-1", (("h", b"HEADER-1"),))
    assert "17" in repr(record)
    assert not any(secret in repr(record) for secret in ("KEY-1", "VALUE-1", "HEADER-1"))
