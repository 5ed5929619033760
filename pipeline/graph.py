"""The data path as a Beam graph: read, transcribe, publish; dead letters beside it."""

from __future__ import annotations

from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.typehints import KV

from connectors.kafka.sink import WriteToKafka
from connectors.kafka.source import ReadFromKafka
from pipeline.dead_letters import PublishDeadLetters
from pipeline.keying import DEAD_LETTERS, KeyBySession
from pipeline.output.unfinished_sessions import resume_offsets
from pipeline.publishing import PublishSessions
from pipeline.settings import JobSettings
from pipeline.transforms import PARTIALS, STEPS, TranscribeSessions


def build(pipeline: beam.Pipeline, settings: JobSettings) -> None:
    """Apply the whole data path of a job to `pipeline`."""
    audio = pipeline | "ReadAudioChunks" >> ReadAudioChunks(settings)
    transcripts = audio.sessions | "TranscribeSessions" >> TranscribeSessions(settings)
    _ = transcripts | "PublishTranscripts" >> PublishTranscripts(settings)
    _ = (
        (audio.dead_letters, transcripts[DEAD_LETTERS])
        | "AllDeadLetters" >> beam.Flatten()
        | "PublishDeadLetters" >> PublishDeadLetters(settings)
    )


class ReadAudioChunks(beam.PTransform):
    """The input topic as `.sessions`, `(session_id, records of one poll)`, and `.dead_letters`."""

    def __init__(self, settings: JobSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, pbegin: Any) -> Any:
        settings = self._settings
        return (
            pbegin
            | ReadFromKafka(
                settings.kafka,
                [settings.topics.audio],
                start=settings.start,
                start_no_later=partial(resume_offsets, settings),
                stop_at=settings.stop_at,
                drain=settings.drain,
                discovery_interval_seconds=settings.discovery_interval_seconds,
                poll_timeout_ms=settings.read_interval_ms,
                group_id=settings.group_id,
                on_lost_offsets=settings.on_lost_offsets,
            )
            | beam.ParDo(KeyBySession(settings))
            .with_output_types(KV[str, Any])  # a str key: Beam's state and timers need a deterministic coder
            .with_outputs(DEAD_LETTERS, main="sessions")
        )


class PublishTranscripts(beam.PTransform):
    """Finals and ends of sessions with their progress; partials, if they have a topic, as they come."""

    def __init__(self, settings: JobSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, transcripts: Any) -> Any:
        settings = self._settings
        published = {STEPS: transcripts[STEPS] | "PublishSessions" >> PublishSessions(settings)}
        if settings.topics.partials is not None:
            partials = WriteToKafka(settings.kafka, settings.topics.partials, await_acks=False)
            published[PARTIALS] = transcripts[PARTIALS] | "PublishPartials" >> partials
        return published
