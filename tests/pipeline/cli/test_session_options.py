"""Bounds from the command line: each option reaches its field, ranges hold, contradictions are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from typer.testing import CliRunner

from connectors.kafka.client import ClientConfig
from pipeline import cli
from pipeline.cli import run as run_command
from pipeline.cli.session_options import check_limits
from pipeline.engine.limits import SessionLimits
from pipeline.errors import SettingsError
from pipeline.settings import JobSettings, Topics
from pipeline.worker.service import ServiceSettings
from tests.pipeline.cli.test_cli import RUN, invoke

# option, value, where it arrives
BOUNDS: list[tuple[str, str, str, object]] = [
    ("--max-live-streams", "7", "max_live_streams", 7),
    ("--max-stream-opens-per-second", "2.5", "max_stream_opens_per_second", 2.5),
    ("--catch-up-rate", "3", "catch_up_rate", 3.0),
    ("--idle-close-seconds", "9", "limits.idle_close_seconds", 9.0),
    ("--session-timeout-seconds", "60", "limits.session_timeout_seconds", 60.0),
    ("--ended-retention-seconds", "61", "limits.ended_retention_seconds", 61.0),
    ("--outbound-seconds", "20", "limits.outbound_seconds", 20.0),
    ("--drain-timeout-seconds", "12", "limits.drain_timeout_seconds", 12.0),
    ("--reorder-wait-seconds", "1.5", "limits.reorder_wait_seconds", 1.5),
    ("--max-gap-seconds", "4", "limits.max_gap_seconds", 4.0),
    ("--max-segment-seconds", "90", "limits.max_segment_seconds", 90.0),
    ("--stream-limit-seconds", "60", "limits.stream_limit_seconds", 60.0),
    ("--max-retries", "3", "limits.max_retries", 3),
    ("--on-sequence-restart", "dead-letter", "limits.accept_sequence_restart", False),
]
# Not for the user: how often the shell looks, and when a stream counts as healthy.
INTERNAL = {"poll_flowing_seconds", "poll_paused_seconds", "poll_waiting_seconds", "healthy_seconds"}


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[JobSettings]:
    """What `medstream run` would submit."""
    found: list[JobSettings] = []
    monkeypatch.setattr(run_command, "submit", lambda settings, *_: found.append(settings))
    return found


def field(settings: JobSettings, path: str) -> Any:
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def defaults() -> JobSettings:
    """Of settings for nowhere."""
    return JobSettings(ClientConfig.build("127.0.0.1:1"), Topics("a", "f", "d"), ServiceSettings("us-east-1"))


def test_without_options_the_bounds_are_the_defaults(submitted: list[JobSettings]) -> None:
    assert invoke(RUN)[0] == 0
    (settings,) = submitted
    for _, _, path, _ in BOUNDS:
        assert field(settings, path) == field(defaults(), path)


@pytest.mark.parametrize(("option", "given", "path", "expected"), BOUNDS)
def test_every_bound_is_an_option(
    submitted: list[JobSettings], option: str, given: str, path: str, expected: object
) -> None:
    code, shown = invoke([*RUN, f"{option}={given}"])
    assert code == 0, shown
    assert field(submitted[0], path) == expected != field(defaults(), path)


@pytest.mark.parametrize(("option", "given", "path", "expected"), BOUNDS)
def test_every_bound_comes_from_the_environment_too(
    submitted: list[JobSettings], option: str, given: str, path: str, expected: object
) -> None:
    variable = "MEDSTREAM_" + option.removeprefix("--").replace("-", "_").upper()
    found = CliRunner().invoke(cli.app, RUN, env={variable: given})
    assert found.exit_code == 0, found.output
    assert field(submitted[0], path) == expected


def test_every_limit_of_a_session_has_its_option() -> None:
    reached = {path.removeprefix("limits.") for _, _, path, _ in BOUNDS if path.startswith("limits.")}
    assert reached == {limit.name for limit in dataclasses.fields(SessionLimits)} - INTERNAL


@pytest.mark.parametrize(
    "option",
    [
        "--max-live-streams=0",
        "--max-live-streams=many",
        "--max-stream-opens-per-second=0",
        "--idle-close-seconds=15",  # the service would end the stream first
        "--idle-close-seconds=nan",
        "--session-timeout-seconds=inf",
        "--stream-limit-seconds=14401",  # the service would end the stream first
        "--stream-limit-seconds=5",
        "--max-segment-seconds=1",
        "--reorder-wait-seconds=-1",
        "--max-gap-seconds=-0.5",
        "--max-retries=-1",
        "--ended-retention-seconds=0",
        "--drain-timeout-seconds=0",
        "--catch-up-rate=nan",
    ],
)
def test_a_bound_out_of_range_is_wrong_usage_and_named(submitted: list[JobSettings], option: str) -> None:
    code, shown = invoke([*RUN, option])
    assert code == 2
    assert option.split("=")[0] in shown
    assert submitted == []


@pytest.mark.parametrize(
    ("changes", "named", "why"),
    [
        ({"reorder_wait_seconds": 10.0}, "--reorder-wait-seconds", "not less than --idle-close-seconds"),
        ({"idle_close_seconds": 2.0}, "--reorder-wait-seconds", "not less than --idle-close-seconds"),
        ({"max_gap_seconds": 10.5}, "--max-gap-seconds", "more than --outbound-seconds"),
        ({"outbound_seconds": 4.0}, "--max-gap-seconds", "more than --outbound-seconds"),
    ],
)
def test_bounds_that_contradict_each_other_are_told_in_a_sentence(
    changes: dict[str, Any], named: str, why: str
) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        check_limits(dataclasses.replace(SessionLimits(), **changes))
    assert refused.value.setting == named


def test_the_defaults_contradict_nothing() -> None:
    assert check_limits(SessionLimits()) == SessionLimits()


def test_contradictions_and_unknown_words_end_the_command() -> None:
    with pytest.raises(SettingsError, match="continue, dead-letter"):
        invoke([*RUN, "--on-sequence-restart=ignore"])
    with pytest.raises(SettingsError, match="reorder-wait"):
        invoke([*RUN, "--reorder-wait-seconds=12"])
