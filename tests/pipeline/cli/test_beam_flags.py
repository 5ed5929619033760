"""Beam's options from file and environment, below those on the command line."""

from __future__ import annotations

from pipeline.cli.beam_flags import beam_flag, beam_flags


def test_options_become_flags_and_flags_win() -> None:
    options = ["runner=FlinkRunner", "parallelism=4", "--job_name=x"]
    assert beam_flags(options, ["--parallelism=8"]) == [
        "--runner=FlinkRunner",
        "--job_name=x",
        "--parallelism=8",
    ]


def test_switches_are_bare_flags_or_nothing() -> None:
    assert beam_flags(["streaming=true", "dry_run=false", "finish"], []) == ["--streaming", "--finish"]


def test_without_options_flags_are_as_they_are() -> None:
    assert beam_flags(None, ["--a", "b"]) == ["--a", "b"]


def test_the_last_value_of_a_flag_counts() -> None:
    assert beam_flag(["--runner=A", "--runner=B"], "runner") == "B"
    assert beam_flag(["--runner_x=A"], "runner") is None
