"""The front over real sockets of loopback: a scripted server behind it, a plain socket before it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.transcribe.front import Front, FrontConnection
from tests.fakes.front_door import Client, Door, reset, until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MEGABYTE = 1024 * 1024
LARGE_BYTES = 48 * MEGABYTE  # more than all socket buffers on the way can hold
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n\x82\x02hi"


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


@pytest.fixture(autouse=True)
def _nothing_went_wrong_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio logs what a protocol's callbacks raise, and goes on."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


async def keep_sending(client: Client, pause_seconds: float = 0.0) -> None:
    """Audio without end, until the peer will have no more."""
    try:
        while True:
            await client.send(bytes(3200))
            await asyncio.sleep(pause_seconds)
    except OSError:
        pass


# Bytes ----------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    up=st.lists(st.binary(max_size=2000), max_size=6),
    down=st.lists(st.binary(max_size=2000), max_size=6),
    split=st.sampled_from((0, 1, 7)),
)
def test_bytes_pass_unchanged_both_ways(up: list[bytes], down: list[bytes], split: int) -> None:
    arrived = b""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        for piece in down:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        arrived = await reader.read()
        writer.close()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            (await door.connection()).split(split)
            for piece in up:
                await client.send(piece)
            client.end()
            assert await client.receive_all() == b"".join(down)
            await door.served()
            assert arrived == b"".join(up)
            await door.is_empty()

    run(work())


def test_pieces_are_written_one_by_one() -> None:
    class Recorder(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.written: list[bytes] = []

        def write(self, data: Any) -> None:
            self.written.append(bytes(data))

        def is_closing(self) -> bool:
            return False

    connection = FrontConnection(Front("127.0.0.1", 1))
    connection.client.transport = recorder = Recorder()
    connection.from_server(b"whole")
    connection.split(2)
    connection.from_server(b"piece")
    assert recorder.written == [b"whole", b"pi", b"ec", b"e"]


def buffered_bytes(door: Door) -> int:
    """What the front holds of its connections."""
    sides = [side for one in door.front.open for side in (one.client, one.server)]
    return sum(side.transport.get_write_buffer_size() for side in sides if side.transport is not None)


async def stands_still(progress: Callable[[], int]) -> None:
    """Return once something has been done, and nothing more for a while."""
    before = 0
    while not before or before != progress():
        before = progress()
        await asyncio.sleep(0.3)


BLOCK = bytes(range(256)) * 256  # 64 KiB
EXPECTED = sha256(BLOCK * (LARGE_BYTES // len(BLOCK))).hexdigest()


def test_a_client_that_does_not_read_holds_the_server_and_nothing_is_lost() -> None:
    sent = 0

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < LARGE_BYTES:
            writer.write(BLOCK)
            await writer.drain()
            sent += len(BLOCK)
        writer.close()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            await stands_still(lambda: sent)
            assert sent < LARGE_BYTES
            assert buffered_bytes(door) < MEGABYTE
            digest, size = sha256(), 0
            while piece := await client.receive():
                digest.update(piece)
                size += len(piece)
            assert (size, digest.hexdigest()) == (LARGE_BYTES, EXPECTED)
            client.socket.close()
            await door.is_empty()

    run(work())


def test_a_server_that_does_not_read_holds_the_client_and_nothing_is_lost() -> None:
    sent, digest, go = 0, sha256(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        while piece := await reader.read(65_536):
            digest.update(piece)
        writer.close()

    async def send(client: Client) -> None:
        nonlocal sent
        while sent < LARGE_BYTES:
            await client.send(BLOCK)
            sent += len(BLOCK)
        client.end()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            sending = asyncio.create_task(send(client))
            await stands_still(lambda: sent)
            assert sent < LARGE_BYTES
            assert buffered_bytes(door) < MEGABYTE
            go.set()
            await sending
            await door.served()
            assert (sent, digest.hexdigest()) == (LARGE_BYTES, EXPECTED)
            await door.is_empty()

    run(work())


# Ends -----------------------------------------------------------------------------------------------------


def test_a_client_that_has_ended_is_still_answered() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b"all I have"
        await asyncio.sleep(0.05)
        writer.write(b"an answer")
        writer.close()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            await client.send(b"all I have")
            client.end()
            assert await client.receive_all() == b"an answer"
            await door.served()
            await door.is_empty()

    run(work())


def test_a_server_that_has_ended_is_still_sent_to() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no more from me")
        writer.write_eof()
        assert await reader.read() == b"but from me, and more"
        writer.close()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            assert await client.receive_all() == b"no more from me"
            await client.send(b"but from me, ")
            await asyncio.sleep(1.2)  # longer than a lingering close
            await client.send(b"and more")
            client.end()
            await door.served()
            await door.is_empty()

    run(work())


def test_a_client_that_closes_is_forgotten_and_the_server_told() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b"bye"
        writer.close()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            await client.send(b"bye")
            client.socket.close()
            await door.served()
            await door.is_empty()

    run(work())


def test_a_client_that_leaves_at_once_is_forgotten() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    async def work() -> None:
        async with Door(script) as door:
            for _ in range(20):
                client = Client(door.port)
                async with client:
                    client.reset()
            await door.is_empty()

    run(work())


def test_a_clients_reset_is_a_reset_for_the_server() -> None:
    async def script(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(5) == b"hello"
        with pytest.raises(ConnectionResetError):
            await reader.read()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            await client.send(b"hello")
            await door.connection()
            await asyncio.sleep(0.05)
            client.reset()
            await door.served()
            await door.is_empty()

    run(work())


LAST_WORDS = b"an exception event" * 1000


@pytest.mark.parametrize("by_reset", [False, True], ids=["closes-with-audio-unread", "resets"])
@pytest.mark.parametrize("pause_seconds", [0.0, 0.001])
def test_a_leaving_servers_last_words_reach_a_client_that_still_sends(
    by_reset: bool, pause_seconds: float
) -> None:
    """What granian does after a closing frame: the socket is closed, audio or no audio."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(32_000)
        writer.write(LAST_WORDS)
        if by_reset:
            reset(writer.get_extra_info("socket"))
        writer.transport.abort()  # everything is written by now; what is not read is not waited for

    async def work() -> None:
        for _ in range(10):
            async with Door(script) as door, Client(door.port) as client:
                sending = asyncio.create_task(keep_sending(client, pause_seconds))
                assert await client.receive_all() == LAST_WORDS
                sending.cancel()
                client.socket.close()
                await door.is_empty()

    run(work())


