"""The manifests fit the published schemas, refer only to what there is, and lock every container."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from tests.deploy.command_lines import ROOT
from tests.deploy.kubernetes.rendered import FOLDER, MAIN, VARIANTS, of_kind, pods, render, selects
from tests.deploy.kubernetes.schemas import validate

ELSEWHERE = {"Secret": {"medstream-kafka"}}  # made by whatever keeps secrets
RENDERED = ("base", "overlays/eks-msk")


@pytest.mark.parametrize("variant", RENDERED)
def test_every_document_fits_its_schema(variant: str) -> None:
    documents = render(variant)
    assert len(documents) > 15
    for document in documents:
        validate(document)


def test_a_misspelt_field_of_the_custom_resource_is_found() -> None:
    document = yaml.safe_load((FOLDER / "base/flink.yaml").read_text())
    validate(document)
    document["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    with pytest.raises(jsonschema.ValidationError, match="imagePullPolcy"):
        validate(document)


@pytest.mark.parametrize("variant", RENDERED)
def test_every_name_that_a_pod_refers_to_exists(variant: str) -> None:
    documents = render(variant)
    for pod in pods(documents):
        account = pod.spec.get("serviceAccountName")
        assert account is None or account in of_kind(documents, "ServiceAccount")
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        for volume in volumes.values():
            if config := volume.get("configMap"):
                assert config["name"] in of_kind(documents, "ConfigMap")
            if secret := volume.get("secret"):
                assert secret["secretName"] in ELSEWHERE["Secret"]
        used = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        assert used <= set(volumes)
        for container in pod.containers:
            for source in container.get("envFrom", []):
                assert source["configMapRef"]["name"] in of_kind(documents, "ConfigMap")
    for binding in of_kind(documents, "RoleBinding").values():
        assert binding["roleRef"]["name"] in of_kind(documents, "Role")
        for subject in binding["subjects"]:
            assert subject["name"] in of_kind(documents, "ServiceAccount")
            assert subject["namespace"] == binding["metadata"]["namespace"]


def test_workers_may_change_nothing_in_the_cluster() -> None:
    documents = render("base")
    [worker] = [pod for pod in pods(documents) if pod.owner == "medstream-flink taskmanager"]
    roles = {
        binding["roleRef"]["name"]
        for binding in of_kind(documents, "RoleBinding").values()
        for subject in binding["subjects"]
        if subject["name"] == worker.spec["serviceAccountName"]
    }
    [rule] = [rule for role in roles for rule in of_kind(documents, "Role")[role]["rules"]]
    assert rule == {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}
    for role in of_kind(documents, "Role").values():
        assert "*" not in [verb for rule in role["rules"] for verb in (*rule["verbs"], *rule["resources"])]


@pytest.mark.parametrize("variant", RENDERED)
def test_there_is_no_secret_in_the_manifests(variant: str) -> None:
    assert of_kind(render(variant), "Secret") == {}


@pytest.mark.parametrize("variant", RENDERED)
def test_every_container_is_locked(variant: str) -> None:
    """As the namespace's level `restricted` demands, and with nothing to write to but its volumes."""
    for pod in pods(render(variant)):
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.containers:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own.get("runAsUser", context["runAsUser"]) > 0


@pytest.mark.parametrize("variant", RENDERED)
def test_our_containers_have_the_images_user_and_a_place_for_temporary_files(variant: str) -> None:
    images = set()
    for pod in pods(render(variant)):
        for container in pod.containers:
            image = container.get("image", "")
            if image.rpartition("/")[2].startswith("medstream:"):
                images.add(image)
                user = container["securityContext"].get("runAsUser", pod.spec["securityContext"]["runAsUser"])
                assert user == 10001
                mounts = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
                assert "/tmp" in mounts or container["name"] == "gate"  # noqa: S108
    assert len(images) == 1


@pytest.mark.parametrize("variant", RENDERED)
def test_pods_of_two_users_share_a_group_for_the_clouds_token(variant: str) -> None:
    """kubelet gives a projected token to one user, or to the pod's group."""
    for pod in pods(render(variant)):
        if pod.spec.get("serviceAccountName"):
            assert pod.spec["securityContext"]["fsGroup"] > 0


