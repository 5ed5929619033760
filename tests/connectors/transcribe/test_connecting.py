"""Streams through proxies, over both transports: tunnels, refusals, garbage, silence; passwords stay unsaid.

The endpoint is known by a name that only the proxy can look up.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import pytest
import trustme

from connectors.transcribe.endpoint import Endpoint, resolve_endpoint
from connectors.transcribe.errors import (
    ConfigurationError,
    ConnectError,
    ConnectTimeoutError,
    TlsError,
    TranscribeError,
)
from connectors.transcribe.model import MedicalResult
from tests.connectors.transcribe.harness import (
    CHUNK,
    FINAL,
    Carrier,
    Wire,
    receive_all,
    send_chunks,
    write_bundle,
)
from tests.fakes.proxy_servers import ESTABLISHED, ConnectProxy, ScriptedProxy, SocksProxy
from tests.fakes.scripted_server import REGION, ScriptedStream, reset

HOST = "transcribe.test"
PASSWORD = "hunter2"


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def wire(request: pytest.FixtureRequest, carrier: Carrier, authority: trustme.CA, ca_bundle: str) -> Wire:
    """TLS for the endpoint's name, unless a test asks for cleartext."""
    return Wire(carrier, carrier.tls(authority, HOST), ca_bundle)


async def echo(stream: ScriptedStream) -> None:
    """A final for all audio, and the end."""
    stream.respond()
    assert await stream.all_audio() == CHUNK * 3
    await stream.send_results(FINAL)
    stream.end()


def endpoint_at(wire: Wire, port: int) -> Endpoint:
    return resolve_endpoint(REGION, f"{wire.scheme}://{HOST}:{port}", allow_cleartext=True)


async def transcribe(wire: Wire, port: int, **options: Any) -> list[MedicalResult]:
    stream = await wire.connect_to(endpoint_at(wire, port), **options)
    try:
        await send_chunks(stream, 3)
        await stream.end()
        return await receive_all(stream)
    finally:
        await stream.close()


def run_through(
    wire: Wire,
    proxy: ScriptedProxy,
    patch: pytest.MonkeyPatch,
    *,
    name: str = "HTTPS_PROXY",
    scheme: str = "http",
    user: str = "",
    server: dict[str, Any] | None = None,
) -> None:
    """One whole stream through `proxy`, which has to have been asked for the endpoint's name."""

    async def main() -> None:
        async with asyncio.timeout(20), wire.server(echo, **(server or {})) as one, proxy:
            patch.setenv(name, f"{scheme}://{user}127.0.0.1:{proxy.port}")
            assert await transcribe(wire, one.port) == [FINAL]
            assert proxy.targets == [f"{HOST}:{one.port}"]

    asyncio.run(main())


def failing_through(
    wire: Wire,
    proxy: ScriptedProxy,
    patch: pytest.MonkeyPatch,
    *,
    scheme: str = "http",
    user: str = "",
    kind: type[TranscribeError] = ConnectError,
    **options: Any,
) -> str:
    """The message of what opening a stream raises; the proxy's client has to have left."""

    async def main() -> TranscribeError:
        async with asyncio.timeout(20), wire.server(unwanted) as server, proxy:
            patch.setenv("HTTPS_PROXY", f"{scheme}://{user}127.0.0.1:{proxy.port}")
            with pytest.raises(kind) as caught:
                await transcribe(wire, server.port, **options)
            assert type(caught.value) is kind
            await asyncio.wait_for(proxy.client_left.wait(), 5)
            assert f"{scheme}://127.0.0.1:{proxy.port} (HTTPS_PROXY)" in str(caught.value)
            assert f"{HOST}:{server.port}" in str(caught.value)
            return caught.value

    error = asyncio.run(main())
    assert error.retryable is (kind is not TlsError)
    assert error.__cause__ is None
    return str(error)


async def unwanted(_stream: ScriptedStream) -> None:
    raise AssertionError("a request arrived")


