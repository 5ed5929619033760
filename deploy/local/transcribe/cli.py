"""`medstream endpoint`: the local Transcribe-Medical-compatible endpoint from the command line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from deploy.local.transcribe.app import TranscribeApp
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, Keyring
from deploy.local.transcribe.certificates import ensure_certificate
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
from deploy.local.transcribe.recognisers.plugin import (
    DEFAULT_WORKERS,
    describe_recognisers,
    open_recogniser,
    parse_options,
)
from deploy.local.transcribe.service import ServiceLimits, TranscribeService
from deploy.local.transcribe.serving import ListenSettings, serve

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class LogLevel(StrEnum):
    """How much is logged on standard error; never audio or text, at any level."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class _EndpointGroup(TyperGroup):
    """Its help ends with faults, and the recognisers that are installed, which are looked up only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        lines = ["Recognisers:", *describe_recognisers(), *_fault_help()]
        self.epilog = "\n\n".join(line.replace("[", r"\[") for line in lines)  # paragraphs of rich markup
        super().format_help(ctx, formatter)


def _fault_help() -> list[str]:
    """What can go wrong on request, a paragraph each."""
    intro = (
        "Faults go wrong on request: given by --fault (field=value, separated by commas) or --faults, or "
        "while the endpoint runs by POST to /_local/faults (a JSON rule or a list of them), listed by GET, "
        "forgotten by DELETE. A rule has a kind:"
    )
    kinds = [f"kind={kind}: {text}." for kind, text in FAULT_HELP.items()]
    fields = [f"{names}: {text}." for names, text in FIELD_HELP.items()]
    return [intro, *kinds, "and, where the default will not do, further fields:", *fields]


@app.callback(cls=_EndpointGroup, invoke_without_command=True, subcommand_metavar="")
def endpoint(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 chooses a free one.")] = 8760,
    recogniser: Annotated[
        str, typer.Option(metavar="NAME", help="What turns audio into words; listed below.")
    ] = "scripted",
    recogniser_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the recogniser; repeatable.")
    ] = None,
    script: Annotated[Path | None, typer.Option(help="Script file of the scripted recogniser.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate; serves TLS with ALPN h2.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of --tls-cert.")] = None,
    generate_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Serve TLS with a certificate authority made in this directory; clients trust its ca.pem.",
        ),
    ] = None,
    tls_name: Annotated[
        list[str] | None,
        typer.Option(help="Further host name or address of --generate-ca's certificate; repeatable."),
    ] = None,
    lm: Annotated[Path | None, typer.Option(help="Language model of pocketsphinx (ARPA).")] = None,
    dictionary: Annotated[
        Path | None, typer.Option("--dict", help="Pronunciation dictionary of pocketsphinx.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model directory of vosk or sherpa-onnx.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help=f"Most recognitions of speech at once (if not given, {DEFAULT_WORKERS})."),
    ] = None,
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
    _check_tls_options(tls_cert, tls_key, generate_ca, tls_name)
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keyring = Keyring(region, {access_key_id: secret_access_key})
    limits = ServiceLimits(max_streams, idle_timeout_seconds, max_stream_seconds, one_stream_per_connection)
    try:
        rules = [parse_fault_option(text) for text in fault or []] + (load_faults(faults) if faults else [])
        own = ensure_certificate(generate_ca, [host, *(tls_name or ())], _now()) if generate_ca else None
        ca_file = own.ca_file if own else None
        listen = ListenSettings(host, port, own.certificate if own else tls_cert, own.key if own else tls_key)
        book = FaultBook([FaultRule(rule) for rule in rules])
        named = {"script": script, "lm": lm, "dict": dictionary, "model": model, "workers": workers}
        given = {name: str(value) for name, value in named.items() if value is not None}
        recognition = open_recogniser(recogniser, parse_options(recogniser_option or ()) | given)
        service = TranscribeService(keyring, limits, book, now_ms=_clock(clock_skew_seconds))
        asgi = TranscribeApp(service, recognition, EventLog(event_log, time.time))
        asyncio.run(serve(asgi, listen, lambda bound: _announce(listen, bound, keyring, ca_file, ready_file)))
    except LocalTranscribeError as error:
        typer.echo(f"medstream endpoint: {error}", err=True)
        raise typer.Exit(1) from None
    _leave()


def _clock(skew_seconds: float) -> Callable[[], int]:
    return lambda: time.time_ns() // 1_000_000 + round(1000 * skew_seconds)


def _check_tls_options(
    tls_cert: Path | None, tls_key: Path | None, generate_ca: Path | None, tls_name: list[str] | None
) -> None:
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key belong together")
    if generate_ca and tls_cert:
        raise typer.BadParameter(
            "--generate-ca makes a certificate and --tls-cert/--tls-key name one; give one or the other"
        )
    if tls_name and not generate_ca:
        raise typer.BadParameter("--tls-name belongs to --generate-ca, which makes the certificate")


def _leave() -> NoReturn:
    """Exit without finalising the interpreter.

    granian's threads cannot be joined, and one that asks for the interpreter while it is being finalised
    aborts the process (a panic in granian 2.8.7). Streams are broken off and files written by now.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _now() -> datetime:
    return datetime.now(UTC)


def _announce(
    listen: ListenSettings, port: int, keyring: Keyring, ca_file: Path | None, ready_file: Path | None
) -> None:
    """Say that the endpoint listens, and how a client finds it."""
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    url = f"{listen.scheme}://{host}:{port}"
    key_id, secret = next(iter(keyring.secrets.items()))
    shown = secret if secret == LOCAL_SECRET_ACCESS_KEY else "(as given)"
    trust = f", trusting {ca_file} (SSL_CERT_FILE, or NODE_EXTRA_CA_CERTS for Node)" if ca_file else ""
    typer.echo(
        f"Endpoint ready at {url} — use: --endpoint-url {url} --region {keyring.region} with "
        f"AWS_ACCESS_KEY_ID={key_id} AWS_SECRET_ACCESS_KEY={shown}{trust}"
    )
    if ready_file is not None:
        partial = ready_file.with_name(ready_file.name + ".part")
        document = {
            "port": port,
            "pid": os.getpid(),
            "url": url,
            "ca_file": str(ca_file) if ca_file else None,
        }
        partial.write_text(json.dumps(document), encoding="utf-8")
        partial.replace(ready_file)
