"""A job's settings travel: picklable, without secrets in sight, and told apart by job."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

from connectors.kafka.client import ClientConfig
from pipeline.engine.limits import SessionLimits
from pipeline.settings import JobSettings, Topics, travelling_secrets
from pipeline.worker.service import ServiceSettings
from schemas.registry_settings import RegistrySettings
from schemas.serdes import SerdeSettings


def settings() -> JobSettings:
    properties = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="synthetic" password="synthetic-password";',
    }
    return JobSettings(
        kafka=ClientConfig.build("broker:9093", None, properties),
        topics=Topics("audio", "finals", "letters"),
        service=ServiceSettings("us-east-1"),
    )


def test_settings_survive_pickling_unchanged() -> None:
    job = settings()
    assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301 - our own bytes


def test_settings_do_not_show_passwords() -> None:
    assert "synthetic-password" not in repr(settings())


def test_a_masked_topic_requires_that_phi_is_identified() -> None:
    job = settings()
    assert job.required_settings == {}
    masked = replace(job, topics=replace(job.topics, masked="masked"))
    assert masked.required_settings == {"content_identification_type": "PHI"}


def test_secrets_that_travel_with_a_job_are_known_by_their_option(tmp_path: Path) -> None:
    job = settings()
    assert travelling_secrets(job.kafka, job.serdes) == ["--kafka-property"]
    file = tmp_path / "client.properties"
    file.write_text("client.id=x\n")
    registry = SerdeSettings(RegistrySettings(("https://r",), "user", "synthetic-password"))
    shipped = ClientConfig.build("broker:9093", file, {"security.protocol": "SSL"}, ship=True)
    assert travelling_secrets(shipped, registry) == ["--ship-command-config", "the schema registry"]
    plain = ClientConfig.build("broker:9093", file, {"security.protocol": "SSL"})
    assert travelling_secrets(plain, SerdeSettings()) == []


def test_every_job_has_an_id_of_its_own() -> None:
    assert settings().job_id != settings().job_id


def test_a_stream_is_closed_before_the_service_would_end_it_for_idleness() -> None:
    limits = SessionLimits()
    assert limits.idle_close_seconds + limits.poll_flowing_seconds < 15.0
    assert limits.idle_close_seconds < limits.session_timeout_seconds
