"""Checks before a job is submitted: each wrong setting ends in one sentence, within seconds.

Against AWS the region is checked by botocore's endpoint data and the credentials by looking them up; no
stream is opened, since each one is billed. An endpoint of one's own (`--endpoint-url`) gets a real handshake.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

from connectors.kafka.access import check_connection
from connectors.kafka.delivery import PROGRESS_TOPIC
from connectors.kafka.errors import PartitionsChanged
from connectors.kafka.topics import ensure_compacted, topic_id
from connectors.transcribe.credentials import check_region, load_credentials
from connectors.transcribe.errors import AccessDeniedError, TranscribeError
from pipeline.elements import AudioFormat, SessionSettings
from pipeline.errors import SettingsError
from pipeline.registry_check import check_registry
from pipeline.service import ServiceSettings
from pipeline.settings import EXACTLY_ONCE, JobSettings

_HANDSHAKE_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_HANDSHAKE_STREAM_ID = "00000000-0000-4000-8000-000000000000"


def check_job(settings: JobSettings) -> JobSettings:
    """The settings with what was found out on the way: the output's partitions, the input topic's id.

    Raises SettingsError, TranscribeError, KafkaConnectorError or RegistryError with one sentence for the
    person at the keys.
    """
    check_service(settings.service)
    topics = settings.topics
    check_registry(topics, settings.serdes)
    wanted = {
        "--input-topic": topics.audio,
        "--output-topic": topics.finals,
        "--dead-letter-topic": topics.dead_letters,
        "--partials-topic": topics.partials,
        "--sessions-topic": topics.sessions,
    }
    used = {option: topic for option, topic in wanted.items() if topic is not None}
    ids = [f"{settings.sink_id}-0"] if settings.delivery == EXACTLY_ONCE else []
    partitions = check_connection(settings.kafka, used, group_id=settings.group_id, transactional_ids=ids)[
        topics.finals
    ]
    kept_for = ensure_compacted(settings.kafka, topics.progress, partitions, setting=PROGRESS_TOPIC)
    if kept_for != partitions:
        raise PartitionsChanged(topics.finals, kept_for, partitions)
    for read in ((), (PROGRESS_TOPIC,)):  # it is written and read
        check_connection(settings.kafka, {PROGRESS_TOPIC: topics.progress}, read=read)
    audio_topic_id = topic_id(settings.kafka, topics.audio, setting="--input-topic")
    return replace(settings, finals_partitions=partitions, audio_topic_id=audio_topic_id)


def check_service(service: ServiceSettings) -> None:
    """Region, credentials, and the endpoint where checking costs nothing."""
    load_credentials(service.profile_name)
    service.endpoint()
    if service.endpoint_url is None:
        check_region(service.region, use_fips=service.use_fips, use_dualstack=service.use_dualstack)
    else:
        asyncio.run(_handshake(service))


async def _handshake(service: ServiceSettings) -> None:
    audio = AudioFormat(16_000)
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            stream = await service.open_stream(audio, SessionSettings(), _HANDSHAKE_STREAM_ID)
            await stream.send_audio(bytes(2 * audio.sample_rate_hertz // 10))
            await stream.end()
            while await stream.receive() is not None:
                pass
            await stream.close()
    except TimeoutError:
        raise SettingsError(
            "--endpoint-url",
            f"{service.endpoint_url} accepted the connection but did not answer within "
            f"{_HANDSHAKE_SECONDS:.0f} s; is it a Transcribe-compatible endpoint?",
        ) from None
    except TranscribeError as error:
        if error.throttling:
            return  # it answered: settings are right, the account is busy
        setting = _setting_at_fault(error)
        raise SettingsError(
            setting, f"{service.endpoint_url} refused a test stream: {error.message}"
        ) from None


def _setting_at_fault(error: TranscribeError) -> str:
    if not isinstance(error, AccessDeniedError):
        return "--endpoint-url"
    return "--region" if "region" in error.message else "AWS credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE)"


def check_job_endpoint(job_endpoint: str) -> None:
    """Raise SettingsError unless something listens at `host:port` of Beam's `--job_endpoint`."""
    host, _, port = job_endpoint.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS):
            return
    except (OSError, ValueError) as error:
        reason = error.strerror or "no answer" if isinstance(error, OSError) else "expected host:port"
        raise SettingsError(
            "--job_endpoint",
            f"no Beam job server at {job_endpoint} ({reason}); start one (medstream local up)",
        ) from None
