"""`medstream jobs list|savepoint|stop|drain|cancel`: operate the jobs of a Flink cluster.

Starting one is `medstream run`, also from a savepoint or checkpoint (`--resume-from`). Standard output has
the result alone (a table, a savepoint's path), so that scripts can use it; the rest goes to standard error.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.job_options import job_topics, kafka_config
from pipeline.cli.like_run import LikeRun, run_options
from pipeline.cli.progress_bars import progress_bar
from pipeline.cli.settings_file import ConfigFile
from pipeline.errors import PipelineError, SettingsError
from pipeline.jobs import job_control
from pipeline.jobs.flink_rest import Checkpoints, FlinkJob, all_jobs, checkpoints
from pipeline.settings import JobSettings
from pipeline.worker.service import ServiceSettings

app = typer.Typer(
    help="Jobs of a Flink cluster: list them, take savepoints, stop, drain or cancel one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FlinkUrl: TypeAlias = Annotated[
    str, typer.Option(help="The JobManager's REST server, http://host:8081.", envvar="MEDSTREAM_FLINK_URL")
]
OptionalFlinkUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="The JobManager's REST server: the job is ended there, once it is drained. Without, end it "
        "yourself.",
        envvar="MEDSTREAM_FLINK_URL",
    ),
]
WhichJob: TypeAlias = Annotated[
    str | None, typer.Option("--job", help="Id or name; not needed where one job runs.")
]
SavepointDirectory: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Where the savepoint goes, a URI that every TaskManager can write to; Flink's "
        "state.savepoints.dir without.",
        envvar="MEDSTREAM_SAVEPOINT_DIRECTORY",
    ),
]
TimeoutSeconds: TypeAlias = Annotated[float, typer.Option(help="How long to wait for each step.", min=1)]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_TIMEOUT_SECONDS = 120.0


@app.command("list")
def list_(
    flink_url: FlinkUrl,
    all_: Annotated[bool, typer.Option("--all", help="Ended jobs too.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show jobs, since when they run, and their newest checkpoint."""
    found = [(job, _checkpoints_of(job)) for job in all_jobs(flink_url) if all_ or not job.ended]
    if as_json:
        typer.echo(json.dumps([_record(*pair) for pair in found], indent=2))
        return
    table = Table("job", "name", "state", "since", "checkpoints", "newest", "where")
    for job, state in found:
        table.add_row(*_row(job, state))
    Console().print(table if found else "no job runs")


@app.command()
def savepoint(
    flink_url: FlinkUrl,
    job: WhichJob = None,
    savepoint_directory: SavepointDirectory = None,
    timeout_seconds: TimeoutSeconds = _TIMEOUT_SECONDS,
    config: ConfigFile = None,
) -> None:
    """Take a savepoint of a job that goes on; prints its path."""
    found = job_control.find_job(flink_url, job)
    typer.echo(job_control.take_savepoint(found, savepoint_directory, timeout_seconds))


@app.command()
def stop(
    flink_url: FlinkUrl,
    job: WhichJob = None,
    savepoint_directory: SavepointDirectory = None,
    timeout_seconds: TimeoutSeconds = _TIMEOUT_SECONDS,
    config: ConfigFile = None,
) -> None:
    """End a job with a savepoint, from which `medstream run --resume-from` goes on; prints its path.

    Streams are cut: what they had not said comes with the resumed job.
    """
    found = job_control.find_job(flink_url, job)
    typer.echo(job_control.stop(found, savepoint_directory, timeout_seconds))


@app.command()
def cancel(
    flink_url: FlinkUrl,
    job: WhichJob = None,
    timeout_seconds: TimeoutSeconds = _TIMEOUT_SECONDS,
    config: ConfigFile = None,
) -> None:
    """End a job as it is. Nothing is lost: a new one goes on from the committed offsets and its progress."""
    found = job_control.find_job(flink_url, job)
    job_control.cancel_and_wait(found, timeout_seconds)
    typer.echo(f"medstream: cancelled {found.name} ({found.id})", err=True)


@app.command(cls=LikeRun)
def drain(
    ctx: typer.Context,
    flink_url: OptionalFlinkUrl = None,
    job: WhichJob = None,
    savepoint_directory: SavepointDirectory = None,
    timeout_seconds: TimeoutSeconds = _TIMEOUT_SECONDS,
) -> None:
    """End a job in order: no more audio is read, streams end with their last finals, offsets are committed.

    Takes the job's own options (--config …): the topics, the group. Unfinished sessions go on with the next
    job.
    """
    settings = _settings(run_options(ctx))
    found = None if flink_url is None else job_control.find_job(flink_url, job)
    with progress_bar("draining", 1.0) as show:
        left = job_control.leave_partitions(settings, timeout_seconds, show)
        typer.echo(f"medstream: {left} partitions are left, offsets committed", err=True)
        if found is not None:
            show(1.0, "the job ends")
            job_control.end_drained(found, savepoint_directory, timeout_seconds)
            typer.echo(f"medstream: {found.name} ({found.id}) has ended", err=True)
    unfinished = job_control.unfinished_count(settings)
    typer.echo(f"medstream: {unfinished} sessions go on with the next job", err=True)
    if found is None:
        typer.echo("medstream: end the job where it runs (without --flink-url nobody does)", err=True)


def _settings(options: dict[str, Any]) -> JobSettings:
    for name in ("bootstrap_servers", "input_topic", "output_topic"):
        if not options[name]:
            raise SettingsError(f"--{name.replace('_', '-')}", "is needed, as the job has it")
    service = ServiceSettings(region="")  # nobody is transcribed here
    return JobSettings(
        kafka=kafka_config(options), topics=job_topics(options), service=service, group_id=options["group_id"]
    )


def _checkpoints_of(job: FlinkJob) -> Checkpoints | None:
    try:
        return checkpoints(job)
    except PipelineError:  # it has just gone
        return None


def _record(job: FlinkJob, state: Checkpoints | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "started_at_ms": job.started_at_ms,
        "ended_at_ms": job.ended_at_ms,
        "checkpoints_completed": state and state.completed,
        "checkpoints_failed": state and state.failed,
        "checkpoint_path": state and state.latest_path,
        "checkpoint_at_ms": state and state.latest_at_ms,
        "checkpoint_bytes": state and state.latest_bytes,
        "restored_path": state and state.restored_path,
    }


def _row(job: FlinkJob, state: Checkpoints | None) -> tuple[str, ...]:
    since = datetime.fromtimestamp(job.started_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if state is None:
        return job.id, job.name, job.state, since, "", "", ""
    counts = f"{state.completed} done, {state.failed} failed"
    age = "" if state.latest_at_ms is None else f"{time.time() - state.latest_at_ms / 1000:.0f} s ago"
    return job.id, job.name, job.state, since, counts, age, state.latest_path or ""
