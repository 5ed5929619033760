"""`medstream watch`: what is refused before Kafka is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import cli
from pipeline.errors import SettingsError

COMMAND = ["watch", "--bootstrap-servers=127.0.0.1:1", "--output-topic=finals"]


def watch(*arguments: str) -> int:
    found = CliRunner().invoke(cli.app, [*COMMAND, *arguments], env={"COLUMNS": "200"})
    if isinstance(found.exception, Exception):
        raise found.exception
    return found.exit_code


def test_the_page_without_its_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.watch.serving", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SettingsError, match=r"'uvicorn': install medstream\[web\]"):
        watch("--web")


def test_an_address_beyond_this_machine_needs_encryption(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--web-certificate"):
        watch("--web", "--web-host=192.0.2.1")
    with pytest.raises(SettingsError, match="--web-key"):
        watch("--web", f"--web-certificate={tmp_path}/page.pem")


def test_a_page_prints_no_lines() -> None:
    with pytest.raises(SettingsError, match="--json and --plain"):
        watch("--web", "--json")


def test_settings_come_from_a_file_too(tmp_path: Path) -> None:
    settings = tmp_path / "medstream.toml"
    settings.write_text('[watch]\nweb = true\nweb-host = "192.0.2.1"\n')
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1 is reached"):
        watch(f"--config={settings}")


@pytest.mark.parametrize("wrong", ["--low-confidence=2", "--idle-after-seconds=0", "--web-port=70000"])
def test_values_out_of_range_are_wrong_usage(wrong: str) -> None:
    assert watch(wrong) == 2


def test_what_to_do_with_unreadable_records_is_one_of_two() -> None:
    with pytest.raises(SettingsError, match="--on-unreadable"):
        watch("--on-unreadable=maybe")
