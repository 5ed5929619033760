"""Checks before a job: one sentence that names the setting, against closed ports and a scripted server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from connectors.kafka.client import ClientConfig
from connectors.kafka.errors import BrokerUnreachable
from connectors.kafka.probing import probe
from connectors.transcribe.errors import (
    BadRequestError,
    CredentialsNotFoundError,
    LimitExceededError,
    TranscribeError,
    UnknownRegionError,
)
from connectors.transcribe.events import encode_exception
from pipeline.checks import service_checks
from pipeline.checks.check import require
from pipeline.checks.preflight import check_job, check_service
from pipeline.checks.runner_checks import check_job_endpoint, runner_checks
from pipeline.errors import SettingsError
from pipeline.settings import JobSettings, Topics
from pipeline.worker import service
from pipeline.worker.service import ServiceSettings
from schemas.errors import RegistryUnavailable
from schemas.registry_settings import RegistrySettings
from schemas.serdes import SerdeSettings
from tests.fakes.h2_server import CREDENTIALS, REGION, H2Server, Script, ServerStream


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripted server's synthetic key in the environment, and nothing of this machine's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CREDENTIALS.session_token or "")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    service._credentials_source.cache_clear()
    yield
    service._credentials_source.cache_clear()


@contextmanager
def serving(script: Script) -> Iterator[ServiceSettings]:
    """A scripted server on a loop of its own, since the check runs one too."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = H2Server(script)
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    try:
        yield ServiceSettings(REGION, f"http://127.0.0.1:{server.port}")
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def refusing(error: TranscribeError) -> Script:
    """Accepts the stream, then refuses it with `error` as the service does."""

    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.all_audio()
        await stream.send(encode_exception(error.code, error.message))
        stream.end()

    return script


async def answering(stream: ServerStream) -> None:
    stream.respond()
    assert await stream.all_audio()
    stream.end()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# The service


def test_an_endpoint_that_answers_passes() -> None:
    with serving(answering) as settings:
        check_service(settings)


def test_a_busy_account_passes_for_the_settings_are_right() -> None:
    with serving(refusing(LimitExceededError("synthetic: too many streams"))) as settings:
        check_service(settings)


def test_a_refusal_names_the_endpoint_and_the_service_s_reason() -> None:
    with (
        serving(refusing(BadRequestError("synthetic reason"))) as settings,
        pytest.raises(SettingsError, match="synthetic reason") as refused,
    ):
        check_service(settings)
    assert refused.value.setting == "--endpoint-url"


@pytest.mark.parametrize(
    ("message", "setting"),
    [("the key is unknown", "AWS credentials"), ("signed for another region", "--region")],
)
def test_a_denied_stream_names_credentials_or_region(message: str, setting: str) -> None:
    async def denying(stream: ServerStream) -> None:
        stream.respond(403, [("x-amzn-errortype", "AccessDeniedException")])
        await stream.send(f'{{"Message":"synthetic: {message}"}}'.encode())
        stream.end()

    with serving(denying) as settings, pytest.raises(SettingsError) as refused:
        check_service(settings)
    assert refused.value.setting.startswith(setting)


def test_an_endpoint_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_checks, "_HANDSHAKE_SECONDS", 0.5)

    async def silent(stream: ServerStream) -> None:
        await stream.client_left.wait()

    with serving(silent) as settings, pytest.raises(SettingsError, match="did not answer") as refused:
        check_service(settings)
    assert refused.value.setting == "--endpoint-url"


def test_a_closed_port_names_the_endpoint() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(SettingsError, match=url) as refused:
        check_service(ServiceSettings(REGION, url))
    assert refused.value.setting == "--endpoint-url"


def test_missing_credentials_name_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(CredentialsNotFoundError, match="AWS_ACCESS_KEY_ID"):
        check_service(ServiceSettings(REGION, "http://127.0.0.1:1"))


def test_a_misspelt_region_is_found_without_a_connection() -> None:
    with pytest.raises(UnknownRegionError, match="us-east-1"):
        check_service(ServiceSettings("us-esat-1"))


def test_the_service_of_aws_is_not_called() -> None:
    check_service(ServiceSettings(REGION))  # there is no network in this test: a call would fail


# Kafka and Beam


def test_a_broker_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "CONNECT_SECONDS", 1.0)
    server = f"127.0.0.1:{closed_port()}"
    settings = JobSettings(
        kafka=ClientConfig.build(server),
        topics=Topics("audio", "finals", "letters"),
        service=ServiceSettings(REGION),
    )
    with pytest.raises(BrokerUnreachable, match=server):
        check_job(settings)


def test_a_schema_registry_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    settings = JobSettings(
        kafka=ClientConfig.build(f"127.0.0.1:{closed_port()}"),
        topics=Topics("audio", "finals", "letters"),
        service=ServiceSettings(REGION),
        serdes=SerdeSettings(RegistrySettings((url,), deadline_seconds=0.2)),
    )
    with pytest.raises(RegistryUnavailable, match=url):
        check_job(settings)


def test_a_job_server_that_listens_passes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        check_job_endpoint(f"127.0.0.1:{listening.getsockname()[1]}")


def test_a_job_server_beyond_this_machine_is_told_to_get_the_graph_unencrypted() -> None:
    with socket.create_server(("", 0)) as listening:
        port = listening.getsockname()[1]
        for host, secrets, told in (
            ("127.0.0.1", ["--kafka-property"], None),
            ("0.0.0.0", [], "graph goes there unencrypted. Submit"),  # noqa: S104 - reaches this machine
            ("0.0.0.0", ["--kafka-property"], "unencrypted, with the secrets of --kafka-property. "),  # noqa: S104
        ):
            heard: list[str] = []
            require(runner_checks("PortableRunner", f"{host}:{port}", secrets), heard.append)
            assert len(heard) == (told is not None)
            assert told is None or told in heard[0]


@pytest.mark.parametrize("port", ["closed", "not-a-number", ""])
def test_a_job_server_that_is_not_there_is_named_with_the_remedy(port: str) -> None:
    address = f"127.0.0.1:{closed_port() if port == 'closed' else port}"
    with pytest.raises(SettingsError, match="medstream local up") as refused:
        check_job_endpoint(address)
    assert refused.value.setting == "--job_endpoint"
    assert address in str(refused.value)
