"""Connects a stream: TCP, through a proxy if the environment names one, TLS, and the service's consent.

Both transports come here with a connection of theirs; what goes wrong becomes one sentence that names the
endpoint, or the proxy. The proxy is that of `HTTPS_PROXY` (cleartext: `HTTP_PROXY`), else `ALL_PROXY`, in
either case of letters; `NO_PROXY` is respected, and this machine's own addresses never go through a proxy.
The tunnel is HTTP's CONNECT or SOCKS, made by `python-socks`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from python_socks import ProxyConnectionError, ProxyError
from python_socks.async_.asyncio import Proxy

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import Endpoint, is_loopback
from connectors.transcribe.errors import (
    ConfigurationError,
    ConnectError,
    ConnectTimeoutError,
    TlsError,
    TranscribeError,
    bounded,
)
from connectors.transcribe.wire_stream import WireConnection, WireStream

_PROXY_PORTS = {"http": 80, "socks4": 1080, "socks5": 1080}
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
    try:
        async with asyncio.timeout(connect_timeout_seconds):
            await _connect(stream, endpoint, context)
            await stream.accepted()
    except OSError as error:  # TimeoutError and ssl.SSLError are among them
        stream.abort()
        mapped = _connect_error(error, endpoint, connect_timeout_seconds)
        connection.protocol.receive_failure(mapped)  # a refusal whose body never ended is still a refusal
        raise connection.protocol.failure or mapped from None
    except BaseException:
        stream.abort()
        raise
    return stream


async def _connect(stream: WireStream, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    proxy_url = proxy_for(endpoint)
    if proxy_url is None:
        await loop.create_connection(
            lambda: stream,
            endpoint.host,
            endpoint.port,
            ssl=context,
            happy_eyeballs_delay=_SECOND_ADDRESS_SECONDS,
        )
        return
    tunnel = await _tunnel(proxy_url, endpoint)
    host = None if context is None else endpoint.host
    await loop.create_connection(lambda: stream, sock=tunnel, ssl=context, server_hostname=host)


def proxy_for(endpoint: Endpoint) -> str | None:
    """The proxy's URL by the environment, None for a direct connection; raises `ConfigurationError`."""
    if is_loopback(endpoint.host):
        return None
    proxies = getproxies_environment()
    found = proxies.get(endpoint.scheme) or proxies.get("all")
    if not found or proxy_bypass_environment(f"{endpoint.host}:{endpoint.port}", proxies):
        return None
    return _checked_proxy(found if "://" in found else f"http://{found}", endpoint.scheme)


def _checked_proxy(url: str, scheme: str) -> str:
    setting = f"{scheme.upper()}_PROXY"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{setting} is no URL; expected http://host:port") from None
    if parts.scheme not in _PROXY_PORTS or not parts.hostname:
        allowed = ", ".join(_PROXY_PORTS)
        raise ConfigurationError(
            f"{setting} cannot be used: expected SCHEME://host:port with a scheme of {allowed}, "
            f"not {bounded(parts.scheme, 20)!r}"
        )
    # The password, if there is one, stays in the URL and out of every message.
    return url if port else f"{parts.scheme}://{parts.netloc.rstrip(':')}:{_PROXY_PORTS[parts.scheme]}"


async def _tunnel(proxy_url: str, endpoint: Endpoint) -> socket.socket:
    shown = _without_password(urlsplit(proxy_url))
    try:
        return await Proxy.from_url(proxy_url).connect(endpoint.host, endpoint.port)
    except ProxyConnectionError:
        raise ConnectError(f"cannot connect to the proxy {shown} on the way to {endpoint.url}") from None
    except ProxyError as error:
        refusal = bounded(str(error), 200)
        raise ConnectError(f"the proxy {shown} refused a tunnel to {endpoint.url}: {refusal}") from None


def _without_password(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}"


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


def _connect_error(error: OSError, endpoint: Endpoint, timeout_seconds: float) -> TranscribeError:
    """What went wrong while connecting, in one sentence that names the endpoint."""
    match error:
        case TimeoutError():
            return ConnectTimeoutError(f"{endpoint.url} did not answer within {timeout_seconds:g} s")
        case ssl.SSLCertVerificationError():
            return TlsError(f"the certificate of {endpoint.url} is not trusted: {error.verify_message}")
        case ssl.SSLError():
            return TlsError(f"TLS with {endpoint.url} failed: {error.reason}")
    number = error.errno or 0  # resolver errors have negative numbers and their own text
    reason = os.strerror(number) if number > 0 else error.strerror or bounded(str(error), 200)
    return ConnectError(f"cannot connect to {endpoint.url}: {reason}")
