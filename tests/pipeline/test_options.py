"""Beam's options: our defaults under the caller's values, typing errors refused, the rest passed through."""

from __future__ import annotations

import argparse
from contextlib import suppress

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)
from typer.main import get_command

from pipeline.cli.run import app
from pipeline.errors import SettingsError
from pipeline.options import beam_options

OWN = [name for parameter in get_command(app).params for name in parameter.opts]
FLINK = ["--runner=PortableRunner", "--job_endpoint=127.0.0.1:8099"]


def all_options(*flags: str) -> dict[str, object]:
    return beam_options(flags, OWN).get_all_options(retain_unknown_options=True)


def test_a_job_is_always_a_streaming_job_with_a_state_cache() -> None:
    options = beam_options([], OWN)
    assert options.view_as(StandardOptions).streaming
    assert options.view_as(WorkerOptions).max_cache_memory_usage_mb == 100


def test_a_job_has_a_name_and_submits_quietly() -> None:
    assert all_options()["job_name"] == "medstream"
    assert all_options("--job_name=ward-3")["job_name"] == "ward-3"
    experiments = beam_options([], OWN).view_as(DebugOptions).experiments or []
    assert "disable_logging_submission_environment" in experiments


@pytest.mark.parametrize("runner", ["PortableRunner", "FlinkRunner"])
def test_flink_gets_checkpoints_and_short_bundles(runner: str) -> None:
    options = all_options(f"--runner={runner}")
    assert options["checkpointing_interval"] == "10000"
    assert options["max_bundle_time_mills"] == "20"
    assert options["finish_bundle_before_checkpointing"]


def test_on_flink_a_job_that_ends_lets_its_sources_end() -> None:
    assert "shutdown_sources_after_idle_ms" not in all_options(*FLINK)
    ending = beam_options(FLINK, OWN, ends=True).get_all_options(retain_unknown_options=True)
    assert ending["shutdown_sources_after_idle_ms"] == "1000"
    elsewhere = beam_options([], OWN, ends=True).get_all_options(retain_unknown_options=True)
    assert "shutdown_sources_after_idle_ms" not in elsewhere


def test_other_runners_do_not_get_flink_s_options() -> None:
    given = all_options("--runner=DirectRunner")
    assert not {"checkpointing_interval", "max_bundle_time_mills"} & set(given)


def test_a_given_value_wins_over_the_default() -> None:
    options = all_options(*FLINK, "--checkpointing_interval=500", "--max_cache_memory_usage_mb=7")
    assert options["checkpointing_interval"] == "500"
    assert options["max_cache_memory_usage_mb"] == 7


def test_beam_s_own_options_pass_through() -> None:
    options = beam_options([*FLINK, "--experiments=one", "--experiments=two"], OWN)
    assert options.view_as(PortableOptions).job_endpoint == "127.0.0.1:8099"
    assert set(options.view_as(DebugOptions).experiments or []) >= {"one", "two"}


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--input_topic=audio", "--input-topic"),
        ("--outputtopic=finals", "--output-topic"),
        ("--bootstrap-server=b:9092", "--bootstrap-servers"),
        ("--start_from=latest", "--start-from"),
        ("--endpointurl=http://x", "--endpoint-url"),
    ],
)
def test_a_flag_that_looks_like_one_of_ours_is_a_typing_error(flag: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=meant) as refused:
        beam_options([flag], OWN)
    assert refused.value.setting == flag.split("=")[0]


@pytest.mark.parametrize("words", [["parallelism=4"], ["--runner", "PortableRunner"]])
def test_a_word_that_is_no_option_is_refused_with_the_form_of_one(words: list[str]) -> None:
    with pytest.raises(SettingsError, match="--name=value") as refused:
        beam_options(words, OWN)
    assert refused.value.setting == words[-1]


def test_none_of_beam_s_options_is_taken_for_a_typing_error_of_ours() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        if options.__module__ == "apache_beam.options.pipeline_options":
            options._add_argparse_args(parser)
    names = {name for action in parser._actions for name in action.option_strings}
    assert len(names) > 100
    meant_for_us = {"--bootstrap_servers"}  # of the Kafka Streams runner; here it means ours
    exposing = {"--runtime_type_check", "--performance_runtime_type_check"}  # see test_exposure
    refused = []
    for name in sorted(names - {"-h", "--help", *OWN} - meant_for_us - exposing):
        with suppress(SystemExit):  # argparse's opinion of the value is of no interest here
            try:
                beam_options([f"{name}=1"], OWN)
            except SettingsError as error:
                refused.append(str(error))
    assert refused == []


def test_an_option_of_beams_with_the_name_of_ours_is_no_typing_error() -> None:
    """Only --beam-option can bring one: as a flag it would have been ours."""
    options = beam_options(["--region=europe-west1"], ["--region", "--input-topic"])
    assert options.view_as(GoogleCloudOptions).region == "europe-west1"
