"""The Flex Template: metadata that is the command's own options, and a launcher that submits with them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from typer.main import get_command

from deploy.dataflow.parameters import command_line, metadata
from pipeline.cli import run
from pipeline.cli.run import _is_only_a_template
from pipeline.options import beam_options
from tests.deploy.command_lines import ROOT, _python_options, parse

FOLDER = ROOT / "deploy/dataflow"
METADATA: dict[str, Any] = json.loads((FOLDER / "metadata.json").read_text())
PARAMETERS: dict[str, dict[str, Any]] = {found["name"]: found for found in METADATA["parameters"]}
COMMAND: Any = get_command(run.app)
OPTIONS = {option.opts[0].removeprefix("--").replace("-", "_"): option for option in COMMAND.params}
REQUIRED = ["--bootstrap_servers=broker:9092", "--input_topic=audio", "--output_topic=finals"]


def test_the_file_is_what_the_options_say() -> None:
    assert metadata() == METADATA, "python -m deploy.dataflow.parameters > deploy/dataflow/metadata.json"


def test_the_rules_of_template_metadata_are_kept() -> None:
    """Keys, types and what is required: Dataflow's page on configuring Flex Templates."""
    assert METADATA["name"]
    assert METADATA["streaming"] is True
    assert set(METADATA) <= {
        *("name", "description", "streaming", "parameters"),
        *("supportsAtLeastOnce", "supportsExactlyOnce", "defaultStreamingMode"),
    }
    assert len(PARAMETERS) == len(METADATA["parameters"])
    for parameter in PARAMETERS.values():
        assert {"name", "label", "helpText"} <= set(parameter)
        assert set(parameter) <= {"name", "label", "helpText", "isOptional", "regexes"}
        assert re.fullmatch(r"[a-z][a-z_]*", parameter["name"])
        assert all(parameter[key] for key in ("label", "helpText"))
        for regex in parameter.get("regexes", []):
            re.compile(regex)
            assert not re.search(r"\\[dswDSW]|\(\?", regex)  # not of POSIX


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_an_option_and_required_where_that_is(name: str) -> None:
    option = OPTIONS["region" if name == "aws_region" else name]
    assert PARAMETERS[name]["isOptional"] is not option.required
    default = option.default
    if default is not None and "regexes" in PARAMETERS[name]:
        text = str(default).lower() if isinstance(default, bool) else str(default)
        assert all(re.search(regex, text) for regex in PARAMETERS[name]["regexes"])


def test_no_name_of_beams_is_taken() -> None:
    """The launcher passes Dataflow's own options on beside the parameters."""
    dataflow = {
        name for name in vars(PipelineOptions([]).view_as(GoogleCloudOptions)._visible_options) if name
    }
    assert "region" in dataflow
    assert not set(PARAMETERS) & dataflow
    assert set(PARAMETERS) & _python_options() <= {"bootstrap_servers"}  # of another runner, Kafka Streams'


def test_the_command_gets_parameters_and_beam_the_rest() -> None:
    given = [
        *REQUIRED,
        *("--aws_region=us-east-1", "--insecure=true", "--use_fips_endpoint=false", "--max_live_streams=7"),
        *("--region=europe-west1", "--runner=DataflowRunner", "--template_location=gs://bucket/job"),
    ]
    settings = parse(["medstream", "run", *command_line(given)])
    assert (settings["bootstrap_servers"], settings["input_topic"]) == ("broker:9092", "audio")
    assert (settings["region"], settings["insecure"]) == ("us-east-1", True)
    assert (settings["use_fips_endpoint"], settings["max_live_streams"]) == (False, 7)
    own = [name for option in COMMAND.params for name in option.opts]
    options = beam_options(settings["beam_flags"], own).view_as(GoogleCloudOptions)
    assert (options.region, options.template_location) == ("europe-west1", "gs://bucket/job")
    assert _is_only_a_template(options)
    assert not _is_only_a_template(beam_options(["--runner=DataflowRunner"]))


def test_the_launcher_ends_with_a_sentence_where_a_setting_is_wrong(tmp_path: Path) -> None:
    """As Dataflow starts it: the file by its path, from elsewhere."""
    [path] = re.findall(r"FLEX_TEMPLATE_PYTHON_PY_FILE=\S+/site-packages/(\S+)", recipe())
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        ROOT / path,
        *REQUIRED,
        "--aws_region=us-east-1",
        "--insecure=true",
        "--delivery=twice",
    ]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert ended.returncode == 1
    assert "medstream: --delivery: 'twice' is not one of at-least-once, exactly-once" in ended.stderr


def recipe() -> str:
    return (FOLDER / "Dockerfile").read_text()


def test_the_images_are_of_one_beam_and_one_python() -> None:
    python, beam = re.findall(r"BEAM_IMAGE=apache/beam_python([\d.]+)_sdk:([\d.]+)", recipe())[0]
    assert beam == distributions.version("apache-beam")
    assert f"ARG PYTHON_IMAGE=python:{python}-" in (ROOT / "deploy/docker/Dockerfile").read_text()
    assert f"/python{python}/site-packages/" in recipe()
    assert f"python{python.replace('.', '')}-template-launcher-base" in recipe()
