"""What is said of a recording that cannot be used."""

from __future__ import annotations

import pytest

from connectors.kafka.errors import KafkaConnectorError
from connectors.kafka.recordings import errors

CASES = [
    (errors.NotARecording("f.avro", "it is empty"), "medstream record"),
    (errors.DamagedRecording("f.avro", 7, 99, "it ends within a block"), "after 7 records"),
    (errors.UnwritableRecording("f.avro", "there is f.avro already; --overwrite replaces it"), "f.avro"),
]


@pytest.mark.parametrize(("error", "named"), CASES)
def test_the_message_names_file_and_problem(error: errors.RecordingError, named: str) -> None:
    assert isinstance(error, KafkaConnectorError)
    assert not error.retryable
    assert error.path == "f.avro"
    assert named in str(error)
    assert "\n" not in str(error)


def test_every_error_is_in_the_table() -> None:
    classes = {cls for cls in vars(errors).values() if isinstance(cls, type)}
    assert {type(error) for error, _ in CASES} == classes - {KafkaConnectorError, errors.RecordingError}
