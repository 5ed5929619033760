"""Settings by file, environment and flag: which one wins, and how a wrong one is told."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipeline import cli
from pipeline.cli import run
from pipeline.cli.resolved import MASK, misspelt_variables
from pipeline.cli.settings_file import configurable_commands, option_key, options_of
from pipeline.errors import SettingsError

SECRET = "SYNTHETIC-SECRET"
JAAS = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="{SECRET}";'


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")


def invoke(*arguments: str) -> str:
    found = CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "200"})
    if isinstance(found.exception, SettingsError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


def shown(*arguments: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(invoke("config", "show", "--json", *arguments))}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "medstream.toml"


# Sources


def test_every_option_of_run_can_be_set_in_the_environment() -> None:
    options: Any = options_of(get_command(run.app))
    assert len(options) > 40
    for option in options.values():
        names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
        assert [name for name in names if name.startswith("MEDSTREAM_")], option.opts


def test_every_option_of_run_can_be_set_in_the_file(file: Path) -> None:
    """As the printed example has it, with every comment mark before a setting taken away."""
    lines = []
    for line in invoke("config", "init").splitlines():
        setting = line.removeprefix("# ")
        lines.append(setting if setting.startswith("[") or " = " in setting else line)
    file.write_text("\n".join(lines))
    options: Any = options_of(get_command(run.app))
    assert {option_key(option) for option in options.values()} == set(tomllib.loads(file.read_text()))
    rows = shown("--config", str(file))
    others = [name for name, row in rows.items() if row["source"] != "file"]
    assert others == ["config"]  # the file is named by a flag


def test_environment_wins_over_the_file_and_a_flag_over_both(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('input-topic = "by-file"\noutput-topic = "by-file"\nregion = "by-file"\n')
    monkeypatch.setenv("MEDSTREAM_OUTPUT_TOPIC", "by-environment")
    monkeypatch.setenv("MEDSTREAM_REGION", "by-environment")
    rows = shown("--config", str(file), "--region", "by-flag")
    assert rows["input-topic"] == {
        "name": "input-topic",
        "value": "by-file",
        "source": "file",
        "where": str(file),
    }
    assert rows["output-topic"]["value"] == "by-environment"
    assert rows["output-topic"]["where"] == "MEDSTREAM_OUTPUT_TOPIC"
    assert (rows["region"]["value"], rows["region"]["source"]) == ("by-flag", "flag")
    assert rows["delivery"]["source"] == "default"
    assert rows["progress-topic"]["value"] == "by-environment.progress"


def test_the_file_can_be_named_in_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('group-id = "others"')
    monkeypatch.setenv("MEDSTREAM_CONFIG", str(file))
    assert shown()["group-id"]["value"] == "others"


def test_a_command_s_table_wins_over_the_top_and_is_nobody_else_s(file: Path) -> None:
    file.write_text('group-id = "top"\n[run]\ngroup-id = "run"\n[transcribe]\nmax-retries = 7\n')
    rows = shown("--config", str(file))
    assert rows["group-id"]["value"] == "run"
    assert rows["max-retries"]["source"] == "default"


def test_run_itself_obeys_the_file(file: Path) -> None:
    file.write_text(
        'bootstrap-servers = "127.0.0.1:1"\ninput-topic = "a"\noutput-topic = "b"\nregion = "us-east-1"\n'
        'start-from = "never"\n'
    )
    with pytest.raises(SettingsError, match="--start-from: 'never'"):
        invoke("run", "--config", str(file))


def test_paths_are_relative_to_the_file(file: Path) -> None:
    file.write_text('ca-file = "ca.pem"')
    assert shown("--config", str(file))["ca-file"]["value"] == str(file.parent / "ca.pem")


def test_options_that_repeat_are_tables_or_lists(file: Path) -> None:
    file.write_text(
        'beam-option = ["runner=PortableRunner"]\n[kafka-property]\nlinger.ms = 5\n"check.crcs" = true\n'
    )
    rows = shown("--config", str(file))
    assert rows["kafka-property"]["value"] == ["linger.ms=5", "check.crcs=true"]
    assert rows["beam-option"]["value"] == ["runner=PortableRunner"]


def test_the_file_in_the_readme_is_one(file: Path) -> None:
    readme = (Path(__file__).parents[3] / "pipeline" / "README.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```toml\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    file.write_text(text)
    rows = shown("--config", str(file))
    assert rows["input-topic"]["source"] == "file"
    assert rows["kafka-property"]["value"] == ["compression.type=gzip"]
    assert rows["beam-option"]["value"] == ["runner=PortableRunner", "job_endpoint=localhost:8099"]


def test_python_m_pipeline_takes_the_table_of_run(file: Path) -> None:
    file.write_text('[run]\nstart-from = "never"\nregion = "us-east-1"\n')
    given = ["--bootstrap-servers=127.0.0.1:1", "--input-topic=a", "--output-topic=b"]
    found = CliRunner().invoke(run.app, ["--config", str(file), *given])
    assert isinstance(found.exception, SettingsError)
    assert "--start-from: 'never'" in str(found.exception)


def test_other_commands_take_the_file_too() -> None:
    assert {"run", "transcribe", "schemas", "config"} <= set(configurable_commands())


# Wrong files


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('input-topics = "a"', r"'input-topics' in .*no such setting; did you mean input-topic\?"),
        ('input_topic = "a"', r"'input_topic'.*did you mean input-topic\?"),
        ('[run]\nregoin = "a"', r"'regoin' of \[run\] in .*did you mean region\?"),
        ("[rnu]\nx = 1", r"\[rnu\] in .*no such table; did you mean run\?"),
        ("[demo]\nsessions = 1", r"\[demo\] in .*no such table"),
        ("[run]\nsample-rate = 8000", r"'sample-rate' of \[run\].*no such setting"),
        (
            'max-retries = "5"',
            r"--max-retries \('max-retries' in .*: expected a whole number, found a string",
        ),
        ("max-retries = true", r"--max-retries .*expected a whole number, found true or false"),
        ("max-retries = 1.5", r"--max-retries .*expected a whole number, found a number"),
        ("max-retries = -1", r"--max-retries .*greater than or equal to 0"),
        ('insecure = "yes"', r"--insecure .*expected true or false, found a string"),
        ("region = 1", r"--region .*expected a string, found a whole number"),
        ("outbound-seconds = inf", r"--outbound-seconds .*not a finite number"),
        ("kafka-property = 5", r"--kafka-property .*expected a list of strings, or a table"),
        ("region = ?", r"--config: cannot read .*no TOML.*line 1"),
        ("config = 'x'", r"'config' in .*no such setting"),
    ],
)
def test_a_wrong_file_names_the_setting(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        invoke("config", "show", "--config", str(file))


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=f"--config: cannot read {file}: No such file"):
        invoke("config", "show", "--config", str(file))


def test_what_another_command_would_use_is_checked_as_well(file: Path) -> None:
    file.write_text("[transcribe]\nchannels = 3\n")
    with pytest.raises(SettingsError, match="--channels"):
        invoke("config", "show", "--config", str(file))


# Secrets


@pytest.mark.parametrize(
    "pair", [f"sasl.jaas.config={JAAS}", f"ssl.key.password={SECRET}", f"ssl.keystore.key={SECRET}"]
)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(pair: str) -> None:
    with pytest.raises(SettingsError, match=r"is a secret.*--command-config") as refused:
        invoke("config", "show", f"--kafka-property={pair}")
    assert SECRET not in str(refused.value)
    assert pair.partition("=")[0] in str(refused.value)


@pytest.mark.parametrize(
    "pair",
    ["ssl.key.password=${env:KEY}", "sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required;"],
)
def test_a_reference_and_a_login_without_secret_are_not(pair: str) -> None:
    assert shown(f"--kafka-property={pair}")["kafka-property"]["value"] == [pair]


def test_no_secret_is_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = file.with_name("client.properties")
    properties.write_text(f"security.protocol=SASL_SSL\nsasl.jaas.config={JAAS}\nssl.kay.password={SECRET}\n")
    file.write_text(
        'command-config = "client.properties"\n'
        f'schema-registry-url = "http://reader:{SECRET}@127.0.0.1:1"\n'
        f'[kafka-property]\n"ssl.key.password" = "{SECRET}"\n'
        f'[beam-option]\ns3_secret_access_key = "{SECRET}"\n'
    )
    monkeypatch.setenv("MEDSTREAM_SCHEMA_REGISTRY_TOKEN", SECRET)
    arguments = ("--config", str(file), f"--azure_token={SECRET}")
    assert SECRET not in invoke("config", "show", *arguments)
    rows = shown(*arguments)
    assert SECRET not in json.dumps(rows)
    assert rows["kafka security.protocol"]["value"] == "SASL_SSL"
    assert rows["kafka sasl.jaas.config"]["value"] == MASK
    assert rows["schema-registry-token"] == {
        "name": "schema-registry-token",
        "value": MASK,
        "source": "environment",
        "where": "MEDSTREAM_SCHEMA_REGISTRY_TOKEN",
    }
    assert rows["beam --azure_token"]["value"] == MASK


# The environment


def test_a_variable_that_nothing_reads_but_looks_like_one_is_told() -> None:
    environment = {"MEDSTREAM_INPUT_TOPICS": "a", "MEDSTREAM_PORT": "tcp://x", "MEDSTREAM_GROUP_ID": "g"}
    assert misspelt_variables(environment) == [
        "MEDSTREAM_INPUT_TOPICS is no setting; did you mean MEDSTREAM_INPUT_TOPIC?"
    ]


def test_a_table_on_a_terminal_and_lines_elsewhere_have_the_same_settings(file: Path) -> None:
    file.write_text('group-id = "others"')
    lines = invoke("config", "show", "--changed", "--config", str(file)).splitlines()
    assert lines == [f'group-id = "others"  # file {file}', f'config = "{file}"  # flag']
