"""Which check a failure to connect belongs to. (Real brokers: `tests/integration/test_doctor.py`.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.kafka.client import ClientConfig
from connectors.kafka.probing.access import Cluster
from pipeline.checks import kafka_checks
from pipeline.checks.check import Outcome, Result, examine
from pipeline.checks.kafka_checks import KafkaChecks

PASSWORD = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "PLAIN",
    "sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="synthetic" password="synthetic";',
}


def connection(config: ClientConfig) -> dict[str, Result]:
    checks = KafkaChecks(
        lambda: config, {}, None, group_id="g", transactional_id=None, may_create=False
    ).checks()
    return {result.name: result for result in examine(checks, lambda: 0.0)}


def test_without_a_token_nobody_connected_so_the_broker_is_not_called_sound(tmp_path: Path) -> None:
    module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
    properties = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.token.endpoint.url": (tmp_path / "no-token").as_uri(),
        "sasl.jaas.config": f"{module} required;",
    }
    found = connection(ClientConfig.build("127.0.0.1:1", properties=properties))
    assert found["kafka.broker"].outcome is Outcome.SKIPPED
    assert found["kafka.tls"].outcome is Outcome.SKIPPED
    assert found["kafka.login"].outcome is Outcome.FAILED
    assert "no-token" in found["kafka.login"].found
    assert "replace the token" in found["kafka.login"].remedy


@pytest.mark.parametrize(
    ("servers", "properties", "doubtful"),
    [
        ("10.0.0.1:9093", {}, {"kafka.tls", "kafka.login"}),
        ("10.0.0.1:9093", {"security.protocol": "SSL"}, {"kafka.login"}),
        ("10.0.0.1:9093", PASSWORD, set()),
        ("10.0.0.1:9093", {**PASSWORD, "ssl.endpoint.identification.algorithm": ""}, {"kafka.tls"}),
        ("127.0.0.1:9093", {}, set()),
    ],
)
def test_a_weak_way_to_another_machine_is_a_warning(
    servers: str, properties: dict[str, str], doubtful: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(servers, (), {})
    monkeypatch.setattr(kafka_checks, "describe_cluster", lambda _config, _topics: cluster)
    found = connection(ClientConfig.build(servers, properties=properties, insecure=True))
    warned = {name for name, result in found.items() if result.outcome is Outcome.WARNING}
    assert warned == doubtful
    assert found["kafka.advertised"].outcome is Outcome.OK, "a warning keeps nobody from going on"


def test_nobody_there_is_the_broker_s_failure_and_asked_once() -> None:
    found = connection(ClientConfig.build("127.0.0.1:1"))
    assert found["kafka.broker"].outcome is Outcome.FAILED
    assert {result.outcome for name, result in found.items() if name.startswith("acl")} == {Outcome.SKIPPED}
