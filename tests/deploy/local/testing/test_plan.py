"""What a test run decides for itself, and what it takes from the options of `medstream run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from connectors.kafka.errors import KafkaConnectorError
from connectors.transcribe.errors import TranscribeError
from deploy.local.testing.plan import (
    MAX_LOCAL_STREAMS,
    TAKEN,
    RunOptions,
    RunTopics,
    run_settings,
    servers_to_bring,
    speed_of,
    timeout_seconds,
)
from deploy.local.testing.recorded import Recorded
from pipeline.cli import run
from pipeline.errors import SettingsError
from pipeline.settings import JobSettings

TOPICS = RunTopics("medstream-test-1")
RECORDED = Recorded(records=10, sessions=("a", "b"), unended=(), partitions=1, longest_seconds=60.0)


def job_options(*arguments: str) -> dict[str, Any]:
    """The options of `medstream run` as a command line without topics leaves them."""
    needed = ["--bootstrap-servers=x:1", "--input-topic=x", "--output-topic=x"]
    command: Any = get_command(run.app)
    with command.make_context("run", [*needed, *arguments]) as ctx:
        return {**ctx.params, "bootstrap_servers": None}


def options(*arguments: str, **changed: Any) -> RunOptions:
    given = RunOptions(
        job=job_options(*arguments),
        overridden=frozenset(),
        beam_flags=(),
        recogniser="markers",
        endpoint_options=(),
        aws=False,
        speed=None,
        force=False,
        timeout_seconds=None,
        keep_topics=False,
    )
    return replace(given, **changed)


def settings(given: RunOptions) -> JobSettings:
    return run_settings(
        given,
        TOPICS,
        servers_to_bring(given),
        bootstrap_servers="127.0.0.1:9092",
        endpoint_url="http://127.0.0.1:1",
    )


def test_every_option_that_is_taken_is_one_of_run() -> None:
    assert set(TAKEN) <= set(job_options())


def test_the_run_has_its_own_topics_group_and_transactions() -> None:
    production = ["--partials-topic=p", "--sessions-topic=s", "--dead-letter-topic=d", "--progress-topic=q"]
    found = settings(options(*production, "--sink-id=prod", "--group-id=prod", "--start-from=latest"))
    topics = found.topics
    assert topics.partials is None
    assert {topics.audio, topics.finals, topics.sessions, topics.dead_letters, topics.progress} == set(
        TOPICS.every
    )
    assert (found.sink_id, found.group_id) == (TOPICS.prefix, TOPICS.prefix)
    assert (found.start, found.stop_at) == ("earliest", "end")
    assert set(TOPICS.to_create(3)) | {topics.progress} == set(TOPICS.every)


def test_what_is_said_of_sessions_and_delivery_holds() -> None:
    found = settings(options("--delivery=exactly-once", "--max-segment-seconds=33", "--specialty=UROLOGY"))
    assert (found.delivery, found.limits.max_segment_seconds) == ("exactly-once", 33)
    assert found.session_defaults.specialty == "UROLOGY"


def test_an_own_endpoint_is_reached_as_it_is_whatever_production_says() -> None:
    found = settings(
        options("--region=eu-west-1", "--profile=prod", "--use-fips-endpoint", "--ca-file=/x.pem")
    )
    service = found.service
    assert (service.region, service.profile_name, service.use_fips, service.ca_bundle) == (
        "us-east-1",
        None,
        False,
        None,
    )
    assert found.max_live_streams == MAX_LOCAL_STREAMS
    chosen = options("--max-live-streams=3", overridden=frozenset({"max_live_streams"}))
    assert settings(chosen).max_live_streams == 3


def test_an_own_broker_is_reached_without_production_s_login(tmp_path: Path) -> None:
    (tmp_path / "client.properties").write_text("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n")
    given = options(f"--command-config={tmp_path / 'client.properties'}")
    assert settings(given).kafka.command_config is None
    far = replace(given, job={**given.job, "bootstrap_servers": "broker.example:9092"})
    with pytest.raises(KafkaConnectorError, match="sasl"):
        settings(far)


def test_a_session_without_an_end_is_soon_over_unless_its_time_is_set() -> None:
    assert settings(options()).limits.session_timeout_seconds < 30
    chosen = options("--session-timeout-seconds=77", overridden=frozenset({"session_timeout_seconds"}))
    assert settings(chosen).limits.session_timeout_seconds == 77


def test_what_is_named_is_not_brought() -> None:
    assert servers_to_bring(options()) == servers_to_bring(options("--region=x"))
    brought = servers_to_bring(options())
    assert (brought.kafka, brought.flink, brought.endpoint) == (True, True, True)
    assert not servers_to_bring(options(beam_flags=("--job_endpoint=localhost:1",))).flink
    assert not servers_to_bring(options(beam_flags=("--runner=PrismRunner",))).flink
    assert servers_to_bring(options(beam_flags=("--parallelism=2",))).flink
    assert not servers_to_bring(options("--endpoint-url=http://127.0.0.1:1")).endpoint
    assert not servers_to_bring(options(aws=True)).endpoint
    given = options()
    assert not servers_to_bring(replace(given, job={**given.job, "bootstrap_servers": "x:1"})).kafka


def test_aws_is_amazon_s_own_endpoint_in_real_time() -> None:
    found = settings(options("--region=eu-west-1", aws=True))
    assert found.service.endpoint().host == "transcribestreaming.eu-west-1.amazonaws.com"
    assert found.catch_up_rate == 1.0
    with pytest.raises(SettingsError, match="--endpoint-option"):
        servers_to_bring(options(aws=True, endpoint_options=("--model=x",)))
    with pytest.raises(SettingsError, match="--aws"):
        servers_to_bring(options("--endpoint-url=http://127.0.0.1:1", aws=True))


@pytest.mark.parametrize(
    ("text", "local", "force", "speed"),
    [
        (None, True, False, 0.0),
        (None, False, False, 1.0),
        ("max", True, False, 0.0),
        ("2", True, False, 2.0),
        ("0.5", False, False, 0.5),
        ("1", False, False, 1.0),
        ("2", False, True, 2.0),
        ("max", False, True, 0.0),
    ],
)
def test_audio_goes_as_fast_as_the_endpoint_may_be_sent_it(
    text: str | None, local: bool, force: bool, speed: float
) -> None:
    assert speed_of(text, local_endpoint=local, force=force) == speed


@pytest.mark.parametrize("text", ["2", "1.01", "max", "0"])
def test_a_real_service_is_not_sent_audio_faster_than_real_time(text: str) -> None:
    with pytest.raises(SettingsError, match="--force"):
        speed_of(text, local_endpoint=False, force=False)
    with pytest.raises(SettingsError, match="--force"):
        settings(options("--region=x", aws=True, speed=text))
    far = options("--endpoint-url=https://transcribe.example", "--region=x", speed=text)
    with pytest.raises(SettingsError, match="--force"):
        settings(far)


def test_a_speed_is_a_number_or_max() -> None:
    with pytest.raises(SettingsError, match="'fast' is neither"):
        speed_of("fast", local_endpoint=True, force=False)


def test_wrong_settings_are_found_before_anything_is_started() -> None:
    with pytest.raises(SettingsError, match="--delivery"):
        settings(options("--delivery=once"))
    with pytest.raises(TranscribeError, match="--endpoint-url"):
        settings(options("--endpoint-url=http://transcribe.example", "--region=x"))


def test_more_sessions_than_streams_get_more_time() -> None:
    few = settings(options(speed="2"))
    many = replace(RECORDED, sessions=tuple(map(str, range(3 * MAX_LOCAL_STREAMS))))
    assert timeout_seconds(RECORDED, few) == 180 + 3 * 60 / 2
    assert timeout_seconds(many, few) == 180 + 3 * 3 * 60 / 2
    assert timeout_seconds(RECORDED, settings(options())) == 180 + 3 * 60
