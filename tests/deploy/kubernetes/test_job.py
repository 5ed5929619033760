"""What the job gets from the manifests: commands that parse, settings that hold, addresses that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.kafka.client import ClientConfig
from tests.deploy.command_lines import parse, unknown_beam_flags, unknown_flink_settings
from tests.deploy.kubernetes.rendered import Pod, of_kind, pods, render, settings_files

RENDERED = ("base", "overlays/eks-msk")
SESSIONS = 125  # that a task manager's requests fit
CHUNKS_PER_SECOND = 10
PYTHON_MS, CLIENT_MS, JVM_MS = 0.125, 0.09, 0.18  # a chunk, measured
ACCOUNT_QUOTA = 25  # streams, by default


def pod(variant: str, owner: str) -> Pod:
    [found] = [found for found in pods(render(variant)) if found.owner == owner]
    return found


def command(container: dict[str, Any]) -> list[str]:
    return [*container.get("command", ["medstream"]), *container.get("args", [])]


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of the job that the submitter's pod would submit."""
    variant = request.param
    documents = render(variant)
    for name, value in of_kind(documents, "ConfigMap")["medstream-settings"]["data"].items():
        monkeypatch.setenv(name, value)
    container = pod(variant, "medstream-submit").spec["containers"][0]
    settings = parse(command(container), settings_files(documents, tmp_path))
    return {**settings, "variant": variant, "folder": tmp_path}


def beam(job: dict[str, Any]) -> dict[str, str]:
    return dict(flag.removeprefix("--").split("=", 1) for flag in job["beam_flags"] if "=" in flag)


