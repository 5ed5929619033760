"""A few thousand damaged records; `make mutate` feeds a million."""

from __future__ import annotations

import pytest

import schemas
from schemas.codec import RecordCodec
from tests.schemas.mutations import Registry, feed, mutated, whole_inputs


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_give_a_record_or_an_error_of_ours(seed: int) -> None:
    outcomes = feed(4000, seed)
    # Every kind of outcome is met, so the damage is neither too small nor too great.
    assert {"a record", "MalformedRecord", "UnknownFingerprint", "UnknownSchemaId"} <= set(outcomes)
    assert {"NotSingleObjectEncoded", "UnknownWireFormat"} <= set(outcomes)


def test_an_error_that_is_not_ours_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(self: RecordCodec, data: bytes, start: int, writer: object = None) -> dict[str, object]:
        raise ValueError(data)

    monkeypatch.setattr(RecordCodec, "decode", decode)
    with pytest.raises(ValueError, match="b'"):
        feed(100, 0)


def test_the_same_seed_damages_alike() -> None:
    inputs = whole_inputs(Registry())
    assert {name for name, _, _ in inputs} == set(schemas.names())
    assert list(mutated(inputs, 50, 3)) == list(mutated(inputs, 50, 3))
