"""How the demo calls `medstream run`, and when it takes the pipeline for ready."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.local.demo.board import RecordSeen
from deploy.local.demo.pipeline_process import PipelineProcess, run_arguments, warm_up_record
from deploy.local.demo.topics import DemoTopics
from deploy.local.errors import ServerFailed
from deploy.local.processes import ChildProcess
from schemas.serde import SingleObjectSerde

TOPICS = DemoTopics.of_run("ab12")


class ScriptedPipeline(PipelineProcess):
    """The process is a Python one-liner instead of `medstream run`."""

    ready_timeout_seconds = 10.0

    def __init__(self, directory: Path, program: str) -> None:
        super().__init__(directory, [], {}, warm_up_ids=["warm-up-1", "warm-up-2"])
        self._program = program

    def _launch(self) -> ChildProcess:
        return ChildProcess("pipeline", [sys.executable, "-c", self._program], log_path=self.log_path)


def ended(session_id: str) -> RecordSeen:
    return RecordSeen("session_ended", 0.0, {"session_id": session_id, "segments": 0})


def test_options_name_every_topic_and_end_with_those_of_beam() -> None:
    arguments = run_arguments("b:1", TOPICS, "http://e:2", "us-east-1", ["--streaming"])
    options = dict(zip(arguments[:-1:2], arguments[1:-1:2], strict=True))
    assert options["--input-topic"] == TOPICS.audio
    assert options["--output-topic"] == TOPICS.finals
    assert {options[name] for name in options if name.endswith("-topic")} == set(TOPICS.partitions)
    assert options["--endpoint-url"] == "http://e:2"
    assert arguments[-1] == "--streaming"


def test_runs_do_not_share_topics_or_consumer_groups() -> None:
    other = DemoTopics.of_run("cd34")
    assert not set(TOPICS.partitions) & set(other.partitions)
    assert not set(TOPICS.warm_up_ids) & set(other.warm_up_ids)
    assert set(TOPICS.output_schemas) == set(TOPICS.partitions) - {TOPICS.audio}


def test_the_warm_up_is_a_whole_session_in_one_record() -> None:
    serde = SingleObjectSerde("audio_chunk")
    record = serde.decode(serde.encode(warm_up_record("warm-up-1", 0)))
    assert record["sequence"] == 0
    assert record["end_of_session"]
    assert len(record["payload"]) == record["sample_rate_hertz"]  # half a second, two bytes a sample


def test_ready_when_all_warm_up_sessions_have_ended(tmp_path: Path) -> None:
    pipeline = ScriptedPipeline(tmp_path, "import time; time.sleep(60)")
    for session_id in ("another", "warm-up-2", "warm-up-2"):
        pipeline.observe(ended(session_id))
    assert not pipeline._is_ready()
    pipeline.observe(ended("warm-up-1"))
    with pipeline:
        assert pipeline.is_running()
    assert not pipeline.is_running()


def test_a_pipeline_that_refuses_its_settings_shows_what_it_said(tmp_path: Path) -> None:
    pipeline = ScriptedPipeline(tmp_path, "import sys; sys.exit('medstream: no such topic')")
    with pytest.raises(ServerFailed, match="no such topic"):
        pipeline.start()
