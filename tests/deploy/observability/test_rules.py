"""The alert rules: sound, about series that exist, each with a test of its own and something to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.observability.promtool import (
    FOLDER,
    RULES,
    alerts,
    known_series,
    needs_promtool,
    run,
    series_in,
)

CASES = Path(__file__).with_name("rules_test.yml")
README = (FOLDER / "README.md").read_text(encoding="utf-8")
ALERTS = alerts()


@needs_promtool
def test_the_rules_and_the_example_are_sound() -> None:
    assert f"{len(ALERTS)} rules found" in run("check", "rules", RULES)
    run("check", "config", FOLDER / "prometheus/prometheus.yml")


@needs_promtool
def test_every_alert_fires_on_series_that_cause_it_and_only_then() -> None:
    run("test", "rules", CASES.name, cwd=CASES.parent)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases: dict[bool, set[str]] = {True: set(), False: set()}
    for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]:
        for expected in case["promql_expr_test"]:
            (alert,) = re.findall(r'alertname="(\w+)"', expected["expr"])
            cases[bool(expected["exp_samples"])].add(alert)
    assert cases[True] == cases[False] == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_is_about_series_that_exist_and_says_what_to_do(alert: dict[str, Any]) -> None:
    asked = series_in(alert["expr"])
    assert asked
    assert asked <= known_series()
    assert alert["labels"]["severity"] in ("critical", "warning")
    told = alert["annotations"]
    assert set(told) == {"summary", "description", "runbook"}
    assert all(len(text) > 20 for text in told.values())


@pytest.mark.parametrize("alert", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_s_texts_name_labels_that_its_expression_keeps(alert: dict[str, Any]) -> None:
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values())))
    kept = {name.strip() for by in re.findall(r"by \(([^)]*)\)", alert["expr"]) for name in by.split(",")}
    assert named <= (kept or {"job", "instance"})


def test_every_alert_is_in_the_readme_with_what_it_means() -> None:
    told = re.findall(r"^\| `(Medstream\w+)` \| (\w+) \| ", README, re.MULTILINE)
    assert told == [(name, rule["labels"]["severity"]) for name, rule in ALERTS.items()]
