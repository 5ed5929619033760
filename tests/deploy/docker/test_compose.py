"""compose.yaml: valid, nothing published beyond this machine, no secret in it, and commands that parse."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from tests.deploy.command_lines import ROOT, parse, unknown_beam_flags, unknown_flink_settings

FOLDER = ROOT / "deploy/docker"
FILE = FOLDER / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "medstream:" in service["image"]]
SETTINGS = FOLDER / "compose/medstream.toml"
ELSEWHERE = "deploy/observability/"  # written by hand beside this folder; see deploy/README.md


def test_it_fits_the_compose_specification() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    ended = subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+", port)


def test_published_ports_differ() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len({re.search(r":-(\d+)", port).group(1) for port in ports}) == len(ports)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", SERVICES)
def test_every_condition_can_come_true(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        other = SERVICES[needed]
        if how["condition"] == "service_healthy":
            assert "healthcheck" in other
        if how["condition"] == "service_completed_successfully":
            assert other["restart"] == "no"


def test_named_volumes_are_declared_and_files_exist() -> None:
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not source.startswith("."):
                named.add(source)
                continue
            path = (FOLDER / source).resolve()
            assert volume.endswith(":ro")
            if not str(path.relative_to(ROOT)).startswith(ELSEWHERE) or (ROOT / ELSEWHERE).exists():
                assert path.is_file(), path
    assert named == set(COMPOSE["volumes"])


@pytest.mark.parametrize(
    "name", [name for name, service in SERVICES.items() if "medstream:" in service["image"]]
)
def test_our_containers_are_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"] == SERVICES["medstream"]["image"]


@pytest.mark.parametrize(
    "name", [name for name, service in SERVICES.items() if "medstream:" in service["image"]]
)
def test_commands_parse(name: str) -> None:
    service = SERVICES[name]
    command = [*service.get("entrypoint", ["medstream"]), *service["command"]]
    settings = parse(command, {"/etc/medstream/medstream.toml": SETTINGS})
    assert unknown_beam_flags(settings.get("beam_flags", [])) == []
    if probe := service.get("healthcheck", {}).get("test"):
        assert probe[0] == "CMD"
        if probe[1].startswith("medstream"):
            assert parse(probe[1:])["port"] == settings["port"]


def test_the_job_finds_every_service_by_its_name_and_port() -> None:
    job = parse(["medstream", "run", f"--config={SETTINGS}"])
    beam = dict(flag.removeprefix("--").split("=", 1) for flag in job["beam_flags"] if "=" in flag)
    assert job["bootstrap_servers"] == "kafka:9092"
    assert "INSIDE://kafka:9092" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert job["endpoint_url"] == "http://endpoint:8760"
    assert "--port=8760" in SERVICES["endpoint"]["command"]
    assert job["schema_registry_url"] == "http://registry:8080/apis/ccompat/v7"
    assert f"--schema-registry-url={job['schema_registry_url']}" in SERVICES["schemas"]["command"]
    assert beam["job_endpoint"] == "job-server:8099"
    assert {"--job-host=job-server", "--job-port=8099"} <= set(SERVICES["job-server"]["command"])
    assert beam["environment_config"] == "localhost:50000"
    assert (
        parse([*SERVICES["worker-pool"]["entrypoint"], *SERVICES["worker-pool"]["command"]])["port"] == 50_000
    )
    assert SERVICES["worker-pool"]["network_mode"] == "service:taskmanager"
    topics = SERVICES["topics"]["command"][-1]
    for topic in ("input_topic", "output_topic", "sessions_topic"):
        assert f"{job[topic]}:" in topics
    assert f"{job['input_topic']}.dead-letters:" in topics


def test_metrics_are_scraped_where_they_are_served() -> None:
    scraped = yaml.safe_load((FOLDER / "compose/prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in scraped for config in job["static_configs"] for target in config["targets"]}
    assert {target.split(":")[0] for target in targets} <= set(SERVICES)
    environment = example()
    assert f"taskmanager:{environment['MEDSTREAM_METRICS_PORT']}" in targets
    flink = yaml.safe_load(SERVICES["taskmanager"]["environment"]["FLINK_PROPERTIES"])
    assert f"taskmanager:{flink['metrics.reporter.prom.port']}" in targets


def test_flink_knows_every_setting() -> None:
    for name in ("jobmanager", "taskmanager"):
        settings = yaml.safe_load(SERVICES[name]["environment"]["FLINK_PROPERTIES"])
        assert unknown_flink_settings(settings) == []


def example() -> dict[str, str]:
    lines = (FOLDER / "compose/compose.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_only_key_is_the_endpoints_which_is_no_secret() -> None:
    environment = example()
    assert environment["AWS_ACCESS_KEY_ID"] == LOCAL_ACCESS_KEY_ID
    assert environment["AWS_SECRET_ACCESS_KEY"] == LOCAL_SECRET_ACCESS_KEY
    assert not re.search(r"(?i)password|secret_access|token", FILE.read_text().replace("no password", ""))
    assert "deploy/docker/compose/compose.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_images_are_pinned() -> None:
    for service in SERVICES.values():
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), service["image"]
