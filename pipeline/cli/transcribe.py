"""`medstream transcribe`: one recording straight through the client, with the recovery of the pipeline.

The quickest test of an account, and a way to hear what the service makes of a file. No Kafka, no Beam.
"""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from connectors.transcribe.connecting import tls_context
from connectors.transcribe.credentials import check_region, load_credentials, resolve_region
from connectors.transcribe.endpoint import HTTP2, TRANSPORTS
from connectors.transcribe.errors import TranscribeError
from connectors.transcribe.http2_connection import Http2Connection
from pipeline.audio.audio_file import DeclaredFormat
from pipeline.audio.audio_pipe import open_audio
from pipeline.audio.playback import UNPACED, parse_speed
from pipeline.cli.exit_codes import EXIT_CODES, INTERRUPTED, exit_code_help
from pipeline.cli.log_options import LogFormat, LogLevel, configure_logs
from pipeline.cli.printers import Printer, printer
from pipeline.cli.service_options import (
    CaFile,
    EndpointUrl,
    Insecure,
    Profile,
    Region,
    ResampleTo,
    Transport,
    UseDualstackEndpoint,
    UseFipsEndpoint,
)
from pipeline.cli.settings_file import ConfigFile
from pipeline.elements import SessionSettings
from pipeline.engine.failures import kind_of
from pipeline.errors import SettingsError
from pipeline.observability.json_logs import TEXT
from pipeline.output.transcript_text import Ending, summary_line
from pipeline.worker.file_session import FileSession
from pipeline.worker.service import ServiceSettings, medical_request

app = typer.Typer()

_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)


@app.command(epilog=exit_code_help())
def transcribe(
    audio: Annotated[
        str,
        typer.Argument(
            metavar="AUDIO",
            help="A WAV, FLAC or raw PCM s16le file; - for standard input: 16-bit WAV or raw PCM s16le.",
        ),
    ],
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    profile: Profile = None,
    ca_file: CaFile = None,
    transport: Transport = HTTP2,
    use_fips_endpoint: UseFipsEndpoint = False,
    use_dualstack_endpoint: UseDualstackEndpoint = False,
    resample_to: ResampleTo = None,
    sample_rate: Annotated[
        int | None, typer.Option(min=1, help="Samples per second of raw audio, in hertz.")
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(min=1, max=2, help="Channels of raw audio; two are identified apart. 1 without."),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="Times real time; 0 or max: as fast as the service takes it.")
    ] = "1",
    force: Annotated[
        bool, typer.Option("--force", help="Send faster than real time to AWS all the same.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: partials, finals, the end.")
    ] = False,
    partials: Annotated[
        bool | None,
        typer.Option(
            "--partials/--no-partials",
            help="Show what is being said before it is final; without: on a terminal, and with --json.",
        ),
    ] = None,
    specialty: Annotated[str, typer.Option(help="Medical specialty.")] = "PRIMARYCARE",
    type_: Annotated[str, typer.Option("--type", help="CONVERSATION or DICTATION.")] = "CONVERSATION",
    vocabulary_name: Annotated[
        str | None, typer.Option(help="Custom medical vocabulary of the account.")
    ] = None,
    show_speaker_label: Annotated[
        bool, typer.Option("--show-speaker-label", help="Label who speaks; one line for each turn.")
    ] = False,
    content_identification_type: Annotated[
        str | None, typer.Option(help="PHI: identify personal health information (entities, in --json).")
    ] = None,
    max_retries: Annotated[
        int, typer.Option(min=0, help="Failures in a row that are answered by a new stream.")
    ] = 5,
    insecure: Insecure = False,
    _config: ConfigFile = None,
    log_level: LogLevel = "WARNING",
    log_format: LogFormat = TEXT,
) -> None:
    """Transcribe one recording, or standard input, straight through the service; results as they come.

    Lost streams are replaced and the audio that no final covers is sent again, as in medstream run.
    """
    configure_logs(log_level, log_format)
    # What its warnings say, this command says in its own words.
    logging.getLogger("pipeline.worker.live_session").setLevel(logging.ERROR)
    settings = SessionSettings(
        specialty=specialty,
        type=type_,
        vocabulary_name=vocabulary_name,
        show_speaker_label=show_speaker_label,
        content_identification_type=content_identification_type,
    )
    pace = _pace(speed, to_aws=endpoint_url is None, force=force)
    declared = DeclaredFormat(sample_rate, channels)
    with _errors_by_kind():
        service = ServiceSettings(
            region=resolve_region(region, profile),
            endpoint_url=endpoint_url,
            transport=_transport(transport),
            use_fips=use_fips_endpoint,
            use_dualstack=use_dualstack_endpoint,
            allow_cleartext=insecure,
            ca_bundle=None if ca_file is None else str(ca_file),
            profile_name=profile,
            resample_to_hertz=resample_to,
        )
        _check_service(service)
        ending = _transcribe(
            audio, declared, service, settings, pace, max_retries, printer(json=json, partials=partials)
        )
    _leave(ending)


