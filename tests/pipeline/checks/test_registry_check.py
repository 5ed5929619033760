"""The registry before a job: each thing that is missing or does not fit is one sentence with the remedy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import schemas
from pipeline.checks.registered_schemas import schemas_of_topics
from pipeline.checks.registry_check import check_registry
from pipeline.errors import SettingsError
from pipeline.settings import Topics
from schemas.errors import RegistryUnavailable
from schemas.registry_settings import RegistrySettings
from schemas.serdes import SerdeSettings
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry

TOPICS = Topics("audio", "finals", "letters", sessions="sessions")
OUTPUTS = {"finals": "final_transcript", "letters": "dead_letter", "sessions": "session_ended"}


@pytest.fixture
def fake() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def settings(fake: FakeRegistry) -> Iterator[RegistrySettings]:
    with LocalHttp(fake) as server:
        yield RegistrySettings((server.url,))


def register_outputs(fake: FakeRegistry, *left_out: str) -> None:
    for topic, name in OUTPUTS.items():
        if topic not in left_out:
            fake.add(f"{topic}-value", schemas.load(name))


def test_without_a_registry_nothing_is_asked() -> None:
    check_registry(TOPICS, SerdeSettings())


def test_a_registry_with_all_outputs_passes_whether_or_not_it_knows_the_input(
    fake: FakeRegistry, settings: RegistrySettings
) -> None:
    register_outputs(fake)
    check_registry(TOPICS, SerdeSettings(settings))
    fake.add("audio-value", schemas.load("audio_chunk"))
    check_registry(TOPICS, SerdeSettings(settings))


@pytest.mark.parametrize("topic", sorted(OUTPUTS))
def test_what_is_missing_is_told_with_the_command(
    fake: FakeRegistry, settings: RegistrySettings, topic: str
) -> None:
    register_outputs(fake, topic)
    with pytest.raises(SettingsError, match="medstream schemas register") as caught:
        check_registry(TOPICS, SerdeSettings(settings))
    assert f"'{topic}-value' does not exist" in str(caught.value)
    assert f"{topic}-value" not in fake.subjects


def test_another_version_is_not_ours(fake: FakeRegistry, settings: RegistrySettings) -> None:
    register_outputs(fake, "finals")
    older = schemas.load("final_transcript")
    older["fields"] = [f for f in older["fields"] if f["name"] != "request_id"]
    fake.add("finals-value", older)
    with pytest.raises(SettingsError, match=r"has 1 other version\(s\)"):
        check_registry(TOPICS, SerdeSettings(settings))


def test_what_is_missing_is_registered_when_that_is_asked_for(
    fake: FakeRegistry, settings: RegistrySettings
) -> None:
    check_registry(TOPICS, SerdeSettings(settings, auto_register=True))
    assert sorted(fake.subjects) == sorted(f"{topic}-value" for topic in OUTPUTS)


def test_an_input_that_cannot_be_read_is_told(fake: FakeRegistry, settings: RegistrySettings) -> None:
    register_outputs(fake)
    fake.add("audio-value", schemas.load("final_transcript"))
    with pytest.raises(
        SettingsError, match=r"(?s)FinalTranscript is not.*is 'audio' the topic of audio_chunk"
    ):
        check_registry(TOPICS, SerdeSettings(settings))


def test_a_registry_that_is_away_is_told() -> None:
    away = RegistrySettings(("http://127.0.0.1:1",), deadline_seconds=0.2)
    with pytest.raises(RegistryUnavailable, match="--schema-registry-url"):
        check_registry(TOPICS, SerdeSettings(away))


def test_every_topic_of_a_job_has_a_schema() -> None:
    topics = schemas_of_topics(Topics("a", "b", "c", "d", "e", masked="f"))
    assert {topic for _, topic in topics} == {"a", "b", "c", "d", "e", "f"}


def test_raw_audio_has_no_schema() -> None:
    assert schemas_of_topics(TOPICS, "raw")[0] == ("audio_chunk", None)
    assert schemas_of_topics(TOPICS, "raw")[1:] == schemas_of_topics(TOPICS)[1:]
