"""Every property of Kafka's own clients is known here: taken, or refused with a reason."""

from __future__ import annotations

import re
import subprocess

import pytest

from connectors.kafka.configuration.properties import NAMES
from connectors.kafka.configuration.refused_properties import reason_for_refusal
from deploy.local.jars import KAFKA_LOCK, ensure_jars
from deploy.local.java import class_path, java_executable


@pytest.mark.parametrize("kind", ["consumer.Consumer", "producer.Producer", "admin.AdminClient"])
def test_every_property_of_a_client(kind: str) -> None:
    """The classes print their own documentation, which names them all."""
    command = [str(java_executable()), "-cp", class_path(ensure_jars(KAFKA_LOCK))]
    printed = subprocess.run(
        [*command, f"org.apache.kafka.clients.{kind}Config"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    names = set(re.findall(r'<h4><a id="([a-z0-9.]+)"', printed))
    assert len(names) > 40
    assert {name for name in names if name not in NAMES and reason_for_refusal(name) is None} == set()
    assert {name for name in names if name in NAMES and reason_for_refusal(name)} == set()