def test_last_words_are_read_even_when_writing_to_the_server_fails_first() -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ready.wait()
        writer.write(LAST_WORDS)
        reset(writer.get_extra_info("socket"))
        writer.transport.abort()

    ready = asyncio.Event()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            connection = await door.connection()
            assert connection.server.transport is not None
            connection.server.transport.pause_reading()  # as while the client does not read
            ready.set()
            await door.served()
            sending = asyncio.create_task(keep_sending(client, 0.001))
            assert await client.receive_all() == LAST_WORDS
            sending.cancel()
            client.socket.close()
            await door.is_empty()

    run(work())


def test_a_lingering_connection_is_closed_after_a_while_although_the_client_goes_on() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(32_000)
        writer.transport.abort()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            sending = asyncio.create_task(keep_sending(client, 0.001))
            assert await client.receive_all() == b""
            await door.is_empty()
            await asyncio.wait_for(sending, 5)

    run(work())


def test_a_client_that_was_held_is_read_on_when_the_server_leaves() -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()
        writer.write(LAST_WORDS)
        await writer.drain()
        writer.transport.abort()

    sent, leave = 0, asyncio.Event()

    async def send(client: Client) -> None:
        nonlocal sent
        while sent < LARGE_BYTES:
            await client.send(BLOCK)
            sent += len(BLOCK)

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            sending = asyncio.create_task(send(client))
            await stands_still(lambda: sent)
            assert sent < LARGE_BYTES
            leave.set()
            assert await client.receive_all() == LAST_WORDS
            await sending  # nothing is wrong with the connection yet
            client.socket.close()
            await door.is_empty()

    run(work())


