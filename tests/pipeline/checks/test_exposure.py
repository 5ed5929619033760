"""Beam's options that show elements are refused from every source; what else there is passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions
from apache_beam.runners.worker.data_sampler import DataSampler
from typer.testing import CliRunner

from pipeline import cli
from pipeline.checks.exposure import refuse_exposure
from pipeline.errors import SettingsError
from pipeline.options import beam_options

SAMPLING = ("enable_data_sampling", "enable_always_on_exception_sampling")
RUN = ["run", "--bootstrap-servers=127.0.0.1:1", "--input-topic=a", "--output-topic=b", "--region=us-east-1"]


@pytest.mark.parametrize("experiment", SAMPLING)
@pytest.mark.parametrize(
    "form", ["--experiments={}", "--experiment={}", "--experiments=beam_fn_api,{}", "--experiments=a=b,{}"]
)
def test_sampling_is_refused_however_it_is_written(experiment: str, form: str) -> None:
    with pytest.raises(SettingsError, match=rf"^--experiments?={experiment}: keeps .*: patient data"):
        refuse_exposure(["--parallelism=2", form.format(experiment)])


@pytest.mark.parametrize(
    "flag",
    [
        "--runtime_type_check",
        "--performance_runtime_type_check",
        "--profiler_agent=coredump",
        "--experiments=core_pattern=/tmp/core.%p",
    ],
)
def test_so_is_what_prints_elements_or_dumps_memory(flag: str) -> None:
    with pytest.raises(SettingsError) as refused:
        beam_options([flag])
    assert refused.value.setting.startswith(flag.split("=")[0])


def test_other_options_pass() -> None:
    refuse_exposure(["--experiments=use_runner_v2,disable_x", "--profiler_agent=memray", "--parallelism=4"])


def test_beam_s_own_sampler_is_off_although_a_runner_switches_it_on() -> None:
    """As a service may do with its jobs; and it is this class that would sample."""
    switched_on = beam_options([])
    switched_on.view_as(DebugOptions).add_experiment(SAMPLING[1])
    assert DataSampler.create(switched_on) is None
    sampler = DataSampler.create(PipelineOptions([f"--experiments={SAMPLING[1]}"]))
    assert sampler is not None
    sampler.stop()


def test_it_is_refused_from_the_command_line_the_environment_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "medstream.toml"
    file.write_text('[run.beam-option]\nexperiments = "enable_data_sampling"\n')
    option = "experiments=enable_data_sampling"
    for arguments, variable in (
        ([f"--{option}"], ""),
        ([f"--beam-option={option}"], ""),
        ([f"--config={file}"], ""),
        ([], option),
    ):
        monkeypatch.setenv("MEDSTREAM_BEAM_OPTION", variable)
        if not variable:
            monkeypatch.delenv("MEDSTREAM_BEAM_OPTION")
        ended = CliRunner().invoke(cli.app, [*RUN, *arguments])
        assert isinstance(ended.exception, SettingsError)
        assert ended.exception.setting == "--experiments=enable_data_sampling"
