"""`medstream endpoint`: the local Transcribe-Medical-compatible endpoint from the command line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from deploy.local.transcribe.app import TranscribeApp
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, Keyring
from deploy.local.transcribe.errors import LocalTranscribeError
from deploy.local.transcribe.event_log import EventLog
from deploy.local.transcribe.faults import (
    FAULT_HELP,
    FIELD_HELP,
    FaultBook,
    FaultRule,
    load_faults,
    parse_fault_option,
)
from deploy.local.transcribe.recognisers.markers import MarkersRecogniser
from deploy.local.transcribe.recognisers.scripted import built_in_book, load_script_book, scripted_factory
from deploy.local.transcribe.recognition import InlineHost, RecognitionHost
from deploy.local.transcribe.service import ServiceLimits, TranscribeService
from deploy.local.transcribe.serving import ListenSettings, serve

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class LogLevel(StrEnum):
    """How much is logged on standard error; never audio or text, at any level."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class RecogniserName(StrEnum):
    """The recognisers that come with medstream."""

    SCRIPTED = "scripted"
    MARKERS = "markers"
    POCKETSPHINX = "pocketsphinx"


def _epilog() -> str:
    """The part of the help that explains faults; a paragraph each."""
    kinds = [f"kind={kind}: {text}." for kind, text in FAULT_HELP.items()]
    fields = [f"{names}: {text}." for names, text in FIELD_HELP.items()]
    intro = (
        "Faults go wrong on request: given by --fault (field=value, separated by commas) or --faults, or "
        "while the endpoint runs by POST to /_local/faults (a JSON rule or a list of them), listed by GET, "
        "forgotten by DELETE. A rule has a kind:"
    )
    return "\n\n".join((intro, *kinds, "and, where the default will not do, further fields:", *fields))


@app.callback(invoke_without_command=True, subcommand_metavar="", epilog=_epilog())
def endpoint(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 chooses a free one.")] = 8760,
    recogniser: Annotated[
        RecogniserName, typer.Option(help="What turns audio into words.")
    ] = RecogniserName.SCRIPTED,
    script: Annotated[Path | None, typer.Option(help="Script file of the scripted recogniser.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate; serves TLS with ALPN h2.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of --tls-cert.")] = None,
    lm: Annotated[Path | None, typer.Option(help="Language model of pocketsphinx (ARPA).")] = None,
    dictionary: Annotated[
        Path | None, typer.Option("--dict", help="Pronunciation dictionary of pocketsphinx.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Most recognitions of pocketsphinx at once.")] = 8,
    region: Annotated[str, typer.Option(help="Region that requests must be signed for.")] = "us-east-1",
    access_key_id: Annotated[str, typer.Option(help="The key that is known.")] = LOCAL_ACCESS_KEY_ID,
    secret_access_key: Annotated[
        str, typer.Option(help="Its secret.", show_default=False)
    ] = LOCAL_SECRET_ACCESS_KEY,
    max_streams: Annotated[int, typer.Option(min=1, help="Streams at once.")] = 25,
    idle_timeout_seconds: Annotated[float, typer.Option(min=0.1, help="Wait for new audio.")] = 15.0,
    max_stream_seconds: Annotated[float, typer.Option(min=0.1, help="Longest stream.")] = 14_400.0,
    one_stream_per_connection: Annotated[
        bool,
        typer.Option(
            "--one-stream-per-connection", help="Refuse a second stream on a connection while it has one."
        ),
    ] = False,
    clock_skew_seconds: Annotated[
        float, typer.Option(help="How far the endpoint's clock is ahead of this machine's.")
    ] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="A fault rule, such as kind=reset; see below. May be repeated."),
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="JSON file with fault rules.")] = None,
    event_log: Annotated[Path | None, typer.Option(help="File for one JSON line per event.")] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written with port and pid once the endpoint listens.")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="What is logged.")] = LogLevel.INFO,
) -> None:
    """Serve a local endpoint that speaks Amazon Transcribe Medical streaming, over HTTP/2 and WebSocket."""
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key belong together")
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    listen = ListenSettings(host, port, tls_cert, tls_key)
    keyring = Keyring(region, {access_key_id: secret_access_key})
    limits = ServiceLimits(max_streams, idle_timeout_seconds, max_stream_seconds, one_stream_per_connection)
    try:
        rules = [parse_fault_option(text) for text in fault or []] + (load_faults(faults) if faults else [])
        book = FaultBook([FaultRule(rule) for rule in rules])
        recognition = _recognition_host(recogniser, script, lm, dictionary, workers)
        service = TranscribeService(keyring, limits, book, now_ms=_clock(clock_skew_seconds))
        asgi = TranscribeApp(service, recognition, EventLog(event_log, time.time))
        asyncio.run(serve(asgi, listen, lambda bound: _announce(listen, bound, keyring, ready_file)))
    except LocalTranscribeError as error:
        typer.echo(f"medstream endpoint: {error}", err=True)
        raise typer.Exit(1) from None
    _leave()


def _clock(skew_seconds: float) -> Callable[[], int]:
    return lambda: time.time_ns() // 1_000_000 + round(1000 * skew_seconds)


def _leave() -> NoReturn:
    """Exit without finalising the interpreter.

    granian's threads cannot be joined, and one that asks for the interpreter while it is being finalised
    aborts the process (a panic in granian 2.8.7). Streams are broken off and files written by now.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _recognition_host(
    name: RecogniserName, script: Path | None, lm: Path | None, dictionary: Path | None, workers: int
) -> RecognitionHost:
    match name:
        case RecogniserName.SCRIPTED:
            return InlineHost(scripted_factory(load_script_book(script) if script else built_in_book()))
        case RecogniserName.MARKERS:
            return InlineHost(lambda request: MarkersRecogniser(request.sample_rate_hertz))
        case RecogniserName.POCKETSPHINX:
            # Imported here: the other recognisers need neither numpy nor PocketSphinx.
            from deploy.local.transcribe.recognisers.pocketsphinx_pool import PocketSphinxHost

            return PocketSphinxHost(lm, dictionary, workers)


def _announce(listen: ListenSettings, port: int, keyring: Keyring, ready_file: Path | None) -> None:
    """Say that the endpoint listens, and how a client finds it."""
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    url = f"{listen.scheme}://{host}:{port}"
    key_id, secret = next(iter(keyring.secrets.items()))
    shown = secret if secret == LOCAL_SECRET_ACCESS_KEY else "(as given)"
    typer.echo(
        f"Endpoint ready at {url} — use: --endpoint-url {url} --region {keyring.region} with "
        f"AWS_ACCESS_KEY_ID={key_id} AWS_SECRET_ACCESS_KEY={shown}"
    )
    if ready_file is not None:
        partial = ready_file.with_name(ready_file.name + ".part")
        partial.write_text(json.dumps({"port": port, "pid": os.getpid(), "url": url}), encoding="utf-8")
        partial.replace(ready_file)
