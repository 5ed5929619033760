"""Connects a stream: TCP, through a proxy if the environment names one, TLS, and the service's consent.

Both transports come here with a connection of theirs; what goes wrong becomes one sentence that names the
endpoint, and the proxy if there is one (`proxies`).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from functools import lru_cache

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import Endpoint
from connectors.transcribe.errors import (
    ConfigurationError,
    ConnectError,
    ConnectTimeoutError,
    TlsError,
    TranscribeError,
    bounded,
)
from connectors.transcribe.proxies import Proxy, open_tunnel, proxy_for
from connectors.transcribe.wire_stream import WireConnection, WireStream

_SECOND_ADDRESS_SECONDS = 0.25  # "Happy Eyeballs", RFC 8305


async def open_stream(
    connection: WireConnection,
    endpoint: Endpoint,
    *,
    clock: ServiceClock,
    connect_timeout_seconds: float,
    read_timeout_seconds: float,
    write_timeout_seconds: float,
    ca_bundle: str | None,
) -> WireStream:
    """Connect, send the request and wait until the service accepts it; raises `TranscribeError`."""
    stream = WireStream(connection, clock, read_timeout_seconds, write_timeout_seconds)
    context = tls_context(ca_bundle, connection.alpn_protocol) if endpoint.uses_tls else None
    proxy = proxy_for(endpoint)
    try:
        async with asyncio.timeout(connect_timeout_seconds):
            await _connect(stream, endpoint, context, proxy)
            await stream.accepted()
    except OSError as error:  # TimeoutError and ssl.SSLError are among them
        stream.abort()
        mapped = connect_error(error, endpoint, proxy, connect_timeout_seconds)
        connection.protocol.receive_failure(mapped)  # a refusal whose body never ended is still a refusal
        raise connection.protocol.failure or mapped from None
    except BaseException:
        stream.abort()
        raise
    return stream


async def _connect(
    stream: WireStream, endpoint: Endpoint, context: ssl.SSLContext | None, proxy: Proxy | None
) -> None:
    loop = asyncio.get_running_loop()
    if proxy is None:
        await loop.create_connection(
            lambda: stream,
            endpoint.host,
            endpoint.port,
            ssl=context,
            happy_eyeballs_delay=_SECOND_ADDRESS_SECONDS,
        )
        return
    tunnel = await open_tunnel(proxy, endpoint)
    host = None if context is None else endpoint.host
    await loop.create_connection(lambda: stream, sock=tunnel, ssl=context, server_hostname=host)


@lru_cache(maxsize=16)
def tls_context(ca_bundle: str | None, alpn_protocol: str) -> ssl.SSLContext:
    """A client context that trusts the system's authorities, or those in the PEM file `ca_bundle`."""
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        reason = error.strerror or "not PEM"
        raise ConfigurationError(f"the CA bundle {ca_bundle!r} cannot be used: {reason}") from None
    context.set_alpn_protocols([alpn_protocol])
    return context


def connect_error(
    error: OSError, endpoint: Endpoint, proxy: Proxy | None, timeout_seconds: float
) -> TranscribeError:
    """What went wrong while connecting, in one sentence that names the endpoint."""
    target = endpoint.url if proxy is None else f"{endpoint.url} through {proxy}"
    match error:
        case TimeoutError():
            return ConnectTimeoutError(f"{target} did not answer within {timeout_seconds:g} s")
        case ssl.SSLCertVerificationError():
            return TlsError(f"the certificate of {target} is not trusted: {error.verify_message}")
        case ssl.SSLError():
            return TlsError(f"TLS with {target} failed: {error.reason or type(error).__name__}")
    number = error.errno or 0  # resolver errors have negative numbers and their own text
    reason = os.strerror(number) if number > 0 else error.strerror or bounded(str(error), 200)
    return ConnectError(f"cannot connect to {target}: {reason or 'the connection was closed'}")
