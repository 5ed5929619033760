"""What `medstream demo` does, step by step, with what it says about each.

Apart from the command itself so that `medstream --help` and a Ctrl-C right after the start do not wait for
the imports.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import schemas
from deploy.local.demo import finals_consumer
from deploy.local.demo.latency import summarise
from deploy.local.demo.playback import Session, plan_sessions, total_seconds
from deploy.local.demo.run import Result, Run
from deploy.local.demo.screen import Screen
from deploy.local.demo.servers import DemoServers
from deploy.local.demo.table import latency_line
from deploy.local.demo.topics import DemoTopics
from deploy.local.demo.wer import NO_ERRORS
from deploy.local.recordings import count_recordings, load_recordings

_LATE_SECONDS = 0.5
"""When a chunk leaves later than this, the machine is too busy for the latency figures to mean much."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the command; `sessions` None is one for each recording."""

    speed: float
    sessions: int | None
    keep: bool
    directory: Path
    cluster: bool = False


def tell(options: DemoOptions, screen: Screen) -> list[str]:
    """Runs the demo; returns sentences about what is wrong with its results, none when all is well.

    Raises LocalStackError when the demo could not run to its end. Whatever happens, what it started is
    stopped.
    """
    run_id = secrets.token_hex(2)
    count = options.sessions or count_recordings()
    servers = DemoServers(
        *(options.directory, DemoTopics.of_run(run_id), count),
        keep=options.keep,
        cluster=options.cluster,
        console=screen.console,
    )
    succeeded = False
    try:
        sessions = _start_servers(servers, count, run_id, screen)
        result = _run(Run(servers, sessions, options.speed), servers, sessions, screen)
        _say_result(result, options.speed, screen)
        succeeded = not result.problems
    finally:
        servers.stop(succeeded=succeeded)
    if succeeded:
        for line in _where_next(servers, keep=options.keep):
            screen.say(line)
    return list(result.problems)


def _start_servers(servers: DemoServers, count: int, run_id: str, screen: Screen) -> list[Session]:
    """Starts them; decodes the recordings meanwhile and returns the sessions to play."""
    screen.say("Starting Kafka, Flink and a local Transcribe endpoint (all on this machine) ...")
    with ThreadPoolExecutor(1, thread_name_prefix="demo-recordings") as pool:
        recordings = pool.submit(load_recordings)
        servers.start(lambda name, text: screen.say(f"  {name:9} {text}"))
        return plan_sessions(recordings.result(), count, run_id)


def _run(run: Run, servers: DemoServers, sessions: Sequence[Session], screen: Screen) -> Result:
    screen.say("Submitting the pipeline to Flink and sending short warm-up sessions through it ...")
    with run.watching():
        run.send_warm_up()
        seconds = servers.start_pipeline(servers.topics.warm_up_ids)
        screen.say(f"  {'pipeline':9} ready after {seconds:.1f} s")
        pace = "in real time" if run.speed == 1 else f"at {run.speed:g} times real time"
        duration = total_seconds(sessions, run.speed)
        screen.say(f"Playing {len(sessions)} sessions at once, {pace}, for {duration:.0f} s:")
        run.play_sessions(screen)
    return run.read_back()


def _say_result(result: Result, speed: float, screen: Screen) -> None:
    screen.outcome(result.outcomes)
    total = sum((outcome.word_errors for outcome in result.outcomes), NO_ERRORS)
    finals = sum(len(outcome.finals) for outcome in result.outcomes)
    screen.say(
        f"{len(result.outcomes)} sessions, {finals} finals, word error rate {total.rate:.1%} "
        "(synthetic speech, PocketSphinx with a language model of the domain)."
    )
    screen.say(latency_line(summarise(result.added_latencies_seconds)))
    if result.late_seconds > _LATE_SECONDS:
        screen.say(
            f"This machine was busy: audio left up to {result.late_seconds:.1f} s late. "
            "Latency figures mean little then; try fewer --sessions."
        )
    if speed > 1:
        screen.say(
            "At more than real time the latency figures include queueing that live audio does not have."
        )


def _where_next(servers: DemoServers, *, keep: bool) -> Iterator[str]:
    page = _shortest(Path(finals_consumer.__file__))
    schema = _shortest(schemas.path("final_transcript"))
    yield ""
    yield "Where to look next:"
    yield f"  a consumer for your application, on one page   {page}"
    yield f"  the schema of what it reads                    {schema}"
    if not keep:
        yield "  keep the stack up after the demo               medstream demo --keep"
        yield "  all options of the pipeline                    medstream run --help"
        return
    topics = servers.topics
    yield ""
    yield "The stack is still up, and the job still runs:"
    yield f"  Kafka             {servers.bootstrap_servers}"
    yield f"  topics            {topics.audio} (in), {topics.finals}, {topics.partials},"
    yield f"                    {topics.sessions}, {topics.dead_letters}"
    yield f"  endpoint          {servers.stack.endpoint.url}"
    yield f"  Flink job server  {servers.stack.flink.job_endpoint}"
    yield f"  logs              {servers.directory}"
    yield (
        f"  read the finals   python {shlex.quote(page)} --bootstrap-servers {servers.bootstrap_servers} "
        f"--topic {topics.finals} --schema {shlex.quote(schema)}"
    )
    yield (
        f"  live captions     medstream watch --bootstrap-servers {servers.bootstrap_servers} "
        f"--output-topic {topics.finals} --partials-topic {topics.partials} "
        f"--sessions-topic {topics.sessions} --show-text"
    )
    yield "  status, stop      medstream local status, medstream local down"


def _shortest(path: Path) -> str:
    """As seen from the working directory, where it lies below that."""
    folder = Path.cwd()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