def test_a_held_client_that_has_reset_meanwhile_does_no_harm() -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()
        writer.close()

    sent, leave = 0, asyncio.Event()

    async def send(client: Client) -> None:
        nonlocal sent
        while True:
            await client.send(BLOCK)
            sent += len(BLOCK)

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            sending = asyncio.create_task(send(client))
            await stands_still(lambda: sent)
            sending.cancel()
            await asyncio.sleep(0)
            client.reset()
            leave.set()
            await door.is_empty()

    run(work())


def test_without_a_server_the_client_is_reset() -> None:
    async def work() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))  # and does not listen
            front = Front("127.0.0.1", bound.getsockname()[1])
            listener = await asyncio.get_running_loop().create_server(front.accept, "127.0.0.1", 0)
            async with Client(listener.sockets[0].getsockname()[1]) as client:
                with pytest.raises(ConnectionResetError):
                    await client.receive()
            await until(lambda: not front.open, "the connection was not forgotten")
            listener.close()

    run(work())


async def read_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A script that says a word and takes whatever comes."""
    writer.write(b"word")
    with suppress(ConnectionResetError):
        await reader.read()
    writer.close()


def test_a_disconnected_client_is_reset_after_what_the_server_said() -> None:
    async def work() -> None:
        async with Door(read_on) as door, Client(door.port) as client:
            connection = await door.connection()
            await asyncio.sleep(0.05)
            connection.disconnect()
            assert await client.receive() == b"word"
            with pytest.raises(ConnectionResetError):
                await client.receive()
            connection.disconnect()  # once more does no harm
            await door.served()
            await door.is_empty()
            connection.disconnect()

    run(work())


def test_a_connection_broken_off_ends_after_what_the_server_said() -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connected.wait()
        connection.server.transport.pause_reading()  # the front has not read it yet when it breaks off
        writer.write(b"word" * 100)
        connection.break_off()
        writer.write(b"too late")

    connected = asyncio.Event()
    connection: Any = None

    async def work() -> None:
        nonlocal connection
        async with Door(script) as door, Client(door.port) as client:
            sending = asyncio.create_task(keep_sending(client, 0.001))
            connection = await door.connection()
            connected.set()
            assert await client.receive_all() == b"word" * 100
            sending.cancel()
            client.socket.close()
            await door.is_empty()

    run(work())


def test_closing_cuts_all_connections() -> None:
    async def work() -> None:
        async with Door(read_on) as door, Client(door.port) as first:
            await first.receive_exactly(4)
            door.front.close()
            with pytest.raises(ConnectionResetError):
                await first.receive()
            await door.is_empty()

    run(work())


def test_a_connection_that_is_cut_before_it_reached_the_server_is_forgotten() -> None:
    async def work() -> None:
        async with Door(read_on) as door:
            for _ in range(20):
                async with Client(door.port) as client:
                    await until(lambda: bool(door.front.open), "no connection was accepted", poll_seconds=0)
                    door.front.close()
                    with pytest.raises(ConnectionResetError):
                        await client.receive()
                await door.is_empty()

    run(work())


def test_a_connection_is_found_by_the_port_it_uses_towards_the_server() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername"))
        await reader.read()
        writer.close()

    peers: list[tuple[str, int]] = []

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            connection = await door.connection()
            await until(lambda: bool(peers), "no server was reached")
            assert door.front.find(peers[0]) is connection
            assert door.front.find(("127.0.0.1", 1)) is None
            assert door.front.find(None) is None
            client.socket.close()
            await door.is_empty()
            assert door.front.find(peers[0]) is None

    run(work())


# HTTP/2 ---------------------------------------------------------------------------------------------------


def frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4) + payload


def goaway(error_code: int) -> bytes:
    return frame(7, struct.pack(">II", 2**31 - 1, error_code))


class Pieces:
    """A script that writes pieces when it is told to."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(PREFACE)) == PREFACE
        while piece := await self._queue.get():
            writer.write(piece)
            await writer.drain()
        writer.close()

    def write(self, piece: bytes) -> None:
        self._queue.put_nowait(piece)


