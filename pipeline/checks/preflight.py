"""Checks before a job is submitted: each wrong setting ends in one sentence, within seconds.

They are the checks of `medstream doctor`, which reports on all of them; here the first failure is the end,
and what is doubtful is a warning in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from connectors.kafka.delivery import PROGRESS_TOPIC
from connectors.kafka.reading.drain_requests import drain_topic
from connectors.kafka.topics import topic_id
from pipeline.checks.check import require
from pipeline.checks.kafka_checks import KafkaChecks
from pipeline.checks.registered_schemas import schemas_of_topics
from pipeline.checks.registry_check import RegistryChecks
from pipeline.checks.runner_checks import runner_checks
from pipeline.checks.service_checks import ServiceChecks
from pipeline.settings import EXACTLY_ONCE, JobSettings, Topics, travelling_secrets
from pipeline.worker.service import ServiceSettings

_LOG = logging.getLogger(__name__)


def check_job(settings: JobSettings) -> JobSettings:
    """The settings with what was found out on the way: the output's partitions, the input topic's id, where
    requests to drain will be.

    Raises SettingsError, TranscribeError, KafkaConnectorError or RegistryError with one sentence for the
    person at the keys.
    """
    check_service(settings.service)
    topics = settings.topics
    schemas = schemas_of_topics(topics, settings.chunk_format)
    require(RegistryChecks(lambda: settings.serdes, schemas, may_register=True).checks())
    kafka = KafkaChecks(
        lambda: settings.kafka,
        topics_by_option(topics),
        topics.progress,
        group_id=settings.group_id,
        transactional_id=f"{settings.sink_id}-0" if settings.delivery == EXACTLY_ONCE else None,
        may_create=True,
    )
    require(kafka.checks(), _LOG.warning)
    audio_topic_id = topic_id(settings.kafka, topics.audio, setting="--input-topic")
    return replace(
        settings,
        finals_partitions=kafka.partitions[topics.finals],
        audio_topic_id=audio_topic_id,
        drain=drain_topic(settings.kafka, topics.progress, setting=PROGRESS_TOPIC),
    )


def check_service(service: ServiceSettings) -> None:
    """Region, credentials, and the endpoint where checking costs nothing."""
    checks = ServiceChecks(lambda: service, service.profile_name)
    require([*checks.before_a_job(), checks.handshake()])


def check_runner(settings: JobSettings, runner: str | None, job_endpoint: str | None) -> None:
    """Raise SettingsError unless the runner's job server, if it has one, can be reached."""
    secrets = travelling_secrets(settings.kafka, settings.serdes)
    require(runner_checks(runner, job_endpoint, secrets), _LOG.warning)


def topics_by_option(topics: Topics) -> Mapping[str, str | None]:
    """The topics that a job needs, by option; only those that are used."""
    wanted = {
        "--input-topic": topics.audio,
        "--output-topic": topics.finals,
        "--dead-letter-topic": topics.dead_letters,
        "--partials-topic": topics.partials,
        "--sessions-topic": topics.sessions,
        "--masked-topic": topics.masked,
    }
    return {option: topic for option, topic in wanted.items() if topic is not None}
