"""The table of metrics: complete, told in the READMEs as it is, with closed labels, and naming no session."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import typer

from pipeline import elements
from pipeline.cli.run import app
from pipeline.cli.session_options import PANEL
from pipeline.observability.metrics import GAP, LETTER, METRICS, NAMESPACE, PLACE, Kind
from pipeline.observability.scraped_metrics import BUILD_INFO, WorkerCollector
from pipeline.worker.live_streams import Runtime
from tests.import_rules import ROOT

README = (ROOT / "pipeline" / "README.md").read_text(encoding="utf-8")
SERIES_README = (ROOT / "deploy/observability/README.md").read_text(encoding="utf-8")
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
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            if called in {"Counter", "Distribution", "Metrics.gauge"} and len(names) == 2:
                found.add((str(names[0]), str(names[1])))
    return found


def scraped(process: Runtime) -> set[str]:
    """Names of the series that are looked up when Prometheus asks, `_total` left out."""
    return {family.name for family in WorkerCollector(lambda: process).collect()} - {BUILD_INFO}


def test_the_table_holds_exactly_what_is_counted_or_looked_up(process: Runtime) -> None:
    by_scrape = {
        metric.full_name for metric in METRICS if metric.series.removesuffix("_total") in scraped(process)
    }
    assert len(by_scrape) == len(scraped(process))
    by_event = {metric.full_name for metric in METRICS if metric.kind is not Kind.GAUGE} - by_scrape
    counted = {name if space == NAMESPACE else f"{space}.{name}" for space, name in emitted()}
    assert {metric.full_name for metric in METRICS} == by_event | by_scrape
    assert by_event <= counted
    assert counted - by_event <= {metric.full_name for metric in METRICS if metric.kind is Kind.GAUGE}
    for metric in METRICS:
        assert metric.full_name in counted or not metric.beam, metric.name


def test_no_name_is_used_twice() -> None:
    assert len({(metric.namespace, metric.name) for metric in METRICS}) == len(METRICS)


def test_every_row_of_the_table_is_in_the_readme() -> None:
    for metric in METRICS:
        row = f"| `{metric.full_name}` | {metric.kind.value} | {metric.unit} | {metric.meaning} |"
        assert (row in README) == metric.beam, metric.name


def test_every_series_is_in_the_readme_of_those_who_watch() -> None:
    for metric in METRICS:
        kind = "histogram" if metric.kind is Kind.DISTRIBUTION else metric.kind.value
        labels = ", ".join(f"`{label.name}`" for label in metric.labels)
        assert f"| `{metric.series}` | {kind} | {labels} | {metric.meaning} |" in SERIES_README
    assert SERIES_README.count("| `medstream_") == len(METRICS) + 1, "and the version"


def test_names_are_as_prometheus_wants_them() -> None:
    names = [metric.series for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch("medstream_[a-z_]+", metric.series)
        assert metric.series.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert "_ms" not in metric.series
        base = metric.series.removesuffix("_total")
        for unit, suffix in (("milliseconds", "_seconds"), ("seconds", "_seconds"), ("bytes", "_bytes")):
            assert metric.unit != unit or base.endswith(suffix), metric.series


def test_labels_have_closed_sets_of_values_and_none_is_a_session() -> None:
    for metric in METRICS:
        for label in metric.labels:
            assert label in PLACE or label.values, metric.name
            assert "session" not in label.name
    for metric in METRICS:
        assert not set(metric.labels) & set(PLACE) or metric.namespace == "kafka_source"


def test_every_reason_that_there_is_has_its_label() -> None:
    reasons = {value for name, value in vars(elements).items() if name.isupper() and value == name}
    gaps = {
        elements.MISSING_SEQUENCE,
        elements.LOST_OFFSETS,
        elements.UNDECODABLE,
        elements.SEQUENCE_RESTARTED,
    }
    assert set(GAP.values or ()) == gaps
    assert set(LETTER.values or ()) == reasons - gaps


def test_milliseconds_are_named_so() -> None:
    for metric in METRICS:
        assert metric.beam or metric.kind is not Kind.DISTRIBUTION
        assert metric.name.endswith("_ms") == (metric.unit == "milliseconds"), metric.name
        assert metric.kind is not Kind.DISTRIBUTION or metric.unit == "milliseconds"


def bounds_in_the_readme() -> dict[str, list[str]]:
    """Cells of the table of bounds, by option."""
    table = README.split("## Bounds and metrics")[1].split("| metric |")[0]
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
