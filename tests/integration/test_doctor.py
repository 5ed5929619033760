"""`medstream doctor` against real servers: a sound set of settings passes, and each planted fault is named.

The faults: broker down, wrong security protocol, wrong authority, wrong password, missing topic, missing ACLs
(input, group, transactional id), progress topic not compacted, progress topic of other partitions, registry
down, schema not registered, no AWS credentials, region unknown to AWS, wrong region and wrong secret at the
endpoint, endpoint down, endpoint of an unknown authority, clock wrong, clock doubtful, job server not
listening, something else at its port, misspelt property, misspelt variable.
"""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from kafka.admin import ACLOperation, ResourceType
from typer.testing import CliRunner

import schemas
from deploy.local.kafka import KafkaBroker
from deploy.local.processes import free_port
from deploy.local.transcribe.process import REGION, EndpointProcess
from pipeline import cli
from pipeline.worker import service
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry
from tests.integration.secured_kafka import PASSWORD, SASL_SSL, WRONG_PASSWORD, SecuredKafka, allowed

USER = "doctor"
SECRETS = (PASSWORD, WRONG_PASSWORD, "not-the-secret")
Options = dict[str, str]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path_factory.mktemp("endpoint")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def job_server() -> Iterator[str]:
    """A real gRPC server with the one method of Beam's job service that is asked."""

    class JobService(grpc.GenericRpcHandler):
        def service(self, call: Any) -> Any:
            if not call.method.endswith("JobService/DescribePipelineOptions"):
                return None
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")

    server = grpc.server(ThreadPoolExecutor(1), handlers=[JobService()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def names() -> Options:
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    return {
        "--input-topic": f"{name}.audio",
        "--output-topic": f"{name}.finals",
        "--dead-letter-topic": f"{name}.letters",
        "--group-id": name,
    }


@pytest.fixture(scope="module")
def registry(names: Options) -> Iterator[str]:
    fake = FakeRegistry()
    fake.add(f"{names['--output-topic']}-value", schemas.load("final_transcript"))
    fake.add(f"{names['--dead-letter-topic']}-value", schemas.load("dead_letter"))
    with LocalHttp(fake) as server:
        yield server.url


@pytest.fixture(scope="module")
def sound(
    kafka_broker: KafkaBroker, endpoint: EndpointProcess, names: Options, registry: str, job_server: str
) -> Options:
    """Options that are right, for each test to spoil one."""
    topics = {names["--input-topic"]: 2, names["--output-topic"]: 3, names["--dead-letter-topic"]: 1}
    kafka_broker.create_topics(topics)
    return {
        **names,
        "--bootstrap-servers": kafka_broker.bootstrap_servers,
        "--endpoint-url": endpoint.url,
        "--region": REGION,
        "--schema-registry-url": registry,
        "--runner": "PortableRunner",
        "--job_endpoint": job_server,
    }


@pytest.fixture
def environment(endpoint: EndpointProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The endpoint's key, and nothing of this machine's."""
    for name, value in endpoint.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    for name in ("AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    service._credentials_source.cache_clear()
    yield monkeypatch
    service._credentials_source.cache_clear()


def examined(options: Mapping[str, str | None]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the report by name of check."""
    given = {name: value for name, value in options.items() if value is not None}
    arguments = [f"{name}={value}" if value else name for name, value in given.items()]
    found = CliRunner().invoke(cli.app, ["doctor", "--json", *arguments])
    assert isinstance(found.exception, SystemExit | None), found.exception
    assert not [secret for secret in SECRETS if secret in found.output]
    report = json.loads(found.stdout)
    assert report["ok"] == (found.exit_code == 0)
    return found.exit_code, {check["name"]: check for check in report["checks"]}


def fault(options: Mapping[str, str | None], *words: str) -> dict[str, Any]:
    """The one check that fails; the words are in what it found or in the remedy."""
    code, checks = examined(options)
    failed = [check for check in checks.values() if check["result"] == "failed"]
    assert len(failed) == 1, failed
    assert code == 1
    assert failed[0]["remedy"], failed
    for word in words:
        assert word in f"{failed[0]['found']} {failed[0]['remedy']}"
    return failed[0]


pytestmark = pytest.mark.usefixtures("environment")


def test_a_sound_set_of_settings_passes_and_nothing_is_created(
    sound: Options, kafka_broker: KafkaBroker
) -> None:
    for _ in range(2):
        code, checks = examined(sound)
        assert code == 0, [check for check in checks.values() if check["result"] == "failed"]
        assert "may create it" in checks["topic.progress"]["found"]
    skipped = {name for name, check in checks.items() if check["result"] == "skipped"}
    assert skipped == {"kafka.tls", "acl.transactions", "topic.progress-partitions", "acl.progress"}
    assert checks["service.handshake"]["found"] == "a stream was opened and ended"
    assert "job server" in checks["runner.job-service"]["found"]


def test_without_kafka_s_options_the_rest_is_checked(endpoint: EndpointProcess) -> None:
    code, checks = examined({"--region": REGION, "--endpoint-url": endpoint.url})
    assert code == 0
    assert checks["kafka.settings"]["found"] == "--bootstrap-servers is not set"
    assert checks["kafka.broker"]["found"] == "needs kafka.settings"
    assert checks["service.handshake"]["result"] == "ok"


# Kafka


def test_a_broker_that_is_down(sound: Options) -> None:
    spoilt = {**sound, "--bootstrap-servers": f"127.0.0.1:{free_port()}"}
    assert fault(spoilt, "--bootstrap-servers", "Connection refused")["name"] == "kafka.broker"


def test_a_topic_that_is_missing(sound: Options) -> None:
    spoilt = {**sound, "--input-topic": "no-such-topic"}
    assert fault(spoilt, "'no-such-topic'", "--input-topic")["name"] == "topic.input"


def test_a_progress_topic_that_forgets(sound: Options, kafka_broker: KafkaBroker) -> None:
    name = f"{sound['--output-topic']}-forgets"
    kafka_broker.create_topics({name: 3})
    found = fault({**sound, "--progress-topic": name}, name, "cleanup.policy=compact")
    assert found["name"] == "topic.progress"


def test_a_progress_topic_of_other_partitions(sound: Options, kafka_broker: KafkaBroker) -> None:
    name = f"{sound['--output-topic']}-four"
    kafka_broker.create_topics({name: 4}, {"cleanup.policy": "compact"})
    found = fault({**sound, "--progress-topic": name}, "3 partitions", "kept for 4", "--progress-topic")
    assert found["name"] == "topic.progress-partitions"


def test_a_misspelt_property(sound: Options) -> None:
    found = fault({**sound, "--kafka-property": "linger.mss=5"}, "linger.mss", "'linger.ms'")
    assert found["name"] == "kafka.settings"


@pytest.fixture(scope="module")
def secured(secured_kafka: SecuredKafka, names: Options) -> SecuredKafka:
    """With the topics, and a user who may do all that a job must."""
    broker, finals = secured_kafka.broker, names["--output-topic"]
    broker.create_topics({names["--input-topic"]: 1, finals: 1, names["--dead-letter-topic"]: 1})
    broker.create_topics({f"{finals}.progress": 1}, {"cleanup.policy": "compact"})
    broker.set_password(USER, PASSWORD)
    for operation, kind, name in (
        (ACLOperation.READ, ResourceType.TOPIC, names["--input-topic"]),
        (ACLOperation.WRITE, ResourceType.TOPIC, finals),
        (ACLOperation.WRITE, ResourceType.TOPIC, names["--dead-letter-topic"]),
        (ACLOperation.READ, ResourceType.TOPIC, f"{finals}.progress"),
        (ACLOperation.WRITE, ResourceType.TOPIC, f"{finals}.progress"),
        (ACLOperation.READ, ResourceType.GROUP, names["--group-id"]),
        (ACLOperation.WRITE, ResourceType.TRANSACTIONAL_ID, f"{finals}-0"),
    ):
        broker.allow(allowed(operation, kind, name, f"User:{USER}"))
    return secured_kafka


@pytest.fixture
def secured_options(secured: SecuredKafka, sound: Options, tmp_path: Path) -> Options:
    return with_properties(
        {**sound, "--bootstrap-servers": secured.address(SASL_SSL), "--delivery": "exactly-once"},
        secured.password("SCRAM-SHA-512", user=USER),
        tmp_path,
    )


def with_properties(options: Options, properties: Mapping[str, str], directory: Path) -> Options:
    path = directory / "client.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return {**options, "--command-config": str(path)}


def test_a_secured_cluster_passes(secured_options: Options) -> None:
    code, checks = examined(secured_options)
    assert code == 0, [check for check in checks.values() if check["result"] == "failed"]
    assert "'doctor'" in checks["kafka.login"]["found"]
    assert [name for name, check in checks.items() if check["result"] == "skipped"] == []


def test_a_wrong_authority(secured_options: Options, secured: SecuredKafka, tmp_path: Path) -> None:
    properties = {
        **secured.password("SCRAM-SHA-512", user=USER),
        "ssl.truststore.location": str(secured.other_ca),
    }
    spoilt = with_properties(secured_options, properties, tmp_path)
    found = fault(spoilt, "ssl.truststore.location", str(secured.other_ca))
    assert found["name"] == "kafka.tls"


def test_a_wrong_password(secured_options: Options, secured: SecuredKafka, tmp_path: Path) -> None:
    properties = secured.password("SCRAM-SHA-512", WRONG_PASSWORD, user=USER)
    found = fault(with_properties(secured_options, properties, tmp_path), "'doctor'", "sasl.jaas.config")
    assert found["name"] == "kafka.login"


def test_a_listener_that_speaks_tls(secured_options: Options) -> None:
    spoilt = {**secured_options, "--command-config": None}
    found = fault(spoilt, "speaks TLS on this port", "security.protocol=SSL")
    assert found["name"] == "kafka.tls"


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({"--input-topic": "doctor-nobody"}, "acl.input", ["READ topic 'doctor-nobody'", "ACL"]),
        ({"--group-id": "others"}, "acl.group", ["READ group 'others'", "--group-id"]),
        ({"--sink-id": "others"}, "acl.transactions", ["WRITE transactional id 'others-0'"]),
    ],
)
def test_a_missing_acl(
    secured_options: Options, secured: SecuredKafka, change: Options, name: str, words: list[str]
) -> None:
    if "--input-topic" in change:
        secured.broker.create_topics({"doctor-nobody": 1})
    assert fault({**secured_options, **change}, *words)["name"] == name


# Registry


def test_a_registry_that_is_down(sound: Options) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    found = fault({**sound, "--schema-registry-url": url}, url, "--schema-registry-url")
    assert found["name"] == "registry.connection"


def test_a_schema_that_is_not_registered(sound: Options) -> None:
    fake = FakeRegistry()
    with LocalHttp(fake) as server:
        spoilt = {**sound, "--schema-registry-url": server.url}
        _, checks = examined(spoilt)
        failed = {name: check for name, check in checks.items() if check["result"] == "failed"}
        assert set(failed) == {"schema.final_transcript", "schema.dead_letter"}
        assert "medstream schemas register" in failed["schema.final_transcript"]["remedy"]
        assert examined({**spoilt, "--auto-register-schemas": ""})[0] == 0
        assert not fake.subjects  # that is left to the job


# The service


def test_no_credentials(sound: Options, environment: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    assert fault(sound, "AWS_ACCESS_KEY_ID")["name"] == "aws.credentials"


def test_a_region_that_aws_does_not_have(sound: Options) -> None:
    spoilt = {**sound, "--region": "us-esat-1", "--endpoint-url": None}
    assert fault(spoilt, "us-east-1", "--region")["name"] == "aws.region"


def test_another_region_than_the_endpoint_s(sound: Options) -> None:
    found = fault({**sound, "--region": "eu-west-1"}, "--region", "us-east-1")
    assert found["name"] == "service.handshake"


def test_a_wrong_secret(sound: Options, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    found = fault(sound, "AWS credentials", sound["--endpoint-url"])
    assert found["name"] == "service.handshake"


def test_an_endpoint_that_is_down(sound: Options) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    found = fault({**sound, "--endpoint-url": url}, url, "--endpoint-url")
    assert found["name"] == "service.connection"


@pytest.mark.parametrize(("seconds", "outcome"), [("-600", "failed"), ("120", "warning")])
def test_a_clock_that_is_wrong(sound: Options, tmp_path: Path, seconds: str, outcome: str) -> None:
    """The endpoint's, over TLS: it looks the same from here. Nobody vouches for it at first."""
    options = ["--clock-skew-seconds", seconds]
    with EndpointProcess(tmp_path / "endpoint", tls=True, options=options) as skewed:
        spoilt = {**sound, "--endpoint-url": skewed.url}
        if outcome == "failed":
            found = fault(spoilt, "not trusted", "--ca-file")
            assert found["name"] == "service.connection"
        _, checks = examined({**spoilt, "--ca-file": str(skewed.ca_file)})
    assert checks["service.clock"]["result"] == outcome
    assert f"{seconds.lstrip('-')[:2]}" in checks["service.clock"]["found"]
    assert "clock" in checks["service.clock"]["remedy"]
    assert checks["service.handshake"]["result"] == "ok"  # streams are signed in the service's time


# The runner, and what is around


def test_a_job_server_that_does_not_listen(sound: Options) -> None:
    place = f"127.0.0.1:{free_port()}"
    found = fault({**sound, "--job_endpoint": place}, place, "--job_endpoint")
    assert found["name"] == "runner.job-server"


def test_something_else_at_the_job_server_s_port(sound: Options, registry: str) -> None:
    place = registry.removeprefix("http://")
    assert fault({**sound, "--job_endpoint": place}, place)["name"] == "runner.job-service"


def test_a_misspelt_variable_is_a_warning(sound: Options, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MEDSTREAM_OUTPUT_TOPICS", "x")
    code, checks = examined(sound)
    assert code == 0
    assert checks["settings.environment"]["result"] == "warning"
    assert "MEDSTREAM_OUTPUT_TOPIC?" in checks["settings.environment"]["found"]


def test_several_faults_at_once_are_all_named(sound: Options, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("AWS_SECRET_ACCESS_KEY")
    environment.delenv("AWS_ACCESS_KEY_ID")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{nobody.getsockname()[1]}"
        _, checks = examined({**sound, "--output-topic": "no-such-topic", "--job_endpoint": place})
    failed = [name for name, check in checks.items() if check["result"] == "failed"]
    assert failed == ["topic.output", "schema.final_transcript", "aws.credentials", "runner.job-server"]
    assert checks["acl.output"]["found"] == "needs topic.output"
