"""A test run from its options to what was heard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from deploy.local.interruption import Interrupted
from deploy.local.testing import example
from deploy.local.testing.errors import SessionsUnfinished
from deploy.local.testing.plan import (
    RunOptions,
    RunTopics,
    Servers,
    run_settings,
    servers_to_bring,
    timeout_seconds,
)
from deploy.local.testing.recorded import Recorded, read_recorded
from deploy.local.testing.run import Heard, letters_line, run_job, run_topics, send_recording
from deploy.local.testing.servers import RunServers
from pipeline.cli.progress_bars import progress_bar
from pipeline.settings import JobSettings


def hear(options: RunOptions, recording: Path | None, directory: Path, console: Console) -> Heard:
    """Transcribe `recording`, the example without one; what goes on is told on `console`.

    `directory` gets logs and what the servers keep. Everything that cannot work is found before a server is
    started, as far as it can be. Raises PipelineError, KafkaConnectorError, TranscribeError, LocalStackError.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    wanted, topics = servers_to_bring(options), RunTopics.new()
    servers = RunServers(
        directory,
        wanted,
        recogniser=options.recogniser,
        endpoint_options=options.endpoint_options,
        console=console,
    )
    settings = run_settings(
        options,
        topics,
        wanted,
        bootstrap_servers=(
            options.job["bootstrap_servers"] if servers.kafka is None else servers.kafka.bootstrap_servers
        ),
        endpoint_url=None if servers.endpoint is None else f"http://127.0.0.1:{servers.endpoint.port}",
    )
    if recording is None:
        recording = directory / "example.avro"
        example.make_recording(recording)
    recorded = read_recorded(recording, settings.serdes)
    seconds = options.timeout_seconds
    if seconds is None:
        seconds = timeout_seconds(recorded, settings)
    try:
        say("; ".join(_announced(servers, wanted, settings)))
        servers.start(lambda name, text: say(f"  {name:9} {text}"))
        settings = servers.settled(settings)
        # A broker of the run's own ends with all its topics.
        delete = not wanted.kafka and not options.keep_topics
        with run_topics(settings.kafka, topics, recorded.partitions, delete=delete, say=say):
            send_recording(settings.kafka, recording, topics.audio, recorded.partitions)
            say(_sent(recorded))
            with progress_bar("transcribing", len(recorded.sessions)) as show:
                heard = run_job(
                    settings,
                    recorded,
                    servers,
                    options.beam_flags,
                    directory=directory,
                    seconds=seconds,
                    show=show,
                )
    except (SessionsUnfinished, Interrupted):
        if not wanted.flink:
            say("the job server was asked to cancel the job; on a local stack: medstream local cancel")
        raise
    finally:
        servers.stop()
    if options.keep_topics and not wanted.kafka:
        say(f"topics kept: {', '.join(topics.every)}")
    if (line := letters_line(heard.dead_letters)) is not None:
        say(line)
    return heard


def _sent(recorded: Recorded) -> str:
    sessions = f"{recorded.records} records of {len(recorded.sessions)} sessions"
    unended = f" ({len(recorded.unended)} without an end mark)" if recorded.unended else ""
    return f"{sessions}{unended} sent; the job transcribes them …"


def _announced(servers: RunServers, wanted: Servers, settings: JobSettings) -> Iterator[str]:
    """What is started, and what is given: nobody should use a cluster without knowing."""
    if not wanted.kafka:
        yield f"on Kafka at {settings.kafka.bootstrap_servers}"
    if not wanted.endpoint:
        yield f"transcription by {settings.service.endpoint().host}"
    if servers.all:
        yield f"starting {', '.join(server.name for server in servers.all)} …"