BLOCK_OF_TWO = frame(1, b"headers") + frame(9, b"continued", flags=4)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (frame(4, b""), b""),
        (frame(0, b"some results")[:15], frame(0, b"some results")[15:]),
        (frame(0, b"some results")[:3], frame(0, b"some results")[3:]),
        (BLOCK_OF_TWO[:16], BLOCK_OF_TWO[16:]),
        (BLOCK_OF_TWO[:20], BLOCK_OF_TWO[20:]),
    ],
    ids=["first", "between-frames", "in-a-payload", "in-a-header", "in-a-header-block", "in-a-continuation"],
)
def test_a_goaway_comes_between_two_frames(before: bytes, after: bytes) -> None:
    following = frame(0, b"the next results")

    async def work() -> None:
        script = Pieces()
        async with Door(script) as door, Client(door.port) as client:
            await client.send(PREFACE[:5])
            await asyncio.sleep(0.03)
            await client.send(PREFACE[5:])
            connection = await door.connection()
            script.write(before or frame(4, b"settings"))
            seen = await client.receive_exactly(len(before or frame(4, b"settings")))
            connection.go_away(0)
            if not after:
                seen += await client.receive_exactly(len(goaway(0)))
            script.write(after + following if after else following)
            script.write(b"")
            seen += await client.receive_all()
            assert seen == (before or frame(4, b"settings")) + after + goaway(0) + following

    run(work())


def test_a_goaway_waits_for_the_end_of_its_frame_in_whatever_pieces() -> None:
    async def work() -> None:
        script = Pieces()
        async with Door(script) as door, Client(door.port) as client:
            await client.send(PREFACE)
            connection = await door.connection()
            whole = frame(0, b"results")
            for at, byte in enumerate(whole):
                script.write(bytes((byte,)))
                assert await client.receive_exactly(1) == bytes((byte,))
                if at == 0:
                    connection.go_away(0)
            assert await client.receive_exactly(len(goaway(0))) == goaway(0)

    run(work())


@pytest.mark.parametrize("at_boundary", [True, False])
def test_nothing_follows_a_goaway_with_an_error_but_the_end(at_boundary: bool) -> None:
    async def work() -> None:
        script = Pieces()
        async with Door(script) as door, Client(door.port) as client:
            await client.send(PREFACE)
            sending = asyncio.create_task(keep_sending(client, 0.001))
            connection = await door.connection()
            whole = frame(0, b"results")
            first = whole if at_boundary else whole[:10]
            script.write(first)
            assert await client.receive_exactly(len(first)) == first
            connection.go_away(2)
            script.write(whole[len(first) :] + frame(0, b"too late"))
            assert await client.receive_all() == whole[len(first) :] + goaway(2)
            connection.go_away(0)  # which nobody is there to see
            sending.cancel()
            client.socket.close()
            await door.is_empty()

    run(work())


def test_http_1_has_no_goaway() -> None:
    async def work() -> None:
        async with Door(read_on) as door, Client(door.port) as client:
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            connection = await door.connection()
            connection.go_away(0)
            client.end()
            assert await client.receive_all() == b"word"

    run(work())


