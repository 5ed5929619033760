"""A wrong setting ends in one sentence that names it, within 15 seconds, with an exit code and no
traceback.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from deploy.local.kafka import KafkaBroker
from deploy.local.processes import free_port
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.harness import Topics
from tests.integration.secured_kafka import PASSWORD, SASL_SSL, WRONG_PASSWORD, SecuredKafka

_LIMIT_SECONDS = 15.0


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path_factory.mktemp("endpoint")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def options(kafka_broker: KafkaBroker, endpoint: EndpointProcess) -> dict[str, str]:
    """Options that are right, for each test to spoil one."""
    topics = Topics.create(kafka_broker, partitions=1)
    return {
        "--bootstrap-servers": kafka_broker.bootstrap_servers,
        "--input-topic": topics.audio,
        "--output-topic": topics.finals,
        "--dead-letter-topic": topics.dead_letters,
        "--endpoint-url": endpoint.url,
        "--region": "us-east-1",
        "--runner": "PortableRunner",
        "--job_endpoint": f"localhost:{free_port()}",
    }


def refusal(options: Mapping[str, str | None], environment: Mapping[str, str]) -> str:
    """Run `medstream run`; the one sentence it ends with."""
    arguments: Sequence[str] = [f"{name}={value}" for name, value in options.items() if value is not None]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    started_at = time.monotonic()
    ended = subprocess.run(
        [Path(sys.executable).with_name("medstream"), "run", *arguments],
        env={**clean, "AWS_EC2_METADATA_DISABLED": "true", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    seconds = time.monotonic() - started_at
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert seconds < _LIMIT_SECONDS, f"took {seconds:.1f} s"
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("medstream: ")
    return lines[0]


def test_an_unknown_topic(options: dict[str, str], endpoint: EndpointProcess) -> None:
    sentence = refusal({**options, "--output-topic": "no-such-topic"}, endpoint.environment())
    assert "--output-topic" in sentence
    assert "no-such-topic" in sentence


def test_an_output_topic_that_got_other_partitions(
    options: dict[str, str], endpoint: EndpointProcess, kafka_broker: KafkaBroker
) -> None:
    finals, progress = f"{options['--output-topic']}-3", f"{options['--output-topic']}-2"
    kafka_broker.create_topics({finals: 3})
    kafka_broker.create_topics({progress: 2}, {"cleanup.policy": "compact"})
    spoilt = {**options, "--output-topic": finals, "--progress-topic": progress}
    sentence = refusal(spoilt, endpoint.environment())
    assert f"{finals!r} (--output-topic) has 3 partitions" in sentence
    assert "kept for 2" in sentence
    assert "new --progress-topic" in sentence


def test_a_progress_topic_that_forgets(
    options: dict[str, str], endpoint: EndpointProcess, kafka_broker: KafkaBroker
) -> None:
    name = f"{options['--output-topic']}-deleted"
    kafka_broker.create_topics({name: 1})
    sentence = refusal({**options, "--progress-topic": name}, endpoint.environment())
    assert "--progress-topic" in sentence
    assert "cleanup.policy=compact" in sentence


def test_an_unreachable_broker(options: dict[str, str], endpoint: EndpointProcess) -> None:
    address = f"localhost:{free_port()}"
    sentence = refusal({**options, "--bootstrap-servers": address}, endpoint.environment())
    assert "--bootstrap-servers" in sentence
    assert address in sentence


def test_no_credentials(options: dict[str, str], tmp_path: Path) -> None:
    sentence = refusal(options, {"HOME": str(tmp_path)})
    assert "AWS_ACCESS_KEY_ID" in sentence


def test_wrong_credentials(options: dict[str, str], endpoint: EndpointProcess) -> None:
    wrong = {**endpoint.environment(), "AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    sentence = refusal(options, wrong)
    assert "AWS credentials" in sentence
    assert "not-the-secret" not in sentence


def test_a_region_that_the_endpoint_does_not_serve(
    options: dict[str, str], endpoint: EndpointProcess
) -> None:
    sentence = refusal({**options, "--region": "eu-west-1"}, endpoint.environment())
    assert "--region" in sentence


def test_a_region_that_aws_does_not_have(options: dict[str, str], endpoint: EndpointProcess) -> None:
    spoiled = {**options, "--endpoint-url": None, "--region": "us-esat-1"}
    sentence = refusal(spoiled, endpoint.environment())
    assert "--region" in sentence
    assert "us-east-1" in sentence


def test_an_endpoint_that_is_not_there(options: dict[str, str], endpoint: EndpointProcess) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    sentence = refusal({**options, "--endpoint-url": url}, endpoint.environment())
    assert "--endpoint-url" in sentence
    assert url in sentence


def test_no_job_server(options: dict[str, str], endpoint: EndpointProcess) -> None:
    sentence = refusal(options, endpoint.environment())
    assert "--job_endpoint" in sentence


def test_a_misspelt_option(options: dict[str, str], endpoint: EndpointProcess) -> None:
    sentence = refusal({**options, "--partial-topic": "x"}, endpoint.environment())
    assert "--partials-topic" in sentence


@pytest.fixture
def secured_options(options: dict[str, str], secured_kafka: SecuredKafka) -> dict[str, str]:
    """A login that is right, and none of the ACLs that a job needs."""
    secured_kafka.broker.create_topics({"wrong-settings": 1})
    topics = dict.fromkeys(("--input-topic", "--output-topic", "--dead-letter-topic"), "wrong-settings")
    return {**options, **topics, "--bootstrap-servers": secured_kafka.address(SASL_SSL)}


def command_config(directory: Path, properties: Mapping[str, str]) -> Path:
    path = directory / "client.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return path


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sasl.jaas.config": WRONG_PASSWORD}, ["sasl.jaas.config", "alice"]),
        ({"ssl.truststore.location": None}, ["ssl.truststore.location", "authority"]),
        ({"ssl.trustore.location": "/etc/ca.pem"}, ["'ssl.truststore.location'", "ssl.trustore.location"]),
        ({}, ["--input-topic", "READ", "ACL"]),
    ],
    ids=["password", "authority", "property", "acl"],
)
def test_a_secured_cluster(
    secured_options: dict[str, str],
    secured_kafka: SecuredKafka,
    endpoint: EndpointProcess,
    tmp_path: Path,
    change: dict[str, str | None],
    named: list[str],
) -> None:
    properties: dict[str, str | None] = {**secured_kafka.password("SCRAM-SHA-512")}
    if "sasl.jaas.config" in change:
        change = secured_kafka.password("SCRAM-SHA-512", WRONG_PASSWORD)  # type: ignore[assignment]
    kept = {name: value for name, value in {**properties, **change}.items() if value is not None}
    file = command_config(tmp_path, kept)
    spoiled = {**secured_options, "--command-config": str(file), "--log-level": "ERROR"}
    sentence = refusal(spoiled, endpoint.environment())
    for part in named:
        assert part in sentence
    assert PASSWORD not in sentence
    assert WRONG_PASSWORD not in sentence
