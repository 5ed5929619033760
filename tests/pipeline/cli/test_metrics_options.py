"""The options of the workers' metrics as one value, which travels with the job."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.job_options import metrics_settings
from pipeline.errors import SettingsError
from pipeline.observability.metrics_settings import LOOPBACK, MetricsSettings


def options(**changes: Any) -> dict[str, Any]:
    return {
        "metrics_port": None,
        "metrics_address": LOOPBACK,
        "metrics_targets_dir": None,
        "output_topic": "finals",
    } | changes


def test_nothing_is_served_unless_asked_for() -> None:
    assert metrics_settings(options()).port is None


def test_the_folder_is_the_same_for_every_worker_and_the_topic_tells_jobs_apart() -> None:
    found = metrics_settings(options(metrics_port=9464, metrics_targets_dir=Path("targets")))
    assert found == MetricsSettings(
        9464, LOOPBACK, str(Path("targets").absolute()), {"output_topic": "finals"}
    )
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - of this test


def test_a_folder_without_a_port_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"--metrics-targets-dir.*--metrics-port"):
        metrics_settings(options(metrics_targets_dir=Path("targets")))