@pytest.mark.parametrize("variant", RENDERED)
def test_every_container_asks_for_what_it_needs(variant: str) -> None:
    for pod in pods(render(variant)):
        for container in pod.containers:
            if container["name"] == MAIN:  # the operator's `resource`
                continue
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_selectors_select(variant: str) -> None:
    documents, found = render(variant), list(pods(render(variant)))
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        for document in of_kind(documents, kind).values():
            assert any(selects(document["spec"]["selector"], pod.labels) for pod in found)
    for service in of_kind(documents, "Service").values():
        [pod] = [pod for pod in found if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)]
        names = {port["name"]: port["containerPort"] for port in pod.containers[0]["ports"]}
        for port in service["spec"]["ports"]:
            assert names[port["targetPort"]] == port["port"]
    for deployment in of_kind(documents, "Deployment").values():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert selects(deployment["spec"]["selector"], labels)
    for policy in of_kind(documents, "NetworkPolicy").values():
        for selector in (policy["spec"]["podSelector"], *_peers(policy)):
            assert any(selects(selector, pod.labels) for pod in found)


def _peers(policy: dict[str, Any]) -> list[dict[str, Any]]:
    rules = [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]
    peers = [peer for rule in rules for peer in (*rule.get("from", []), *rule.get("to", []))]
    return [
        peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer
    ]


def test_what_the_pod_monitor_scrapes_is_open_to_it() -> None:
    documents = render("with-pod-monitor")
    ports = {
        port["name"]: port["containerPort"]
        for pod in pods(documents)
        for container in pod.containers
        for port in container.get("ports", [])
    }
    monitor = of_kind(documents, "PodMonitor")["medstream"]
    scraped = {ports[endpoint["port"]] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    [rule] = of_kind(documents, "NetworkPolicy")["prometheus"]["spec"]["ingress"]
    assert {port["port"] for port in rule["ports"]} == scraped == {9464, 9249}
    component = yaml.safe_load((FOLDER / "components/pod-monitor/kustomization.yaml").read_text())
    assert component["resources"] == ["pod-monitor.yaml"]


@pytest.mark.parametrize("variant", RENDERED)
def test_everything_is_denied_that_is_not_allowed(variant: str) -> None:
    policy = of_kind(render(variant), "NetworkPolicy")["default-deny"]["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_flinks_version_is_the_same_everywhere_and_one_of_beams() -> None:
    [flink] = of_kind(render("base"), "FlinkDeployment").values()
    version = flink["spec"]["flinkVersion"].removeprefix("v").replace("_", ".")
    assert version in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    assert flink["spec"]["image"].startswith(f"medstream-flink:{version}.")
    recipe = (ROOT / "deploy/docker/flink.Dockerfile").read_text()
    assert f"flink:{flink['spec']['image'].split(':')[1]}-" in recipe
    compose = yaml.safe_load((ROOT / "deploy/docker/compose.yaml").read_text())["services"]
    assert compose["jobmanager"]["image"] == flink["spec"]["image"]
    [server] = [pod for pod in pods(render("base")) if pod.owner == "medstream-job-server"]
    assert server.containers[0]["image"] == compose["job-server"]["image"]
    assert f"flink{version}_" in server.containers[0]["image"]


def test_our_image_is_the_same_everywhere_and_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    compose = yaml.safe_load((ROOT / "deploy/docker/compose.yaml").read_text())["services"]
    images = {service["image"].removesuffix("-local") for service in compose.values()}
    for variant in RENDERED:
        images |= {
            container["image"].rpartition("/")[2]
            for pod in pods(render(variant))
            for container in pod.containers
            if "image" in container
        }
    assert {image for image in images if image.startswith("medstream:")} == {f"medstream:{version}"}


def test_the_pages_commands_put_yours_for_the_words_in_capitals(tmp_path: Path) -> None:
    """What deploy/README.md says to type, typed."""
    render("base")  # skips without kubectl
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    page = (ROOT / "deploy/README.md").read_text()
    [commands] = re.findall(r"cd deploy/(kubernetes/overlays/eks-msk)\n(sed .+?)\nkubectl", page, re.DOTALL)
    folder = tmp_path / commands[0]
    placeholders = "ACCOUNT_ID|REGION_ID|BUCKET|CLUSTER_UUID"
    assert re.search(placeholders, (folder / "cluster.yaml").read_text())
    subprocess.run(["bash", "-ec", commands[1]], cwd=folder, check=True)
    rendered = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    assert not re.search(placeholders, rendered.stdout)
    settings = of_kind(tuple(yaml.safe_load_all(rendered.stdout)), "ConfigMap")["medstream-settings"]["data"]
    assert settings["MEDSTREAM_REGION"] == "eu-central-1"


def test_no_yaml_lies_beside_the_kustomizations() -> None:
    listed: set[Path] = set()
    for file in FOLDER.rglob("kustomization.yaml"):
        content = yaml.safe_load(file.read_text())
        names = [*content.get("resources", []), *(patch["path"] for patch in content.get("patches", []))]
        listed |= {file, *(file.parent / name for name in names)}
    assert set(FOLDER.rglob("*.yaml")) <= listed