def _pace(text: str, *, to_aws: bool, force: bool) -> float:
    try:
        speed = parse_speed(text)
    except ValueError:
        raise SettingsError("--speed", f"{text!r} is neither a number from 0 on nor max") from None
    if to_aws and not force and (speed == UNPACED or speed > 1):
        raise SettingsError(
            "--speed",
            f"{text} is faster than real time; Amazon Transcribe asks for real time and refuses audio whose "
            "signature is more than five minutes old when its turn comes, so a long recording would fail: "
            "leave the option out, or add --force",
        )
    return speed


def _transport(name: str) -> str:
    if name not in TRANSPORTS:
        raise SettingsError("--transport", f"{name!r} is not one of {', '.join(TRANSPORTS)}")
    return name


def _check_service(service: ServiceSettings) -> None:
    """What can be known of the service without opening a stream, since each one is billed."""
    service.endpoint()
    if service.endpoint_url is None:
        check_region(service.region, use_fips=service.use_fips, use_dualstack=service.use_dualstack)
    if service.ca_bundle is not None:
        tls_context(service.ca_bundle, Http2Connection.alpn_protocol)  # reads the file
    load_credentials(service.profile_name)


def _transcribe(
    audio: str,
    declared: DeclaredFormat,
    service: ServiceSettings,
    settings: SessionSettings,
    speed: float,
    max_retries: int,
    shown: Printer,
) -> Ending:
    arrival = threading.Event()
    with closing(shown), closing(open_audio(audio, declared, arrival.set)) as source:
        medical_request(source.format, settings, str(uuid.uuid4()), service.resample_to_hertz).validate()
        session = FileSession(
            source,
            service=service,
            settings=settings,
            speed=speed,
            max_retries=max_retries,
            show=shown.show,
            tell=shown.tell,
            arrival=arrival,
        )
        with _interrupts(session):
            return session.run()


@contextmanager
def _interrupts(session: FileSession) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the audio, the second ends the command at once."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.default_int_handler)
        session.interrupt()

    before: dict[int, Any] = {}
    for number in _SIGNALS:
        before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _errors_by_kind() -> Iterator[None]:
    """Ends the command with the exit code of an error of the Transcribe client."""
    try:
        yield
    except TranscribeError as error:
        typer.echo(f"medstream: {error}", err=True)
        raise typer.Exit(EXIT_CODES[kind_of(error)].number) from None


def _leave(ending: Ending) -> None:
    """Say what there was, and why it ended early if it did; end with the code that says the same."""
    typer.echo(f"medstream: {summary_line(ending)}", err=True)
    if ending.failure is not None:
        code = EXIT_CODES[ending.failure.kind]
        reason = f"{ending.failure.code}: {ending.failure.message}".rstrip(". ")
        typer.echo(f"medstream: {reason}; {code.remedy}", err=True)
        raise typer.Exit(code.number)
    if ending.interrupted:
        raise typer.Exit(INTERRUPTED)
