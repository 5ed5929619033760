"""`medstream local up|status|create-topics|cancel|down`: the local stack from the command line.

Progress goes to standard error, results to standard output, so `--json` can be piped. Servers started by `up`
outlive the command; `down` ends them, after a check that the recorded processes are still the same.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deploy.local.errors import LocalStackError, NotRunning
from deploy.local.stack import LocalStack, ServerStatus, default_directory

app = typer.Typer(
    help="Kafka, Flink and a Transcribe endpoint on this machine, without Docker or a cloud account.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder of the stack.", show_default="medstream/local in the state folder"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output.")]


@app.command()
def up(
    directory: Directory = None,
    as_json: AsJson = False,
    recogniser: Annotated[str, typer.Option(help="Recogniser of the endpoint.")] = "pocketsphinx",
    flink_job_server_jar: Annotated[
        Path | None, typer.Option(help="Beam job server jar to use instead of the pinned one.", exists=True)
    ] = None,
    schema_registry: Annotated[
        bool, typer.Option("--schema-registry", help="With a schema registry (Apicurio, 159 MB).")
    ] = False,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster", help="Flink as a cluster (a JobManager, two TaskManagers) instead of embedded."
        ),
    ] = False,
) -> None:
    """Start what does not run yet, and print the addresses."""
    console = Console(stderr=True, highlight=False)
    with _clear_errors(console):
        stack = LocalStack(
            directory or default_directory(),
            recogniser=recogniser,
            flink_job_server_jar=flink_job_server_jar,
            schema_registry=schema_registry,
            cluster=cluster,
            detached=True,
            console=console,
        )
        stack.start(lambda name, text: console.print(f"{name:10} {text}"))
        _print(stack, as_json)


@app.command()
def status(directory: Directory = None, as_json: AsJson = False) -> None:
    """Show what runs and where; the exit code is 1 unless everything runs."""
    with _clear_errors(Console(stderr=True, highlight=False)):
        stack = LocalStack(directory or default_directory())
        servers = _print(stack, as_json)
    if not all(server.running for server in servers):
        raise typer.Exit(1)


@app.command()
def down(directory: Directory = None) -> None:
    """Stop every server; topics and logs stay in the folder."""
    console = Console(stderr=True, highlight=False)
    with _clear_errors(console):
        stack = LocalStack(directory or default_directory())
        stack.stop(lambda name, text: console.print(f"{name:10} {text}"))


@app.command()
def cancel(directory: Directory = None) -> None:
    """Cancel every job of this Flink; Beam's own cancel leaves an embedded Flink running."""
    console = Console(stderr=True, highlight=False)
    with _clear_errors(console):
        flink = LocalStack(directory or default_directory()).flink
        jobs = flink.cancel_jobs() if flink.adopt() else []
    for job in jobs:
        console.print(f"cancelled {job.name} ({job.id})")
    if not jobs:
        console.print("no job runs")


@app.command("create-topics")
def create_topics(
    topics: Annotated[list[str], typer.Argument(metavar="NAME[:PARTITIONS]...", help="Topics to create.")],
    directory: Directory = None,
) -> None:
    """Create topics on the stack's broker; those that exist stay as they are."""
    console = Console(stderr=True, highlight=False)
    with _clear_errors(console):
        broker = LocalStack(directory or default_directory()).kafka
        if not broker.adopt():
            raise NotRunning(broker.name)
        broker.create_topics(dict(_topic(text) for text in topics))
    console.print(f"created on {broker.bootstrap_servers}: {', '.join(topics)}", markup=False)


def _topic(text: str) -> tuple[str, int]:
    name, separator, partitions = text.partition(":")
    if separator and not (partitions.isdecimal() and int(partitions) > 0):
        raise typer.BadParameter(f"{text!r}: expected NAME or NAME:PARTITIONS, such as audio:4")
    return name, int(partitions or 1)


@contextmanager
def _clear_errors(console: Console) -> Iterator[None]:
    """One clear text instead of a traceback for everything that this package raises on purpose."""
    try:
        yield
    except LocalStackError as error:
        console.print(f"medstream local: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _print(stack: LocalStack, as_json: bool) -> list[ServerStatus]:
    servers = stack.status()
    if as_json:
        typer.echo(json.dumps(_document(stack, servers), indent=2))
    else:
        _print_table(stack, servers)
    return servers


def _document(stack: LocalStack, servers: list[ServerStatus]) -> dict[str, Any]:
    return {
        "directory": str(stack.directory),
        "servers": {
            server.name.lower(): {
                "running": server.running,
                "pid": server.pid,
                "log": str(server.log),
                **server.addresses,
            }
            for server in servers
        },
        "jobs": [asdict(job) for job in stack.flink.jobs()],
        "pipeline_options": stack.flink.pipeline_options(),
        "worker_logs": str(stack.flink.worker_log_directory),
    }


def _print_table(stack: LocalStack, servers: list[ServerStatus]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("Server", "State", "Process", "Log"):
        table.add_column(column, no_wrap=True, overflow="ignore")
    for server in servers:
        state = "running" if server.running else "stopped"
        table.add_row(server.name, state, str(server.pid or ""), str(server.log))
    console.print(table)
    running = [server for server in servers if server.running]
    for server in running:
        for setting, value in server.addresses.items():
            console.print(f"{setting}={value}", markup=False)
    for job in stack.flink.jobs():
        console.print(f"job {job.name}: {job.state} ({job.rest_url}/jobs/{job.id})", markup=False)
    if running:
        options = shlex.join(stack.flink.pipeline_options())
        directory = shlex.quote(str(stack.directory))
        console.print(f"\nBeam options of this Flink:\n{options}", markup=False)
        console.print(f"\nStop with: medstream local down --dir {directory}", markup=False)


if __name__ == "__main__":
    app()