# The upgrade ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [None, 1, 8, 12, 13, 31, 32, 33, 34, 40, len(SWITCHING) - 1])
def test_headers_are_added_to_the_answer_wherever_it_is_cut(cut: int | None) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ready.wait()
        writer.write(SWITCHING[:cut])
        await asyncio.sleep(0.03)
        writer.write(SWITCHING[len(SWITCHING) if cut is None else cut :])
        await asyncio.sleep(0.03)
        writer.write(SWITCHING)  # which is a message now
        writer.close()

    ready = asyncio.Event()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            (await door.connection()).add_upgrade_headers([("x-amzn-RequestId", "1"), ("x-b", "2")])
            ready.set()
            line, rest = SWITCHING.split(b"\r\n", 1)
            assert await client.receive_all() == (
                line + b"\r\nx-amzn-RequestId: 1\r\nx-b: 2\r\n" + rest + SWITCHING
            )

    run(work())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"\x00" * 20_000, SWITCHING])
def test_other_answers_pass_unchanged(answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ready.wait()
        writer.write(answer)
        writer.close()

    ready = asyncio.Event()

    async def work() -> None:
        async with Door(script) as door, Client(door.port) as client:
            connection = await door.connection()
            connection.add_upgrade_headers([("a", "b")] if answer != SWITCHING else [])
            ready.set()
            assert await client.receive_all() == answer

    run(work())


# TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's context and a client's that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def connect_tls(
    door: Door, context: ssl.SSLContext, *protocols: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context.set_alpn_protocols(list(protocols))
    return await asyncio.open_connection("127.0.0.1", door.port, ssl=context, server_hostname="localhost")


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_tls_ends_in_the_front_and_the_protocol_is_agreed_on(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], protocol: str
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        digest = sha256(await reader.readexactly(len(BLOCK) * 20)).digest()
        writer.write(digest + BLOCK * 20)
        await reader.read()
        writer.close()

    async def work() -> None:
        async with Door(script, tls[0]) as door:
            reader, writer = await connect_tls(door, tls[1], protocol)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == protocol
            writer.write(BLOCK * 20)
            assert await reader.readexactly(32) == sha256(BLOCK * 20).digest()
            assert await reader.readexactly(len(BLOCK) * 20) == BLOCK * 20
            writer.close()
            await door.served()
            await door.is_empty()

    run(work())


@pytest.mark.parametrize("sends", [True, False])
def test_last_words_and_the_end_pass_through_tls(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], sends: bool
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(LAST_WORDS)
        await writer.drain()
        writer.transport.abort()

    async def work() -> None:
        async with Door(script, tls[0]) as door:
            reader, writer = await connect_tls(door, tls[1], "h2")
            writer.write(bytes(10))
            for _ in range(100 if sends else 0):
                writer.write(bytes(3200))
                await asyncio.sleep(0.001)
            assert await reader.readexactly(len(LAST_WORDS)) == LAST_WORDS
            assert await reader.read() == b""
            writer.close()
            await door.is_empty()

    run(work())


def test_nothing_follows_a_goaway_with_an_error_through_tls(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def work() -> None:
        script = Pieces()
        async with Door(script, tls[0]) as door:
            reader, writer = await connect_tls(door, tls[1], "h2")
            writer.write(PREFACE)
            whole = frame(0, b"results")
            script.write(whole[:10])
            assert await reader.readexactly(10) == whole[:10]
            (await door.connection()).go_away(2)
            script.write(whole[10:] + frame(0, b"too late"))
            assert await reader.read() == whole[10:] + goaway(2)
            writer.close()
            await door.is_empty()

    run(work())


def test_a_tls_client_is_disconnected_with_a_reset_too(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def work() -> None:
        async with Door(read_on, tls[0]) as door:
            reader, writer = await connect_tls(door, tls[1], "h2")
            assert await reader.readexactly(4) == b"word"
            (await door.connection()).disconnect()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            await door.is_empty()

    run(work())


def test_a_client_that_speaks_no_tls_is_left_and_the_next_is_served(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def work() -> None:
        async with Door(read_on, tls[0]) as door:
            async with Client(door.port) as plain:
                await plain.send(PREFACE)
                assert PREFACE not in await plain.receive_all()  # an alert at most
            reader, writer = await connect_tls(door, tls[1], "h2")
            assert await reader.readexactly(4) == b"word"
            writer.close()
            await door.is_empty()

    run(work())
