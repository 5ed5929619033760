"""The table of metrics: complete, told in the README as it is, and naming no session."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import typer

from pipeline.cli.run import app
from pipeline.cli.session_options import PANEL
from pipeline.metrics import METRICS, NAMESPACE, Kind
from tests.import_rules import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
# The functions through which names reach Beam; their first argument is the name.
EMITTERS = {"Observe", "_observe", "Measured", "count", "measure", "_set", "observed.append"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, with the last words of what is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            words = ast.unparse(node.func).split(".")
            yield words[-1], node
            yield ".".join(words[-2:]), node


def words_in(expression: ast.expr) -> set[str]:
    return {
        node.value
        for node in ast.walk(expression)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def emitted() -> set[tuple[str, str]]:
    """Namespace and name of every metric that some code of ours counts."""
    found: set[tuple[str, str]] = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        for called, node in calls(path):
            if called in EMITTERS and node.args:
                found |= {(NAMESPACE, name) for name in words_in(node.args[0])}
    for path in (ROOT / "connectors").rglob("*.py"):
        for called, node in calls(path):
            if called in {"Metrics.counter", "Metrics.distribution", "Metrics.gauge"}:
                namespace, name = (ast.literal_eval(argument) for argument in node.args)
                found.add((namespace, name))
    return found


def test_the_table_holds_exactly_what_is_counted() -> None:
    assert {(metric.namespace, metric.name) for metric in METRICS} == emitted()


def test_no_name_is_used_twice() -> None:
    assert len({(metric.namespace, metric.name) for metric in METRICS}) == len(METRICS)


def test_every_row_of_the_table_is_in_the_readme() -> None:
    for metric in METRICS:
        name = metric.name if metric.namespace == NAMESPACE else f"{metric.namespace}.{metric.name}"
        assert f"| `{name}` | {metric.kind.value} | {metric.unit} | {metric.meaning} |" in README


def test_milliseconds_are_named_so() -> None:
    for metric in METRICS:
        assert metric.name.endswith("_ms") == (metric.unit == "milliseconds"), metric.name
        assert metric.kind is not Kind.DISTRIBUTION or metric.unit == "milliseconds"


def bounds_in_the_readme() -> dict[str, list[str]]:
    """Cells of the table of bounds, by option."""
    table = README.split("### Bounds and metrics")[1].split("| metric |")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`--")}


def test_the_readme_tells_every_bound_with_its_default_and_metrics_that_exist() -> None:
    options = {
        option: parameter.default
        for parameter in typer.main.get_command(app).params
        for option in parameter.opts
        if getattr(parameter, "rich_help_panel", None) == PANEL
    }
    told = bounds_in_the_readme()
    assert told.keys() == options.keys()
    names = {metric.name for metric in METRICS if metric.namespace == NAMESPACE}
    for option, default in options.items():
        shown_default, _, shown_by = told[option]
        assert shown_default.strip("`") == (default if isinstance(default, str) else f"{default:g}")
        assert set(shown_by.replace("`", "").split(", ")) <= names, option
