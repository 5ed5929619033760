"""The manifests as `kubectl kustomize` renders them, and what they refer to."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.command_lines import ROOT

FOLDER = ROOT / "deploy/kubernetes"
VARIANTS = ("base", "overlays/eks-msk", "with-pod-monitor")
MAIN = "flink-main-container"
_FLINK_PARTS = ("jobmanager", "taskmanager")


@dataclass(frozen=True)
class Pod:
    """A pod that the manifests lead to; `labels` are those it will have."""

    owner: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


@cache
def render(variant: str) -> tuple[dict[str, Any], ...]:
    """Every document. Skips without kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl renders the manifests, and is not installed")
    folder = FOLDER / variant
    if variant == "with-pod-monitor":
        return (
            *render("base"),
            *_documents((FOLDER / "components/pod-monitor/pod-monitor.yaml").read_text()),
        )
    command = ["kubectl", "kustomize", str(folder)]
    return tuple(_documents(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def _documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def of_kind(documents: tuple[dict[str, Any], ...], kind: str) -> dict[str, dict[str, Any]]:
    return {found["metadata"]["name"]: found for found in documents if found["kind"] == kind}


def pods(documents: tuple[dict[str, Any], ...]) -> Iterator[Pod]:
    for kind in ("Deployment", "Job"):
        for name, found in of_kind(documents, kind).items():
            template = found["spec"]["template"]
            yield Pod(name, template["metadata"]["labels"], template["spec"])
    for name, found in of_kind(documents, "FlinkDeployment").items():
        spec = found["spec"]
        for part, section in zip(_FLINK_PARTS, ("jobManager", "taskManager"), strict=True):
            template = _merged(spec["podTemplate"], spec[section].get("podTemplate", {}))
            labels = {
                **template["metadata"]["labels"],
                "app": name,
                "component": part,
                "type": "flink-native-kubernetes",  # what Flink labels its pods with
            }
            account = spec["flinkConfiguration"].get(
                f"kubernetes.{part}.service-account", spec["serviceAccount"]
            )
            pod = {**template["spec"], "serviceAccountName": account}
            yield Pod(f"{name} {part}", labels, pod)


def _merged(below: Any, above: Any) -> Any:
    """As the operator merges templates with `merge-arrays-by-name`."""
    if isinstance(below, dict) and isinstance(above, dict):
        keys = [*below, *(key for key in above if key not in below)]
        return {
            key: _merged(below[key], above[key]) if key in below and key in above else {**below, **above}[key]
            for key in keys
        }
    if isinstance(below, list) and isinstance(above, list):
        named = {item["name"]: item for item in below}
        for item in above:
            named[item["name"]] = _merged(named.get(item["name"], {}), item)
        return list(named.values())
    return above


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes a pod with `labels`."""
    wanted = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    listed = all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )
    return wanted and listed


def settings_files(documents: tuple[dict[str, Any], ...], folder: Path) -> dict[str, Path]:
    """The ConfigMap that is mounted at /etc/medstream, as files in `folder`, by their place there."""
    found = {}
    for name, text in of_kind(documents, "ConfigMap")["medstream-config"]["data"].items():
        (folder / name).write_text(text)
        found[f"/etc/medstream/{name}"] = folder / name
    return found
