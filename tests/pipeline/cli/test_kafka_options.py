"""KEY=VALUE pairs of --kafka-property."""

from __future__ import annotations

import pytest

from pipeline.cli.kafka_options import properties_of
from pipeline.errors import SettingsError


def test_pairs_become_properties() -> None:
    assert properties_of(None) == {}
    assert properties_of(["client.id=a", " linger.ms = 5", "x=a=b", "x=c"]) == {
        "client.id": "a",
        "linger.ms": " 5",
        "x": "c",
    }


def test_a_pair_without_a_value_is_named() -> None:
    with pytest.raises(SettingsError, match=r"--kafka-property.*'linger\.ms' has no value"):
        properties_of(["linger.ms"])
