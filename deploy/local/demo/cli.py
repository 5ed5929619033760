"""`medstream demo`: recorded speech becomes finals in Kafka, through the real stack, on this machine.

Exit code 0 when every session's finals came out of the topic, 1 when something went wrong, 130 after Ctrl-C.
A first signal ends the demo in order, servers included; later ones are ignored while that goes on, for it
takes a few seconds at most. Even a kill -9 leaves no server behind, unless they were to be kept (see
`processes.py`).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.local.errors import LocalStackError
from deploy.local.interruption import Interrupted, signals_raise

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def demo(
    speed: Annotated[float, typer.Option(min=0.1, max=4.0, help="Playback speed; 1 is real time.")] = 1.0,
    sessions: Annotated[
        int | None,
        typer.Option(min=1, max=24, help="Sessions at once.", show_default="one for each recording"),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack up and say how to reach it.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines instead of a live table.")] = False,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster",
            help="On a Flink cluster (a JobManager, two TaskManagers) instead of an embedded one.",
        ),
    ] = False,
) -> None:
    """Play recorded dictations through Kafka, Flink and a local Transcribe endpoint; check the finals."""
    try:
        with signals_raise():
            problems = _demo(speed, sessions, keep=keep, plain=plain, cluster=cluster)
    except Interrupted as interrupted:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(128 + interrupted.signal_number) from None
    for problem in problems:
        typer.secho(f"medstream demo: {problem}", fg="red", err=True)
    raise typer.Exit(1 if problems else 0)


def _demo(speed: float, sessions: int | None, *, keep: bool, plain: bool, cluster: bool) -> list[str]:
    """Runs the demo in a folder of its own, which stays when something went wrong; returns what did."""
    from kafka.errors import KafkaError
    from rich.console import Console

    from deploy.local.demo.screen import Screen
    from deploy.local.demo.story import DemoOptions, tell
    from deploy.local.recordings import RecordingError
    from deploy.local.stack import default_directory

    directory = default_directory() if keep else Path(tempfile.mkdtemp(prefix="medstream-demo-"))
    disposable = False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _log_to(directory / "demo.log")
        problems = tell(
            DemoOptions(speed, sessions, keep, directory, cluster), Screen(Console(), plain=plain)
        )
        disposable = not problems
    except Interrupted:
        disposable = True
        raise
    except (LocalStackError, RecordingError) as error:
        problems = [str(error)]
    except KafkaError as error:
        problems = [f"Kafka failed the demo: {type(error).__name__}: {error}"]
    finally:
        if disposable and not keep:
            shutil.rmtree(directory, ignore_errors=True)
    return [*problems, f"Logs are in {directory}."] if problems else []


def _log_to(path: Path) -> None:
    """Log messages of libraries go to a file: on the screen they would tear the table."""
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
