"""An endpoint's clock, by the Date of a plain answer, against a scripted peer."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest

from connectors.transcribe.endpoint import resolve_endpoint
from connectors.transcribe.errors import ConnectError, ConnectTimeoutError
from connectors.transcribe.server_date import clock_offset_ms


def offset(answer: bytes | None, timeout_seconds: float = 5.0) -> tuple[int | None, bytes]:
    """(what is measured against a peer that says `answer`, what it was asked); None: it says nothing."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    async def main() -> int | None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            endpoint = resolve_endpoint("us-east-1", f"http://127.0.0.1:{port}")
            return await clock_offset_ms(endpoint, timeout_seconds=timeout_seconds)

    return asyncio.run(main()), b"".join(asked)


@pytest.mark.parametrize("seconds", [0, 90, -600])
def test_the_offset_is_right_to_about_a_second(seconds: int) -> None:
    date = formatdate(time.time() + seconds, usegmt=True)
    found, asked = offset(f"HTTP/1.1 403 Forbidden\r\nDate: {date}\r\n\r\n".encode())
    assert found is not None
    assert abs(found - 1000 * seconds) < 1500
    assert asked.startswith(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: soon\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        b"x" * 100_000,
    ],
    ids=["nothing", "no date", "no date at all", "http2 only", "endless"],
)
def test_an_answer_without_a_date_tells_nothing(answer: bytes) -> None:
    assert offset(answer)[0] is None


def test_a_peer_that_is_silent_is_given_up() -> None:
    with pytest.raises(ConnectTimeoutError, match=r"did not answer within 0\.2 s"):
        offset(None, 0.2)


def test_nobody_there() -> None:
    endpoint = resolve_endpoint("us-east-1", "http://127.0.0.1:1")
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1"):
        asyncio.run(clock_offset_ms(endpoint))
