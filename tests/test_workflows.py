"""GitHub's files: they fit the published schemas, zizmor finds nothing, and CI is .ci/run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))
SCHEMAS = {"github-workflows": WORKFLOWS, "dependabot": [FOLDER / "dependabot.yml"]}


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = Path(sys.executable).with_name(program)
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_files_fit_their_schema(schema: str) -> None:
    ended = run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *SCHEMAS[schema])
    assert ended.returncode == 0, ended.stdout


def test_zizmor_finds_nothing() -> None:
    ended = run("zizmor", "--offline", "--no-progress", FOLDER)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_say_of_which_version(workflow: Path) -> None:
    used = re.findall(r"uses: *(.+)", workflow.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action)


def test_ci_is_what_runs_everywhere_else() -> None:
    content: dict[str, Any] = yaml.safe_load((FOLDER / "workflows/ci.yml").read_text())
    [job] = content["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert (ROOT / ".ci/run").exists()


def test_dependabot_looks_where_there_is_something() -> None:
    content = yaml.safe_load((FOLDER / "dependabot.yml").read_text())
    files = {"uv": "uv.lock", "github-actions": ".github/workflows/*.yml", "docker": "*Dockerfile"}
    for update in content["updates"]:
        for directory in update.get("directories", [update.get("directory")]):
            pattern = files.get(update["package-ecosystem"], "compose.yaml")
            assert list((ROOT / directory.lstrip("/")).glob(pattern))
