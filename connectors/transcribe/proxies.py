"""The way through a proxy: which one the environment names, and a tunnel through it to the endpoint.

The proxy is that of `HTTPS_PROXY` (cleartext: `HTTP_PROXY`), else `ALL_PROXY`, in either case of letters.
`NO_PROXY` lists hosts, domains (with all below them) and host:port that are reached directly; this machine's
own addresses always are. The tunnel is HTTP's CONNECT or SOCKS; it is the proxy that looks the endpoint's
name up, except with `socks4`.

SOCKS is spoken by `python-socks`. CONNECT is spoken here: the library takes whatever has arrived for the
proxy's whole answer, and so loses the first bytes of an endpoint that speaks first, as HTTP/2 servers do.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from python_socks import ProxyConnectionError, ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy as SocksClient

from connectors.transcribe.endpoint import Endpoint
from connectors.transcribe.errors import ConfigurationError, ConnectError, TranscribeError, bounded
from schemas.loopback import is_loopback

_PORTS = {"http": 80, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_MAX_SOCKS_FIELD_BYTES = 255
_MAX_ANSWER_BYTES = 16 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?\r\n")
_NO_LIMIT_SECONDS = 86_400.0  # the opener's own is shorter


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and the environment variable that named it."""

    variable: str
    scheme: str
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy {self.scheme}://{host}:{self.port} ({self.variable})"


def proxy_for(endpoint: Endpoint) -> Proxy | None:
    """The proxy by the environment, None for a direct connection; raises `ConfigurationError`."""
    if is_loopback(endpoint.host):
        return None
    proxies = getproxies_environment()
    kind = next((kind for kind in (endpoint.scheme, "all") if proxies.get(kind)), None)
    if kind is None or proxy_bypass_environment(f"{endpoint.host}:{endpoint.port}", proxies):
        return None
    return _parse(_variable(f"{kind}_proxy", proxies[kind]), proxies[kind])


def _variable(name: str, url: str) -> str:
    """As the environment spells it."""
    return next(key for key, value in os.environ.items() if key.lower() == name and value == url)


def _parse(variable: str, url: str) -> Proxy:
    # The URL is in no message: it may hold a password.
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{variable} is no URL; expected http://host:port") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigurationError(
            f"{variable} cannot be used: expected SCHEME://host:port with a scheme of {', '.join(_PORTS)}, "
            f"not {bounded(parts.scheme, 20)!r}"
        )
    username, password = (
        unquote(text or "", errors="surrogateescape") for text in (parts.username, parts.password)
    )
    _check_credentials(variable, parts.scheme, username, password)
    port = _PORTS[parts.scheme] if port is None else port
    return Proxy(variable, parts.scheme, parts.hostname, port, username, password)


def _check_credentials(variable: str, scheme: str, username: str, password: str) -> None:
    if scheme == "http":
        rule, usable = "a user name has no colon", ":" not in username
    else:
        longest = max(len(username), len(password))
        rule = f"SOCKS takes up to {_MAX_SOCKS_FIELD_BYTES} ASCII characters, a user name and a password"
        usable = longest <= _MAX_SOCKS_FIELD_BYTES and (username + password).isascii()
        usable = usable and (scheme.startswith("socks4") or bool(username) == bool(password))
    if not usable:
        raise ConfigurationError(f"the user name or password in {variable} cannot be used: {rule}")


async def open_tunnel(proxy: Proxy, endpoint: Endpoint) -> socket.socket:
    """A connected socket whose other end is the endpoint; raises `ConnectError`, which names the proxy."""
    tunnel = _connect_http if proxy.scheme == "http" else _connect_socks
    try:
        return await tunnel(proxy, endpoint)
    except TranscribeError:
        raise
    except ProxyError as error:
        raise _refusal(proxy, endpoint, str(error)) from None
    except ProxyConnectionError as error:
        raise _unreachable(proxy, endpoint, error) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise ConnectError(f"{proxy} broke off on the way to {endpoint.url}: {reason}") from None
    except Exception as error:  # the library's, for an answer that it does not understand
        raise _refusal(proxy, endpoint, f"its answer is no SOCKS ({type(error).__name__})") from None


async def _connect_socks(proxy: Proxy, endpoint: Endpoint) -> socket.socket:
    kind = ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5
    remote_names = proxy.scheme != "socks4"
    client = SocksClient(kind, proxy.host, proxy.port, proxy.username, proxy.password, rdns=remote_names)
    return await client.connect(endpoint.host, endpoint.port, timeout=_NO_LIMIT_SECONDS)


async def _connect_http(proxy: Proxy, endpoint: Endpoint) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        tunnel = await _connect_tcp(loop, proxy)
    except OSError as error:
        raise _unreachable(proxy, endpoint, error) from None
    try:
        await loop.sock_sendall(tunnel, _connect_request(proxy, endpoint))
        answer = await _read_answer(loop, tunnel)
        status = _STATUS_LINE.match(answer)
        if status is None:
            raise _refusal(
                proxy, endpoint, "its answer is no HTTP/1" if answer else "it closed the connection"
            )
        if not status[1].startswith(b"2"):
            raise _refusal(proxy, endpoint, _said(status))
    except BaseException:
        tunnel.close()
        raise
    return tunnel


async def _connect_tcp(loop: asyncio.AbstractEventLoop, proxy: Proxy) -> socket.socket:
    """To the first of the proxy's addresses that takes the connection."""
    failure = OSError("no address")
    for family, kind, number, _, address in await loop.getaddrinfo(
        proxy.host, proxy.port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, number)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _connect_request(proxy: Proxy, endpoint: Endpoint) -> bytes:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    authority = f"{host}:{endpoint.port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.username or proxy.password:
        secret = f"{proxy.username}:{proxy.password}".encode(errors="surrogateescape")
        lines.append(f"Proxy-Authorization: Basic {b64encode(secret).decode()}")
    return "\r\n".join((*lines, "", "")).encode()


async def _read_answer(loop: asyncio.AbstractEventLoop, tunnel: socket.socket) -> bytes:
    """The head of the proxy's answer and no byte more, or what there is of it."""
    answer = b""
    while not answer.endswith(b"\r\n\r\n") and len(answer) < _MAX_ANSWER_BYTES:
        piece = await loop.sock_recv(tunnel, 1)
        answer += piece
        if not piece or not answer.startswith(b"HTTP/1."[: len(answer)]):
            break
    return answer


def _said(status: re.Match[bytes]) -> str:
    reason = (status[2] or b"").decode("latin-1")
    shown = bounded("".join(letter if letter.isprintable() else " " for letter in reason), 100)
    remedy = "; put user:password@ before its host" if status[1] == b"407" else ""
    return f"{status[1].decode()} {shown}{remedy}"


def _unreachable(proxy: Proxy, endpoint: Endpoint, error: OSError) -> ConnectError:
    number = error.errno or 0  # resolver errors have negative numbers and their own text
    reason = os.strerror(number) if number > 0 else bounded(error.strerror or str(error), 200)
    return ConnectError(f"cannot connect to {proxy} on the way to {endpoint.url}: {reason}")


def _refusal(proxy: Proxy, endpoint: Endpoint, reason: str) -> ConnectError:
    return ConnectError(f"{proxy} made no tunnel to {endpoint.url}: {bounded(reason, 200)}")
