"""`medstream schemas` from outside, against a registry in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

import schemas
from pipeline import cli
from pipeline.errors import SettingsError
from schemas.documentation import records_page
from schemas.errors import RegistryAccessDenied, UnknownRelease, UnknownSchema
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry

TOPICS = ["--input-topic=audio", "--output-topic=finals", "--sessions-topic=sessions"]
SUBJECTS = ["audio-value", "finals-value", "audio.dead-letters-value", "sessions-value"]


@pytest.fixture
def fake() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def registry(fake: FakeRegistry) -> Iterator[str]:
    with LocalHttp(fake) as server:
        yield f"--schema-registry-url={server.url}"


def invoke(*arguments: str) -> tuple[int, str]:
    """`medstream schemas …`; errors that end a command are raised."""
    found = CliRunner().invoke(cli.app, ["schemas", *arguments], env={"COLUMNS": "200"})
    if isinstance(found.exception, Exception):
        raise found.exception
    return found.exit_code, found.output


def test_list_has_every_schema_with_its_fingerprint() -> None:
    code, text = invoke("list")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()] == list(schemas.names())
    rows = json.loads(invoke("list", "--json")[1])
    assert {row["fingerprint"] for row in rows} == {line.split()[1] for line in text.splitlines()}
    assert rows[0]["released"] == ["0.1.0"]


def test_show_prints_the_file_and_the_release() -> None:
    assert json.loads(invoke("show", "audio_chunk")[1]) == schemas.load("audio_chunk")
    shown = invoke("show", "audio_chunk", "--version=0.1.0")[1]
    assert json.loads(shown) == schemas.load("audio_chunk", "0.1.0")
    with pytest.raises(UnknownSchema, match="audio_chunk"):
        invoke("show", "audio")
    with pytest.raises(UnknownRelease, match=r"0\.1\.0"):
        invoke("show", "audio_chunk", "--version=9.9.9")


def test_document_prints_the_page() -> None:
    assert invoke("document") == (0, records_page())


def test_check_tells_how_every_schema_fares(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = invoke("check")
    assert code == 0
    assert text.count("follows") == len(schemas.names())
    broken = schemas.load("final_transcript")
    broken["fields"].pop(0)
    load = schemas.load
    monkeypatch.setattr(
        schemas,
        "load",
        lambda name, version=None: (
            broken if (name, version) == ("final_transcript", None) else load(name, version)
        ),
    )
    code, text = invoke("check")
    assert code == 1
    assert "final_transcript: readers of 0.1.0 cannot read its records: field 'session_id'" in text


def test_register_puts_each_schema_under_its_topic(fake: FakeRegistry, registry: str) -> None:
    code, text = invoke("register", *TOPICS, registry)
    assert code == 0
    assert list(fake.subjects) == SUBJECTS
    assert set(fake.levels.values()) == {"BACKWARD_TRANSITIVE"}
    assert (
        text.splitlines()[1]
        == "finals-value: final_transcript registered, id 2, compatibility BACKWARD_TRANSITIVE"
    )
    again = invoke("register", *TOPICS, registry)[1]
    assert again.count("was registered already") == 4
    assert len(fake.documents) == 4
    code, text = invoke("check", *TOPICS, registry)
    assert (code, text.count("is registered, id")) == (0, 4)


def test_the_masked_topic_is_one_more_of_finals(fake: FakeRegistry, registry: str) -> None:
    text = invoke("register", "--output-topic=finals", "--masked-topic=masked", registry)[1]
    assert list(fake.subjects) == ["finals-value", "masked-value"]
    assert "masked-value: final_transcript" in text


def test_a_subject_s_own_level_stays(fake: FakeRegistry, registry: str) -> None:
    fake.levels["finals-value"] = "FULL"
    text = invoke("register", "--output-topic=finals", registry, "--compatibility=BACKWARD")[1]
    assert "compatibility FULL" in text
    assert fake.levels == {"finals-value": "FULL"}


def test_a_dry_run_writes_nothing(fake: FakeRegistry, registry: str) -> None:
    code, text = invoke("register", *TOPICS, registry, "--dry-run")
    assert (code, text.count("not registered yet")) == (0, 4)
    assert (fake.subjects, fake.levels) == ({}, {})


def test_subjects_may_be_named_after_the_record_too(fake: FakeRegistry, registry: str) -> None:
    invoke("register", "--output-topic=finals", registry, "--subject-name-strategy=TopicRecordNameStrategy")
    assert list(fake.subjects) == ["finals-medstream.FinalTranscript"]


def test_nothing_is_written_when_one_does_not_fit(fake: FakeRegistry, registry: str) -> None:
    fake.add("sessions-value", schemas.load("audio_chunk"))
    code, text = invoke("register", *TOPICS, registry)
    assert code == 1
    assert (
        "sessions-value: version 1 of sessions-value cannot be read: record medstream.AudioChunk is not"
        in text
    )
    assert list(fake.subjects) == ["sessions-value"]
    assert invoke("check", *TOPICS, registry)[0] == 1


def test_a_refusal_of_the_registry_s_rule_is_told(fake: FakeRegistry, registry: str) -> None:
    newer = schemas.load("final_transcript")
    newer["fields"] = [f for f in newer["fields"] if f["name"] != "request_id"]
    fake.add("finals-value", newer)
    fake._fits = lambda _subject, _text: False  # type: ignore[method-assign]
    code, text = invoke("register", "--output-topic=finals", registry)
    assert code == 1
    assert "the registry refuses final_transcript by its compatibility level" in text


def test_what_is_missing_on_the_command_line_is_told(registry: str) -> None:
    with pytest.raises(SettingsError, match="--schema-registry-url"):
        invoke("register", *TOPICS)
    with pytest.raises(SettingsError, match="no topic is given"):
        invoke("register", registry)


def test_secrets_come_from_the_environment_too(
    fake: FakeRegistry, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.authorization = "Bearer token-of-the-environment"
    with pytest.raises(RegistryAccessDenied, match="401"):
        invoke("check", *TOPICS, registry)
    monkeypatch.setenv("MEDSTREAM_SCHEMA_REGISTRY_TOKEN", "token-of-the-environment")
    assert invoke("check", *TOPICS, registry)[0] == 0
