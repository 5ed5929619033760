"""The published schemas of what the manifests say: Kubernetes' own, and the Flink operator's.

Kubernetes' come with the package `kubernetes-validate`; the operator's definition is in its jar, fetched by
SHA-256. The API server drops unknown fields of a custom resource in silence, so here they are refused.
"""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from deploy.local.jars import ensure_jars

KUBERNETES_VERSION = "1.31"
_OPERATOR = Path(__file__).with_name("flink-operator-1.10.0.lock")
_DEFINITION = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"


def validate(document: dict[str, Any]) -> None:
    """Raises when `document` does not fit the schema of its kind."""
    if document["apiVersion"].startswith("flink.apache.org/"):
        flink_validator(document["apiVersion"].split("/")[1]).validate(document)
    else:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


@cache
def flink_validator(version: str) -> jsonschema.protocols.Validator:
    [jar] = ensure_jars(_OPERATOR)
    with zipfile.ZipFile(jar) as archive:
        definition = yaml.load(archive.read(_DEFINITION), yaml.CSafeLoader)
    [schema] = [
        found["schema"]["openAPIV3Schema"]
        for found in definition["spec"]["versions"]
        if found["name"] == version
    ]
    for field in ("apiVersion", "kind", "metadata"):  # every resource has them
        schema["properties"].setdefault(field, {})
    _close(schema)
    return jsonschema.Draft7Validator(schema)


def _close(schema: Any) -> None:
    """Refuse what an object's schema does not name."""
    if isinstance(schema, list):
        for item in schema:
            _close(item)
    if not isinstance(schema, dict):
        return
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    for value in schema.values():
        _close(value)
