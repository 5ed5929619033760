"""The data path as Beam has it: which steps there are, and what is left out without a topic."""

from __future__ import annotations

import apache_beam as beam
import pytest

from connectors.kafka import source
from connectors.kafka.client import ClientConfig
from connectors.kafka.source_options import SourceOptions
from pipeline import graph
from pipeline.settings import JobSettings, Topics
from pipeline.worker.service import ServiceSettings


def steps(topics: Topics) -> set[str]:
    """Full labels of every transform in the job's graph."""
    pipeline = beam.Pipeline()
    graph.build(
        pipeline, JobSettings(ClientConfig.build("127.0.0.1:1"), topics, ServiceSettings("us-east-1"))
    )
    labels = set()

    class Visitor(beam.pipeline.PipelineVisitor):  # type: ignore[misc]
        def enter_composite_transform(self, node: beam.pipeline.AppliedPTransform) -> None:
            labels.add(node.full_label)

    pipeline.visit(Visitor())
    return labels


def test_the_source_reads_as_often_as_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[SourceOptions] = []

    class Noted(SourceOptions):
        def __post_init__(self) -> None:
            super().__post_init__()
            options.append(self)

    monkeypatch.setattr(source, "SourceOptions", Noted)
    settings = JobSettings(
        ClientConfig.build("127.0.0.1:1"),
        Topics("audio", "finals", "letters"),
        ServiceSettings("us-east-1"),
        read_interval_ms=250,
    )
    graph.build(beam.Pipeline(), settings)
    assert [found.poll_timeout_ms for found in options] == [250]


def test_the_path_is_read_transcribe_publish_with_dead_letters_beside_it() -> None:
    found = steps(Topics("audio", "finals", "letters"))
    top = {label for label in found if label and "/" not in label}
    assert top >= {"ReadAudioChunks", "TranscribeSessions", "PublishTranscripts", "PublishDeadLetters"}


@pytest.mark.parametrize("partials", [None, "partials"])
def test_an_output_without_a_topic_is_left_out(partials: str | None) -> None:
    found = steps(Topics("audio", "finals", "letters", partials=partials))
    assert "PublishTranscripts/PublishSessions" in found
    assert ("PublishTranscripts/PublishPartials" in found) == (partials is not None)
