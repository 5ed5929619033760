"""One stream on asyncio, over HTTP/2 or a WebSocket: moves a connection's bytes, never waits for ever.

* Audio waits in `send_audio` while the service's flow-control window or the socket is full: one chunk is
  buffered here. Received bytes are acknowledged once `receive` has used them, or the socket is read no
  further meanwhile: either slows the service down to the reader's pace.
* Nothing hangs: a silent peer (probed with PING) and a peer that takes no audio have time limits.
* Every failure is a `TranscribeError`; the first one is what each later call raises.
* Ending our side closes nothing: results come until the service ends.
* A refused signature teaches the clock the service's time, if that explains it (`clock`).

`WireConnection` is the seam to the two carriers, both without I/O: `http2_connection`,
`websocket_connection`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import ClassVar, Protocol, cast

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.errors import (
    ReadTimeoutError,
    SignatureExpiredError,
    StreamClosedError,
    TranscribeError,
    WriteTimeoutError,
)
from connectors.transcribe.model import MedicalResult
from connectors.transcribe.protocol import EndOfStream, MedicalStreamProtocol

_CLOSE_SECONDS = 1.0


class WireConnection(Protocol):
    """A connection without I/O; every failure is reported to its protocol."""

    alpn_protocol: ClassVar[str]
    """What TLS is to negotiate."""
    confirmation_seconds: ClassVar[float]
    """How long after the response's head a refusal may still come instead of the first event."""

    @property
    def protocol(self) -> MedicalStreamProtocol:
        """The stream that the connection carries."""

    @property
    def pending_bytes(self) -> int:
        """Queued bytes that the peer's flow control has no room for."""

    @property
    def sent_bytes(self) -> int:
        """Bytes of events handed on so far; it grows while the peer takes audio."""

    @property
    def reading_paused(self) -> bool:
        """True while the shell should read no further."""

    def start(self, now_ms: int) -> None:
        """Queue the signed request."""

    def tls_established(self, alpn_protocol: str | None) -> None:
        """What TLS negotiated; fails the stream if it cannot be carried so."""

    def send(self, data: bytes, *, end_stream: bool = False) -> None:
        """Queue an event; `end_stream`: the last one."""

    def data_to_send(self) -> bytes:
        """Everything that may be written now."""

    def receive_data(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere."""

    def acknowledge(self) -> None:
        """The reader has used everything received so far."""

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""

    def ping(self) -> None:
        """Queue a request for a sign of life."""

    def abandon(self) -> None:
        """Queue what ends stream and connection early, or politely after the stream's end."""


class WireStream(asyncio.Protocol):
    """One connection with one stream; implements `TranscribeStream`, its methods are documented there."""

    def __init__(
        self,
        connection: WireConnection,
        clock: ServiceClock,
        read_timeout_seconds: float,
        write_timeout_seconds: float,
    ) -> None:
        self._connection = connection
        self._protocol = connection.protocol
        self._clock = clock
        self._measured_ms: int | None = None  # the service's clock, when its answer came
        self._read_timeout_seconds = read_timeout_seconds
        self._write_timeout_seconds = write_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._lost, self._changed, self._drained = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._writable = True
        self._reader_waits = False
        self._received_at = self._progress_at = self._loop.time()
        self._sent_bytes = 0  # at the time of the last progress
        self._watch: asyncio.TimerHandle | None = None
        self._watch_due_at = self._received_at

    # TranscribeStream

    @property
    def session_id(self) -> str | None:
        return self._protocol.session_id

    @property
    def request_id(self) -> str | None:
        return self._protocol.request_id

    async def send_audio(self, payload: bytes) -> None:
        if self._blocked:
            await self._wait_until_drained()
        self._connection.send(self._protocol.send_audio(payload, self._clock.now_ms()))
        self._flush()

    async def end(self) -> None:
        await self._wait_until_drained()
        self._connection.send(self._protocol.end(self._clock.now_ms()), end_stream=True)
        self._flush()

    async def receive(self) -> tuple[MedicalResult, ...] | None:
        while (event := self._protocol.next_event()) is None:
            self._acknowledge()
            self._changed.clear()
            self._reader_waits = True
            try:
                await self._changed.wait()
            finally:
                self._reader_waits = False
        return None if event is EndOfStream.END else event.results

    async def close(self) -> None:
        self._disconnect(StreamClosedError("the stream was closed"))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._lost.wait(), _CLOSE_SECONDS)
        self.abort()

    # For the opener

    async def accepted(self) -> None:
        """Wait for the service's consent; raises the refusal."""
        while not (self._protocol.accepted or self._protocol.finished):
            self._changed.clear()
            await self._changed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._connection.confirmation_seconds):
                await self._confirmed()
        if self._protocol.failure is not None and not self._protocol.waiting_events:
            raise self._protocol.failure  # one that follows results is for `receive`

    async def _confirmed(self) -> None:
        while not (self._protocol.waiting_events or self._protocol.finished):
            self._changed.clear()
            await self._changed.wait()

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None and not self._lost.is_set():
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._connection.tls_established(tls.selected_alpn_protocol())
        if self._protocol.finished:
            self._after_change()
            return
        self._connection.start(self._clock.now_ms())
        self._flush()
        self._watch_due_at = self._loop.time()
        self._watch_peer()

    def data_received(self, data: bytes) -> None:
        self._received_at = self._loop.time()
        waited = not self._protocol.server_date
        self._connection.receive_data(data)
        if waited:
            self._measured_ms = self._clock.measure(self._protocol.server_date)
        self._regulate_reading()
        self._after_change()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        self._connection.connection_lost(exc)
        self._after_change()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._flush()

    # Moving bytes

    @property
    def _blocked(self) -> bool:
        """Nothing more can be written now, or ever: then the loss is about to be told."""
        closing = self._transport is not None and self._transport.is_closing()
        return self._connection.pending_bytes > 0 or not self._writable or closing

    async def _wait_until_drained(self) -> None:
        while self._blocked and not self._protocol.finished:
            self._drained.clear()
            await self._drained.wait()

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing() or not self._writable:
            return
        if data := self._connection.data_to_send():
            self._transport.write(data)
        if not self._connection.pending_bytes:
            self._drained.set()

    def _regulate_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._connection.reading_paused:
            self._transport.pause_reading()
        elif not self._transport.is_reading():
            self._received_at = self._loop.time()  # the silence was ours
            self._transport.resume_reading()

    def _after_change(self) -> None:
        if self._protocol.finished:
            if isinstance(self._protocol.failure, SignatureExpiredError):
                self._clock.correct(self._measured_ms)
            self._disconnect()
            self._changed.set()
        elif self._reader_waits and not self._protocol.waiting_events:
            self._acknowledge()  # a part of an event, or a window update: nothing to wake the reader for
        else:
            self._flush()
            self._changed.set()

    def _acknowledge(self) -> None:
        """The reader has used everything received so far, and wants more."""
        self._connection.acknowledge()
        self._flush()
        self._regulate_reading()

    def _disconnect(self, reason: TranscribeError | None = None) -> None:
        """Leave politely; `reason` fails the stream unless it is finished."""
        if self._watch is not None:
            self._watch.cancel()
        self._connection.abandon()
        if reason is not None:
            self._protocol.receive_failure(reason)
        self._flush()
        self._drained.set()
        self._changed.set()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._loop.call_later(_CLOSE_SECONDS, self.abort)  # a peer that reads nothing

    def _watch_peer(self) -> None:
        """Fail the stream when the peer is silent or takes nothing; probe it half-way."""
        now = self._loop.time()
        # By as much as this comes late, the loop stood still: neither was the peer heard, nor asked.
        ours_seconds = now - self._watch_due_at
        self._received_at = min(now, self._received_at + ours_seconds)
        self._progress_at = min(now, self._progress_at + ours_seconds)
        read_limit, write_limit = self._read_timeout_seconds, self._write_timeout_seconds
        reading = self._transport is not None and self._transport.is_reading()
        silent_seconds = now - self._received_at if reading else 0.0
        stuck = self._connection.pending_bytes > 0 or not self._writable
        if not stuck or self._connection.sent_bytes != self._sent_bytes:
            self._progress_at, self._sent_bytes = now, self._connection.sent_bytes
        if silent_seconds >= read_limit:
            self._disconnect(ReadTimeoutError(f"nothing arrived for {read_limit:g} s"))
        elif now - self._progress_at >= write_limit:
            self._disconnect(WriteTimeoutError(f"the service took no audio for {write_limit:g} s"))
        else:
            if silent_seconds >= read_limit / 2:
                self._connection.ping()
                self._flush()
            self._watch_due_at = now + min(read_limit, write_limit) / 4
            self._watch = self._loop.call_at(self._watch_due_at, self._watch_peer)
