"""`medstream watch`: live captions of all sessions, in the terminal, as lines, or on a page (`--web`).

Transcripts are patient data: without `--show-text` there are counts in place of words, as in `consume`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from connectors.kafka.client import ClientConfig
from pipeline.cli.exit_codes import INTERRUPTED
from pipeline.cli.interrupts import interruptible
from pipeline.cli.kafka_options import CommandConfig, KafkaProperty, properties_of
from pipeline.cli.registry_options import SchemaRegistryConfig, SchemaRegistryUrl, serde_settings
from pipeline.cli.service_options import Insecure
from pipeline.cli.settings_file import ConfigFile
from pipeline.cli.topic_options import (
    BootstrapServers,
    OnUnreadable,
    OutputTopic,
    PartialsTopic,
    SessionsTopic,
    StartFrom,
    Until,
)
from pipeline.consuming import FAIL, SKIP
from pipeline.errors import SettingsError
from pipeline.watch.binding import WebSettings
from pipeline.watch.board import IDLE_AFTER_SECONDS, LOW_CONFIDENCE, Board, BoardLimits
from pipeline.watch.reading import OutputReader
from pipeline.watch.shared import SharedBoard
from pipeline.watch.table import summary
from pipeline.watch.viewers import EventPrinter, TerminalTable, Unwatched, follow

if TYPE_CHECKING:
    from pipeline.watch.serving import PageServer  # of an extra, which need not be installed

app = typer.Typer()
_PANEL = "The page of --web"


def _web(text: str, environment: str, **more: Any) -> Any:
    return typer.Option(help=text, envvar=f"MEDSTREAM_WEB_{environment}", rich_help_panel=_PANEL, **more)


@app.command(
    epilog="Exit codes: 0 all is well; 1 a setting or Kafka is wrong; 2 wrong usage; 130 interrupted."
)
def watch(
    bootstrap_servers: BootstrapServers,
    output_topic: OutputTopic,
    partials_topic: PartialsTopic = None,
    sessions_topic: SessionsTopic = None,
    start_from: StartFrom = "latest",
    until: Until = None,
    session: Annotated[
        list[str] | None, typer.Option(help="Only this session; may be repeated. All without.")
    ] = None,
    show_text: Annotated[
        bool,
        typer.Option(
            "--show-text",
            help="Show what is said: patient data. Counts without.",
            envvar="MEDSTREAM_SHOW_TEXT",
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for each event, partials included.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines on a terminal, too.")] = False,
    low_confidence: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Words below are marked as unsure.", envvar="MEDSTREAM_LOW_CONFIDENCE"
        ),
    ] = LOW_CONFIDENCE,
    idle_after_seconds: Annotated[
        float,
        typer.Option(
            min=0.1, help="A session without news for so long is idle.", envvar="MEDSTREAM_IDLE_AFTER_SECONDS"
        ),
    ] = IDLE_AFTER_SECONDS,
    web: Annotated[
        bool, typer.Option("--web", help="Serve one page, for this machine; prints its address.")
    ] = False,
    web_host: Annotated[
        str, _web("Address to listen on; another machine's browsers need TLS or --insecure.", "HOST")
    ] = "127.0.0.1",
    web_port: Annotated[int, _web("Port; 0: a free one.", "PORT", min=0, max=65_535)] = 0,
    web_name: Annotated[
        list[str] | None, _web("Name under which browsers ask for the page, too; may be repeated.", "NAME")
    ] = None,
    web_certificate: Annotated[
        Path | None, _web("PEM file of the page's certificate and its chain: https.", "CERTIFICATE")
    ] = None,
    web_key: Annotated[Path | None, _web("PEM file of its private key.", "KEY")] = None,
    on_unreadable: OnUnreadable = SKIP,
    command_config: CommandConfig = None,
    kafka_property: KafkaProperty = None,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    insecure: Insecure = False,
    _config: ConfigFile = None,
) -> None:
    """Watch sessions as they are transcribed: state, captions, unsure words, and how far behind they are.

    A table on a terminal, the most recently active sessions first; lines elsewhere.
    """
    if on_unreadable not in (FAIL, SKIP):
        raise SettingsError("--on-unreadable", f"{on_unreadable!r} is neither {FAIL} nor {SKIP}")
    if web and (json or plain):
        raise SettingsError("--web", "there are no lines beside the page: leave out --json and --plain")
    kafka = ClientConfig.build(
        bootstrap_servers, command_config, properties_of(kafka_property), insecure=insecure
    )
    wanted = frozenset(session or ())
    board = Board(
        time.time_ns() // 1_000_000,
        BoardLimits(idle_after_seconds=idle_after_seconds, low_confidence=low_confidence),
    )
    page = WebSettings(web_host, web_port, tuple(web_name or ()), web_certificate, web_key, insecure)
    server = _page_server(board, page, show_text=show_text) if web else None
    reader = OutputReader(
        kafka,
        output_topic,
        partials_topic=partials_topic,
        sessions_topic=sessions_topic,
        start=start_from,
        until=until,
        serdes=serde_settings(schema_registry_url, schema_registry_config, insecure=insecure),
        skip_unreadable=on_unreadable == SKIP,
    )
    chosen = partial(_is_wanted, wanted)
    with reader, interruptible() as asked:
        try:
            if server is not None:
                _serve(server, reader, chosen, show_text=show_text)
            else:
                console = Console()
                lines = json or plain or not console.is_terminal
                viewer = EventPrinter(json=json, show_text=show_text, low_below=low_confidence)
                table = TerminalTable(board, console, show_text=show_text)
                with nullcontext(viewer) if lines else table as shown:
                    follow(reader, board, shown, wanted=chosen, stopped=asked.is_set)
        finally:
            skipped = f", {reader.unreadable} unreadable records left out" if reader.unreadable else ""
            typer.echo(f"medstream: {summary(board, 0)}{skipped}", err=True)
    if asked.is_set():
        raise typer.Exit(INTERRUPTED)


def _is_wanted(wanted: frozenset[str], session_id: str) -> bool:
    return not wanted or session_id in wanted


def _page_server(board: Board, page: WebSettings, *, show_text: bool) -> PageServer:
    """Bound, so that what is wrong with it is told before Kafka is asked."""
    try:
        from pipeline.watch.serving import PageServer
    except ModuleNotFoundError as error:
        raise SettingsError("--web", f"needs the package {error.name!r}: install medstream[web]") from None
    return PageServer(SharedBoard(board), page, show_text=show_text)


def _serve(
    server: PageServer, reader: OutputReader, wanted: Callable[[str], bool], *, show_text: bool
) -> None:
    typer.echo(server.url)
    if not show_text:
        typer.echo("medstream: the page gets counts in place of words; --show-text sends them", err=True)
    server.run(lambda stopped: follow(reader, server.board, Unwatched(), wanted=wanted, stopped=stopped))
