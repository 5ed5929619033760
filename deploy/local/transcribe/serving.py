"""Listening: the ASGI application on granian, a port that is surely ours, an orderly end.

granian runs embedded in this process's event loop, so all streams share one registry. It binds with
SO_REUSEPORT, which would let a second endpoint take the same port in silence; `reserve_port` therefore
asks first, and holds a chosen port with a socket that never listens until granian does.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from deploy.local.transcribe.app import TranscribeApp
from deploy.local.transcribe.errors import ServeError

STREAM_WINDOW_BYTES = 64 * 1024
"""Two seconds of 16 kHz audio in flight, so that a client notices early when the endpoint reads slowly."""

MAX_CONNECTIONS = 1024
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
        reason = error.strerror or "the address cannot be used"
        raise ServeError(
            f"Cannot listen on {host} port {port}: {reason}. Choose another --host or --port."
        ) from error
    return reservation


async def serve(app: TranscribeApp, settings: ListenSettings, on_ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is called with the port once connections are accepted.

    Raises:
        ServeError: The port is taken, or certificate and key cannot be used.
    """
    with reserve_port(settings.host, settings.port) as reservation:
        port = int(reservation.getsockname()[1])
        server = _granian(app, settings, port)
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        serving = asyncio.ensure_future(server.serve())
        await _wait_until_ready(settings.host, port, serving)
    on_ready(port)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopped, serving}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    app.abort_streams()
    server.stop()  # type: ignore[no-untyped-call]  # granian types itself only in part
    with suppress(TimeoutError):
        await asyncio.wait_for(serving, _STOP_SECONDS)


def _granian(app: TranscribeApp, settings: ListenSettings, port: int) -> Server:
    try:
        return Server(
            app,
            address=settings.host,
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
            ssl_cert=settings.tls_cert,
            ssl_key=settings.tls_key,
            ssl_protocol_min=SSLProtocols.tls12,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServeError(f"--tls-cert and --tls-key cannot be used: {reason}") from error


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
