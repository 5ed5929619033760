"""What time an endpoint thinks it is: the `Date` of its answer to a plain request, which opens no stream.

The way there is that of a stream (proxy, TLS, authorities), so this also tells whether it can be reached.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
import time

from connectors.transcribe.clock import parse_http_date
from connectors.transcribe.connecting import connect_error, tls_context
from connectors.transcribe.endpoint import Endpoint
from connectors.transcribe.proxies import open_tunnel, proxy_for

_ALPN = "http/1.1"
_MAX_HEAD_BYTES = 65_536
_HALF_RESOLUTION_MS = 500  # a Date has whole seconds


async def clock_offset_ms(
    endpoint: Endpoint, ca_bundle: str | None = None, timeout_seconds: float = 5.0
) -> int | None:
    """How far the endpoint's clock is ahead of this machine's; None when it answered without a date.

    Right to about a second. Raises TranscribeError: no connection, or no trust.
    """
    context = tls_context(ca_bundle, _ALPN) if endpoint.uses_tls else None
    began_ms = time.time_ns() // 1_000_000
    try:
        async with asyncio.timeout(timeout_seconds):
            head = await _head_of_answer(endpoint, context)
    except OSError as error:  # TimeoutError and ssl.SSLError are among them
        raise connect_error(error, endpoint, proxy_for(endpoint), timeout_seconds) from None
    middle_ms = (began_ms + time.time_ns() // 1_000_000) // 2
    _, _, fields = head.partition(b"\r\n")
    try:
        date = http.client.parse_headers(io.BytesIO(fields)).get("date")
    except http.client.HTTPException:
        return None
    server_ms = parse_http_date(date)
    return None if server_ms is None else server_ms + _HALF_RESOLUTION_MS - middle_ms


async def _head_of_answer(endpoint: Endpoint, context: ssl.SSLContext | None) -> bytes:
    """The answer's first line and fields; empty when it speaks no HTTP/1.1."""
    proxy = proxy_for(endpoint)
    if proxy is None:
        reader, writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=context, limit=_MAX_HEAD_BYTES
        )
    else:
        tunnel = await open_tunnel(proxy, endpoint)
        name = None if context is None else endpoint.host
        reader, writer = await asyncio.open_connection(
            sock=tunnel, ssl=context, server_hostname=name, limit=_MAX_HEAD_BYTES
        )
    try:
        writer.write(f"HEAD / HTTP/1.1\r\nHost: {endpoint.authority}\r\nConnection: close\r\n\r\n".encode())
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return b""
    finally:
        writer.close()
