"""The image's recipe, and what it runs, outside of a container."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from tests.deploy.command_lines import ROOT
from tests.deploy.docker.sandbox import BIN, ENVIRONMENT, hardened

FOLDER = ROOT / "deploy/docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
RECIPES = sorted([*FOLDER.glob("*Dockerfile"), *(ROOT / "deploy/dataflow").glob("Dockerfile")])


def instructions(text: str, name: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    return re.findall(rf"^{name} +(.+)$", joined, re.MULTILINE)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_hadolint_has_nothing_to_say(recipe: Path) -> None:
    ended = subprocess.run([BIN / "hadolint", recipe], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_the_user_is_a_number_other_than_root() -> None:
    user = instructions(DOCKERFILE, "USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # Kubernetes cannot tell that a name is not root's


def test_the_last_stage_builds_nothing() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert instructions(last, "COPY") == ["--from=build /opt/medstream /opt/medstream"]
    [run] = instructions(last, "RUN")
    assert run.startswith("python -m pip uninstall")


def test_every_package_comes_from_the_lock() -> None:
    for run in instructions(DOCKERFILE, "RUN"):
        for command in run.split("&&"):
            if " install " in command:
                assert "--require-hashes" in command
            if "uv sync" in command or "uv export" in command:
                assert "--frozen" in command
                assert "--no-dev" in command


def test_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"ARG VERSION={project['version']}\n" in DOCKERFILE
    [python] = re.findall(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)-", DOCKERFILE, re.MULTILINE)
    assert python in project["requires-python"]
    flink = (FOLDER / "flink.Dockerfile").read_text()
    [version] = re.findall(r"^ARG FLINK_IMAGE=flink:(\d+\.\d+)\.", flink, re.MULTILINE)
    assert version in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS


def test_no_digest_is_made_up() -> None:
    """A digest belongs to whoever pulled the image; one that is wrong breaks the build."""
    for recipe in RECIPES:
        assert not re.search(r"sha256:[0-9a-f]", recipe.read_text())


def test_the_builder_gets_what_is_copied_and_little_else() -> None:
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in patterns if line.startswith("!")}
    assert "*" in patterns
    assert "**/*.env" in patterns
    copied = {
        source.split("/")[0]
        for copy in instructions(DOCKERFILE, "COPY")
        if not copy.startswith("--from")
        for source in copy.split()[:-1]
    }
    assert copied == allowed


def test_console_scripts_of_the_image_exist() -> None:
    installed = {found.name for found in metadata.entry_points(group="console_scripts")}
    assert {
        "medstream",
        "medstream-worker-pool",
        "medstream-submission-gate",
    } <= installed


def test_the_entry_point_works_in_a_hardened_container() -> None:
    [entry] = instructions(DOCKERFILE, "ENTRYPOINT")
    [arguments] = instructions(DOCKERFILE, "CMD")
    commands = [[*json.loads(entry), *command] for command in (["--version"], json.loads(arguments))]
    started = [
        subprocess.Popen(hardened(command), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        for command in commands
    ]
    for process in started:
        output, _ = process.communicate()
        assert process.returncode == 0
        assert "medstream" in output


def test_a_hardened_container_is_what_the_sandbox_is() -> None:
    script = "id -u; touch /tmp/yes && touch /no; grep CapEff /proc/self/status"
    ended = subprocess.run(
        hardened(["sh", "-c", script]), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert ended.stdout.split() == [instructions(DOCKERFILE, "USER")[-1].split(":")[0], "CapEff:", "0" * 16]
    assert "/no" in ended.stderr


def test_the_bill_of_materials_names_what_is_locked(tmp_path: Path) -> None:
    uv = ROOT / ".uv/bin/uv"
    if not uv.exists():
        pytest.skip("uv is not at .uv/bin/uv: made by make setup")
    [command] = re.findall(r"uv (export .+?)--output-file", DOCKERFILE.replace("\\\n", " "))
    output = tmp_path / "sbom.json"
    arguments = re.sub(r"\$\{EXTRA:\+.*?\}", "", command).split()
    subprocess.run(
        [uv, *arguments, "--offline", "--output-file", output], cwd=ROOT, check=True, capture_output=True
    )
    bill = json.loads(output.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == "medstream"
    found = {component["name"]: component for component in bill["components"]}
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    versions = {(package["name"], package.get("version")) for package in locked}
    assert {"apache-beam", "kafka-python", "h2", "botocore"} <= set(found)
    assert not {"pytest", "mypy", "ruff"} & set(found)
    for name, component in found.items():
        assert (name, component["version"]) in versions
        assert component["purl"].startswith("pkg:pypi/")
