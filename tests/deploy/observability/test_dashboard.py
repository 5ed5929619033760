"""The dashboard: queries of series that exist, rows in order, nothing over anything else."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from pipeline.observability.metrics import METRICS
from tests.deploy.observability.promtool import FOLDER, known_series, series_in

DASHBOARD = json.loads((FOLDER / "grafana/dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]


def queries() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel.get("targets", [])]


def test_every_series_that_is_asked_for_exists() -> None:
    assert len(queries()) > 50
    for query in queries():
        assert series_in(query)
        assert series_in(query) <= known_series(), query


def test_every_metric_is_shown_somewhere() -> None:
    shown = set().union(*map(series_in, queries()))
    for metric in METRICS:
        assert {metric.series, f"{metric.series}_bucket"} & shown, metric.series


def test_every_query_is_of_the_job_and_the_workers_that_were_chosen() -> None:
    for query in queries():
        selectors = re.findall(r"\{[^}]*\}", query)
        assert selectors, query
        assert all(found.startswith('{job="$job", instance=~"$instance"') for found in selectors), query


def test_the_variables_are_data_source_job_and_worker() -> None:
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
    ]
    for panel in PANELS:
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_rows_are_there_and_panels_neither_overlap_nor_leave_the_page() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["Overview", "Streams and quota", "Latency", "Kafka", "Recovery", "Delivery"]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))
        assert not cells & taken, panel["title"]
        taken |= cells
