"""Listening: the front on the port that people use, granian behind it, an orderly end.

granian runs embedded in this process's event loop, so all streams share one registry, on a port of loopback
that only the front (`front.py`) uses. It binds with SO_REUSEPORT, which would let a second endpoint take the
same port in silence; `reserve_port` therefore asks first, and holds the chosen port with a socket that never
listens until granian does. TLS ends in the front.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from deploy.local.transcribe.app import TranscribeApp
from deploy.local.transcribe.errors import ServeError
from deploy.local.transcribe.front import Front
from schemas.library_logs import pin

pin("_granian", "granian")

STREAM_WINDOW_BYTES = 64 * 1024
"""Two seconds of 16 kHz audio in flight, so that a client notices early when the endpoint reads slowly."""

MAX_CONNECTIONS = 1024
_SERVER_HOST = "127.0.0.1"
_READY_POLL_SECONDS = 0.02
_READY_TIMEOUT_SECONDS = 10.0
_STOP_SECONDS = 2
_LOG_CONFIG = {
    "handlers": {
        "console": {"formatter": "generic", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
        "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
    },
}


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where to listen; port 0 means any free one. With a certificate and key (PEM files) it is TLS."""

    host: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def scheme(self) -> str:
        """`https` with a certificate, else `http`."""
        return "http" if self.tls_cert is None else "https"


def reserve_port(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen; its name says the port.

    Raises:
        ServeError: Another server listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:  # without SO_REUSEPORT a listening server is in the way
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        reservation = socket.socket(family)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind((host, port))
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    return reservation


def _cannot_listen(host: str, port: int, error: OSError) -> ServeError:
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "the address cannot be used"
    return ServeError(f"Cannot listen on {host} port {port}: {reason}. Choose another --host or --port.")


async def serve(app: TranscribeApp, settings: ListenSettings, on_ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is called with the port once connections are accepted.

    Raises:
        ServeError: The port is taken, or certificate and key cannot be used.
    """
    with reserve_port(_SERVER_HOST, 0) as reservation:
        server_port = int(reservation.getsockname()[1])
        app.front = Front(_SERVER_HOST, server_port)
        listener = await _listen(app.front, settings)
        server = _granian(app, server_port)
        stop = _stop_on_signals()
        serving = asyncio.ensure_future(server.serve())
        await _wait_until_ready(_SERVER_HOST, server_port, serving)
    try:
        await listener.start_serving()
    except OSError as error:  # another process began to listen there since the port was taken
        raise _cannot_listen(settings.host, settings.port, error) from error
    on_ready(int(listener.sockets[0].getsockname()[1]))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopped, serving}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    listener.close()
    app.abort_streams()
    server.stop()  # type: ignore[no-untyped-call]  # granian types itself only in part
    with suppress(TimeoutError):
        await asyncio.wait_for(serving, _STOP_SECONDS)
    app.front.close()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _listen(front: Front, settings: ListenSettings) -> asyncio.Server:
    """Take the port, without accepting connections yet."""
    context = _tls_context(settings)
    try:
        listener = await asyncio.get_running_loop().create_server(
            front.accept,
            settings.host,
            settings.port,
            ssl=context,
            backlog=MAX_CONNECTIONS,
            start_serving=False,
        )
    except OSError as error:
        raise _cannot_listen(settings.host, settings.port, error) from error
    front.narrow(listener)
    return listener


def _tls_context(settings: ListenSettings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_refuse_passphrase)
    except OSError as error:
        files = f"--tls-cert {settings.tls_cert} and --tls-key {settings.tls_key}"
        raise ServeError(f"{files} cannot be used: {_tls_reason(error)}.") from error
    return context


def _refuse_passphrase() -> str:
    """Called for an encrypted key; without it OpenSSL would ask on the terminal."""
    raise ServeError("--tls-key is encrypted; give a key without passphrase.")


def _tls_reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return error.strerror or "they cannot be read"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return "expected a certificate, and its key, in PEM"


def _granian(app: TranscribeApp, port: int) -> Server:
    return Server(
        app,
        address=_SERVER_HOST,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        backlog=MAX_CONNECTIONS,
        http2_settings=HTTP2Settings(
            initial_connection_window_size=STREAM_WINDOW_BYTES,
            initial_stream_window_size=STREAM_WINDOW_BYTES,
        ),
        log_level=LogLevels.error,
        log_dictconfig=_LOG_CONFIG,
    )


async def _wait_until_ready(host: str, port: int, serving: asyncio.Future[None]) -> None:
    """Return once a connection is accepted."""
    deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if serving.done():
            raise ServeError(f"The HTTP server ended at start: {serving.exception() or 'no reason given'}.")
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(_READY_POLL_SECONDS)
        else:
            writer.close()
            return
    raise ServeError(f"The HTTP server did not listen on {host} port {port} in {_READY_TIMEOUT_SECONDS:g} s.")