@pytest.mark.parametrize("variant", RENDERED)
def test_every_command_of_ours_parses(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = render(variant)
    monkeypatch.setenv("MEDSTREAM_BOOTSTRAP_SERVERS", "kafka:9092")
    files = settings_files(documents, tmp_path)
    parsed = 0
    for found in pods(documents):
        for container in found.containers:
            if not container.get("image", "").rpartition("/")[2].startswith("medstream:"):
                continue
            settings = parse(command(container), files)
            parsed += 1
            for probe in ("startupProbe", "livenessProbe"):
                if probe in container:
                    checked = parse(container[probe]["exec"]["command"])
                    assert checked["check"] is True
                    assert checked["port"] == settings["port"]
    assert parsed == 3


@pytest.mark.parametrize("job", RENDERED, indirect=True)
def test_beam_knows_every_option(job: dict[str, Any]) -> None:
    assert unknown_beam_flags(job["beam_flags"]) == []
    assert unknown_beam_flags(["--no_such_option=1"]) == ["no_such_option"]


@pytest.mark.parametrize("variant", RENDERED)
def test_flink_knows_every_setting(variant: str) -> None:
    [flink] = of_kind(render(variant), "FlinkDeployment").values()
    assert unknown_flink_settings(flink["spec"]["flinkConfiguration"]) == []
    assert unknown_flink_settings(["taskmanager.numberOfSlots"]) == ["taskmanager.numberOfSlots"]


@pytest.mark.parametrize("job", RENDERED, indirect=True)
def test_the_job_finds_job_server_and_worker_pool(job: dict[str, Any]) -> None:
    variant, options = job["variant"], beam(job)
    documents = render(variant)
    host, port = options["job_endpoint"].split(":")
    service = of_kind(documents, "Service")[host]["spec"]
    assert int(port) in {found["port"] for found in service["ports"]}
    server = pod(variant, "medstream-job-server").containers[0]
    assert {f"--job-host={host}", f"--job-port={port}"} <= set(server["args"])
    [flink] = of_kind(documents, "FlinkDeployment")
    assert f"--flink-master={flink}-rest:8081" in server["args"]  # the service that the operator makes
    gate = parse(command(pod(variant, "medstream-submit").containers[0]))
    assert gate["job_endpoint"] == options["job_endpoint"]
    assert gate["flink_url"] == f"http://{flink}-rest:8081"
    assert options["environment_type"] == "EXTERNAL"
    pool = pod(variant, "medstream-flink taskmanager").containers[1]
    assert options["environment_config"] == f"localhost:{parse(command(pool))['port']}"


@pytest.mark.parametrize("job", RENDERED, indirect=True)
def test_kafkas_clients_take_the_properties(job: dict[str, Any]) -> None:
    """With the Secret's files where the ConfigMap expects them."""
    secret = job["folder"] / "secret"
    secret.mkdir()
    login = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="a b";'
    (secret / "sasl.jaas.config").write_text(login)
    trustme.CA().cert_pem.write_to_path(str(secret / "ca.pem"))
    properties = job["folder"] / "here.properties"
    text = (job["folder"] / "client.properties").read_text()
    properties.write_text(text.replace("/etc/medstream-kafka", str(secret)))
    settings = ClientConfig.build(job["bootstrap_servers"], properties, {}).load()
    assert settings["security_protocol"] == "SASL_SSL"
    assert job["command_config"] == Path("/etc/medstream/client.properties")
    port = int(job["bootstrap_servers"].rpartition(":")[2])
    services = of_kind(render(job["variant"]), "NetworkPolicy")["services"]["spec"]["egress"][0]["ports"]
    assert any(found["port"] <= port <= found.get("endPort", found["port"]) for found in services)


@pytest.mark.parametrize("job", RENDERED, indirect=True)
def test_files_are_at_the_same_place_for_submitter_and_workers(job: dict[str, Any]) -> None:
    """Workers read the clients' properties themselves, at the path that the job names."""
    submitter = pod(job["variant"], "medstream-submit").spec["containers"][0]
    worker = pod(job["variant"], "medstream-flink taskmanager").containers[1]
    places = [
        {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        for container in (submitter, worker)
    ]
    for path in ("/etc/medstream", "/etc/medstream-kafka"):
        assert places[0][path] == places[1][path]


@pytest.mark.parametrize("job", RENDERED, indirect=True)
def test_streams_fit_the_accounts_quota(job: dict[str, Any]) -> None:
    assert job["max_live_streams"] * int(beam(job)["parallelism"]) <= ACCOUNT_QUOTA


@pytest.mark.parametrize("job", RENDERED, indirect=True)
def test_the_budget_leaves_one_task_manager_at_a_time(job: dict[str, Any]) -> None:
    budgets = of_kind(render(job["variant"]), "PodDisruptionBudget")
    spec = of_kind(render(job["variant"]), "FlinkDeployment")["medstream-flink"]["spec"]
    assert budgets["medstream-jobmanager"]["spec"]["minAvailable"] == spec["jobManager"]["replicas"] - 1
    assert budgets["medstream-taskmanager"]["spec"]["minAvailable"] == int(beam(job)["parallelism"]) - 1


def test_requests_follow_from_what_was_measured() -> None:
    spec = of_kind(render("base"), "FlinkDeployment")["medstream-flink"]["spec"]
    chunks = SESSIONS * CHUNKS_PER_SECOND
    worker = pod("base", "medstream-flink taskmanager").containers[1]["resources"]["requests"]
    assert int(worker["cpu"].removesuffix("m")) >= chunks * (PYTHON_MS + CLIENT_MS)
    assert spec["taskManager"]["resource"]["cpu"] * 1000 >= chunks * JVM_MS
    assert int(worker["memory"].removesuffix("Mi")) >= 155 + 100 + SESSIONS * 0.32
    assert int(spec["taskManager"]["resource"]["memory"].removesuffix("m")) >= 565
    assert int(spec["jobManager"]["resource"]["memory"].removesuffix("m")) >= 390
    settings = spec["flinkConfiguration"]
    assert settings["taskmanager.numberOfTaskSlots"] == "1"
    assert settings["state.checkpoint-storage"] == "filesystem"
