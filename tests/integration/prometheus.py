"""A real Prometheus (Debian's package) that watches the workers of a test, with medstream's own rules."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.processes import ChildProcess, free_port
from tests.deploy.observability.promtool import FOLDER, RULES

BINARY = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(BINARY is None, reason="no Prometheus: apt-get install prometheus")


class Prometheus:
    """Scrapes each second what is announced in `targets`; the example's configuration in a hurry.

    Alerts fire without waiting (`for` is left out): how long a condition has to last is promtool's to test.
    """

    def __init__(self, folder: Path, targets: Path) -> None:
        assert BINARY is not None
        folder.mkdir(parents=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
        for rule in rules["groups"][0]["rules"]:
            rule.pop("for", None)
        (folder / "rules.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        config = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        (job,) = config["scrape_configs"]
        job["file_sd_configs"] = [{"files": [f"{targets}/medstream-*.json"], "refresh_interval": "1s"}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self._process = ChildProcess(
            "Prometheus",
            [
                BINARY,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--log.level=warn",
            ],
            log_path=folder / "prometheus.log",
        )
        self._process.wait_until_ready(self._is_ready, 30)

    def close(self) -> None:
        self._process.stop()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query finds now: labels (`metric`) and `value`, NaN left out."""
        found = self._get("/api/v1/query", query=expression)["data"]["result"]
        return [sample for sample in found if sample["value"][1] != "NaN"]

    def value(self, expression: str) -> float:
        """The one value of a query; 0 without."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else 0.0

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as response:  # noqa: S310
                return bool(response.status == 200)
        except OSError:
            return False

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - of this test
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