# HTTP's CONNECT


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_stream_through_a_tunnel(wire: Wire, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    run_through(wire, ConnectProxy(), monkeypatch, name=name)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "all_proxy"])
def test_cleartext_where_the_server_may_speak_first(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What an HTTP/2 server says at once (here: a small window) comes along with the proxy's answer."""
    options = {"initial_window_bytes": 1000} if carrier.name == "http2" else {}
    run_through(Wire(carrier), ConnectProxy(), monkeypatch, name=name, server=options)


def test_a_proxy_that_wants_a_password(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = ConnectProxy(credentials=("clinic@site", f"{PASSWORD}:/ü"))
    run_through(wire, proxy, monkeypatch, user=f"clinic%40site:{PASSWORD}%3A%2F%C3%BC@")


def test_a_user_without_a_password(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    run_through(wire, ConnectProxy(credentials=("clinic", "")), monkeypatch, user="clinic@")


def test_nothing_is_said_to_a_proxy_that_asks_for_nothing(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = ConnectProxy()
    run_through(wire, proxy, monkeypatch)
    (host,) = proxy.headers
    assert host == f"Host: {proxy.targets[0]}"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 Connection established\r\n", b"Via: synthetic\r\n", b"\r\n"),
        (b"HTTP", b"/1.1 20", b"0 OK\r\n\r", b"\n"),
        (b"HTTP/1.0 200\r\n\r\n",),
        (b"HTTP/1.1 299 Fine\r\n" + b"x-filler: y\r\n" * 800 + b"\r\n",),
    ],
)
def test_however_the_proxy_s_answer_comes(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]
) -> None:
    run_through(wire, ConnectProxy(pieces=pieces), monkeypatch)


def test_no_proxy_is_a_direct_connection(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a name that nobody else can look up: it fails, and nobody asked the proxy."""

    async def main() -> None:
        async with asyncio.timeout(20), ConnectProxy() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("NO_PROXY", ".test")
            with pytest.raises(ConnectError, match=rf"cannot connect to https://{HOST}:9: ") as caught:
                await transcribe(wire, 9)
            assert "proxy" not in str(caught.value)
            assert proxy.targets == []

    asyncio.run(main())


@pytest.mark.parametrize("user", ["", f"clinic:{PASSWORD}@"])
def test_a_wrong_password_says_what_to_do(wire: Wire, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    proxy = ConnectProxy(credentials=("clinic", "another"))
    message = failing_through(wire, proxy, monkeypatch, user=user)
    assert "407 Proxy Authentication Required; put user:password@" in message
    assert PASSWORD not in message
    assert "clinic" not in message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 403 Forbidden by policy\r\n\r\n", "403 Forbidden by policy"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nabc", "502 Bad Gateway"),
        (b"HTTP/1.0 503\r\n\r\n", "503"),
        (b"HTTP/1.1 403 \x1b[31mred\xff\x00\r\n\r\n", "403 [31mredÿ"),
        (b"HTTP/1.1 403 " + b"x" * 5000 + b"\r\n\r\n", "403 xxx"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 Switching"),
        (b"", "closed the connection"),
        (b"SSH-2.0-synthetic\r\n", "no HTTP/1"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "no HTTP/1"),
        (b"HTTP/2 200 OK\r\n\r\n", "no HTTP/1"),
        (b"HTTP/1.1 twohundred OK\r\n\r\n", "no HTTP/1"),
        (b"HTTP/1.1 200 OK", "no HTTP/1"),
        (b"HTTP/1." + b"x" * 40_000, "no HTTP/1"),
    ],
)
def test_a_refusal_or_garbage(wire: Wire, monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str) -> None:
    message = failing_through(wire, ConnectProxy(answer=answer), monkeypatch, user=f"clinic:{PASSWORD}@")
    assert said in message
    assert PASSWORD not in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 2"])
def test_a_proxy_that_hangs_is_within_the_connect_timeout(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    proxy = ConnectProxy(answer=answer, hang=True)
    message = failing_through(wire, proxy, monkeypatch, kind=ConnectTimeoutError, connect_timeout_seconds=0.3)
    assert "within 0.3 s" in message


def test_an_endpoint_that_hangs_behind_a_proxy(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = ConnectProxy(answer=ESTABLISHED, hang=True)
    message = failing_through(wire, proxy, monkeypatch, kind=ConnectTimeoutError, connect_timeout_seconds=0.3)
    assert "within 0.3 s" in message


def test_a_tunnel_that_ends_at_once(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    message = failing_through(wire, ConnectProxy(answer=ESTABLISHED), monkeypatch)
    assert not message.endswith(": ")


def test_a_proxy_that_looks_into_tls(
    carrier: Carrier, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> None:
    """Its own authority is not trusted: the message names the proxy, which is where to look."""
    bundle = write_bundle(trustme.CA(), tmp_path_factory.mktemp("other"))
    wire = Wire(carrier, carrier.tls(authority, HOST), bundle)

    async def main() -> str:
        async with asyncio.timeout(20), wire.server(unwanted) as server, ConnectProxy() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            with pytest.raises(TlsError, match="not trusted") as caught:
                await transcribe(wire, server.port)
            return str(caught.value)

    assert "(HTTPS_PROXY)" in asyncio.run(main())


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_no_proxy_listens(wire: Wire, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    async def main() -> None:
        async with ConnectProxy() as proxy:
            port = proxy.port
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://clinic:{PASSWORD}@127.0.0.1:{port}")
        with pytest.raises(ConnectError) as caught:
            await transcribe(wire, 9)
        assert type(caught.value) is ConnectError
        assert str(caught.value) == (
            f"cannot connect to the proxy {scheme}://127.0.0.1:{port} (HTTPS_PROXY) on the way to "
            f"https://{HOST}:9: Connection refused"
        )

    asyncio.run(main())


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_does_not_exist(wire: Wire, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://clinic:{PASSWORD}@no-such-proxy.invalid:3128")
    with pytest.raises(ConnectError, match=r"cannot connect to the proxy .*no-such-proxy\.invalid") as caught:
        asyncio.run(transcribe(wire, 9))
    assert PASSWORD not in str(caught.value)
    assert not str(caught.value).endswith(": ")


def test_a_proxy_that_cannot_be_used_is_refused_before_connecting(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", f"ftp://clinic:{PASSWORD}@127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="all_proxy") as caught:
        asyncio.run(transcribe(wire, 9))
    assert PASSWORD not in str(caught.value)


def test_a_proxy_that_is_cut_off(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reset(writer)

    async def main() -> None:
        async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            with pytest.raises(ConnectError, match=r"broke off .*: Connection reset by peer"):
                await transcribe(wire, 9)

    asyncio.run(main())


# SOCKS


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_stream_through_socks(wire: Wire, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    run_through(wire, SocksProxy(), monkeypatch, scheme=scheme)


def test_cleartext_through_socks(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    run_through(Wire(carrier), SocksProxy(), monkeypatch, name="ALL_PROXY", scheme="socks5")


def test_socks_with_a_password(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = SocksProxy(credentials=("clinic", PASSWORD))
    run_through(wire, proxy, monkeypatch, scheme="socks5", user=f"clinic:{PASSWORD}@")


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        (SocksProxy(credentials=("clinic", "another")), "authentication failure"),
        (SocksProxy(status=2), "not allowed by ruleset"),
        (SocksProxy(status=4), "Host unreachable"),
        (SocksProxy(status=99), "Invalid reply code"),
        (SocksProxy(answer=b""), "Connection closed"),
        (SocksProxy(answer=b"\x05"), "Connection closed"),
        (SocksProxy(answer=b"\x05\xff"), "No acceptable authentication"),
        (SocksProxy(answer=b"\x05\x01"), "authentication method"),
        (SocksProxy(answer=b"HTTP/1.1 400 Bad Request\r\n\r\n"), "SOCKS version"),
        (SocksProxy(answer=b"\x05\x00\x05\x00\x00\x09"), "address type"),
        (SocksProxy(answer=b"\x05\x00\x05\x00\x00\x03\x02\xff\xfe\x00\x00"), "no SOCKS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_socks_proxy_that_refuses_or_speaks_garbage(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, proxy: SocksProxy, said: str
) -> None:
    fresh = SocksProxy(proxy.credentials, proxy.answer, status=proxy.status)
    message = failing_through(wire, fresh, monkeypatch, scheme="socks5", user=f"clinic:{PASSWORD}@")
    assert said in message
    assert PASSWORD not in message
    assert message.isprintable()


def test_a_socks_proxy_that_hangs(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    message = failing_through(
        wire,
        SocksProxy(hang=True),
        monkeypatch,
        scheme="socks5",
        kind=ConnectTimeoutError,
        connect_timeout_seconds=0.3,
    )
    assert "within 0.3 s" in message


# Privacy


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_password_is_not_logged_at_debug(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    proxy = (ConnectProxy if scheme == "http" else SocksProxy)(credentials=("clinic", PASSWORD))
    with caplog.at_level(logging.DEBUG):
        run_through(wire, proxy, monkeypatch, scheme=scheme, user=f"clinic:{PASSWORD}@")
        monkeypatch.delenv("HTTPS_PROXY")
        another = (ConnectProxy if scheme == "http" else SocksProxy)(credentials=("clinic", "another"))
        failing_through(wire, another, monkeypatch, scheme=scheme, user=f"clinic:{PASSWORD}@")
    assert caplog.records  # asyncio says something at DEBUG: capturing works
    for secret in (PASSWORD, "Y2xpbmljO", "Basic ", "synthetic-session-token", "Signature="):
        assert secret not in caplog.text
