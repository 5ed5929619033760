"""Debian's `promtool` for the tests of rules: found or skipped, run, and fed with what a process shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pipeline.observability.metrics import METRICS, Kind
from tests.import_rules import ROOT

FOLDER = ROOT / "deploy/observability"
RULES = FOLDER / "prometheus/rules.yml"
TARGET = {"job": "medstream", "instance": "127.0.0.1:9464"}

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool: apt-get install prometheus")

_SERIES = re.compile(r"\b(?:medstream_\w+|process_\w+|up)\b(?!\s*=)")
OF_THE_LIBRARIES = {"up", "process_resident_memory_bytes"}
"""Series of Prometheus itself, and of its Python client."""


def alerts() -> dict[str, dict[str, Any]]:
    """The rules by the alert's name."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def series_in(expression: str) -> set[str]:
    """Names of the series that an expression asks for."""
    return set(_SERIES.findall(expression))


def known_series() -> set[str]:
    """Every name that a worker shows, histograms' three each."""
    names = {"medstream_build_info", *OF_THE_LIBRARIES}
    for metric in METRICS:
        ends = ("_bucket", "_sum", "_count") if metric.kind is Kind.DISTRIBUTION else ("",)
        names |= {metric.series + end for end in ends}
    return names


def run(*arguments: str | Path, cwd: Path | None = None) -> str:
    """What promtool says; fails with it when it finds fault."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def firing(scrapes: Sequence[str], alert: str, folder: Path, eval_minutes: int) -> None:
    """Fail unless `alert` fires, after so many minutes, on what a process showed minute by minute."""
    test = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": " ".join(values)} for name, values in recorded(scrapes).items()
        ],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) > bool 0',
                "eval_time": f"{eval_minutes}m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        ],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    path = folder / "recorded.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    run("test", "rules", path)


def recorded(scrapes: Sequence[str]) -> Mapping[str, list[str]]:
    """Series of the scrapes, in promtool's notation; `_` where one did not show it."""
    found: dict[str, list[str]] = {}
    for number, text in enumerate(scrapes):
        for name, value in samples(text):
            found.setdefault(name, ["_"] * number).append(f"{value:.6f}")
        for values in found.values():
            values.extend(["_"] * (number + 1 - len(values)))
    return found


def samples(text: str) -> Iterable[tuple[str, float]]:
    """Samples of medstream's own series, with the labels that a scrape adds."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("medstream_"):
                labels = ",".join(f'{key}="{value}"' for key, value in (sample.labels | TARGET).items())
                yield f"{sample.name}{{{labels}}}", sample.value
