"""The registry's options as one value, from options, file and environment."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipeline.cli.registry_options import serde_settings
from pipeline.errors import SettingsError
from schemas.errors import RegistrySettingError
from schemas.serdes import SerdeSettings
from schemas.subjects import TOPIC_NAME, TOPIC_RECORD_NAME

SECRET = "SYNTHETIC-SECRET"
URL = "http://127.0.0.1:8081"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "registry.properties"
    path.write_text(
        f"schema.registry.url = {URL}\nbasic.auth.user.info = reader:{SECRET}\n"
        "value.subject.name.strategy = TopicRecordNameStrategy\nauto.register.schemas = true\n"
    )
    return path


def test_without_options_there_is_no_registry() -> None:
    assert serde_settings(None, None) == SerdeSettings()


def test_a_file_says_it_all_and_options_win(config: Path) -> None:
    by_file = serde_settings(None, config)
    assert by_file.registry is not None
    assert by_file.registry.urls == (URL,)
    assert (by_file.subject_name_strategy, by_file.auto_register) == (TOPIC_RECORD_NAME, True)
    both = serde_settings("http://127.0.0.1:1", config, TOPIC_NAME)
    assert both.registry is not None
    assert both.registry.urls == ("http://127.0.0.1:1",)
    assert both.subject_name_strategy == TOPIC_NAME


def test_the_value_travels_and_shows_no_secret(config: Path) -> None:
    settings = serde_settings(None, config)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes
    assert SECRET not in repr(settings)
    assert settings.registry is not None
    assert settings.registry.password == SECRET


def test_the_environment_s_secret_serves_where_the_file_has_none(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSTREAM_SCHEMA_REGISTRY_USER_INFO", "env:other")
    settings = [serde_settings(URL, None), serde_settings(None, config)]
    assert [s.registry.user for s in settings if s.registry] == ["env", "reader"]


@pytest.mark.parametrize(("strategy", "auto"), [("TopicNameStrategy", False), (None, True)])
def test_options_of_a_registry_need_one(strategy: str | None, auto: bool) -> None:
    with pytest.raises(SettingsError, match="--schema-registry-url"):
        serde_settings(None, None, strategy, auto_register=auto)


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(RegistrySettingError, match=r"--subject-name-strategy.*TopicRecordNameStrategy"):
        serde_settings(URL, None, "RecordNameStrategy")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff\xfe", "not UTF-8"), (b"= x", "line 1"), (b"k = \\uZZ", "line 1"), (None, "No such file")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "broken.properties"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"--schema-registry-config.*{told}"):
        serde_settings(None, path)
