"""The examples of README are whole files that work, but for the files and secrets that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connectors.kafka.configuration.config_providers import resolve
from connectors.kafka.configuration.consistency import check_consistency
from connectors.kafka.configuration.properties import parse_properties, to_settings

README = Path(__file__).parents[4] / "connectors" / "kafka" / "README.md"
EXAMPLES = re.findall(r"```properties\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example(example: str) -> None:
    properties = resolve(parse_properties(example), "README", lambda *_: "secret")
    check_consistency(to_settings(properties, "README"))


def test_there_is_an_example_of_each_way() -> None:
    assert len(EXAMPLES) == 4
    for word in ("ssl.keystore.location", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"):
        assert any(word in example for example in EXAMPLES)
