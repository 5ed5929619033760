"""The package's errors: one root, values kept, retry safety told."""

from __future__ import annotations

import pytest

from pipeline.errors import ChunkRejected, IllegalEvent, PipelineError, SettingsError


@pytest.mark.parametrize(
    "error",
    [
        SettingsError("--start-from", "wrong"),
        ChunkRejected("NOT_AVRO", "no marker"),
        IllegalEvent("none", "opened"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_has_the_root_and_says_that_a_retry_does_not_help(error: Exception) -> None:
    assert isinstance(error, PipelineError)
    assert error.retryable is False


def test_a_settings_error_begins_with_the_setting() -> None:
    error = SettingsError("--start-from", "'now' is not one of committed, earliest, latest")
    assert str(error).startswith("--start-from: ")
    assert error.setting == "--start-from"


def test_a_rejection_keeps_class_and_reason_apart() -> None:
    error = ChunkRejected("NOT_AVRO", "no marker")
    assert (error.error_class, error.reason, str(error)) == ("NOT_AVRO", "no marker", "NOT_AVRO: no marker")
