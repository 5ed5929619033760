"""Recognition in processes of its own, seen from the event loop.

`PocketSphinxHost` starts `pocketsphinx_worker.py` and asks it for a child for each recognition, up to a
cap: speech recognition takes real processor time, and streams beyond what the machine can follow must be
refused, not slowed down together. Audio waits in `accept` while the child is behind by more than the
socket's buffers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.local.transcribe.errors import ServiceFault, SpeechError
from deploy.local.transcribe.recognisers import RecognitionRequest
from deploy.local.transcribe.recognisers.framing import LENGTH, READY, decode_segments
from deploy.local.transcribe.recognisers.plugin import (
    DEFAULT_WORKERS,
    WORKERS,
    RecogniserOption,
    load_library,
    read_count,
)
from deploy.local.transcribe.recognition import Deliver, no_room

_START_TIMEOUT_SECONDS = 30.0
_log = logging.getLogger(__name__)


class PocketSphinxPlugin:
    """The recogniser of the demo and the local stack."""

    summary = "real, offline recognition of English speech by PocketSphinx, in processes of its own"
    options = (
        RecogniserOption("lm", "language model, an ARPA file (default: PocketSphinx's own)"),
        RecogniserOption("dict", "pronunciation dictionary (default: PocketSphinx's own)"),
        WORKERS,
    )

    def open(self, options: Mapping[str, str]) -> PocketSphinxHost:
        """See `RecogniserPlugin.open`."""
        workers = read_count(options, WORKERS.name, DEFAULT_WORKERS)
        load_library("pocketsphinx", "pocketsphinx", "pocketsphinx")
        files = {name: Path(options[name]) for name in ("lm", "dict") if name in options}
        return PocketSphinxHost(files.get("lm"), files.get("dict"), workers)


PLUGIN = PocketSphinxPlugin()


class PocketSphinxHost:
    """Opens recognitions in forked children of one worker process."""

    def __init__(self, language_model: Path | None, dictionary: Path | None, max_recognitions: int) -> None:
        """Start the worker and wait until its model is loaded; raises `SpeechError`."""
        self._max_recognitions = max_recognitions
        self._open = 0
        self._control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "deploy.local.transcribe.recognisers.pocketsphinx_worker"]
            command += ["--control-fd", str(theirs.fileno())]
            command += ["--lm", str(language_model)] if language_model else []
            command += ["--dict", str(dictionary)] if dictionary else []
            # numpy's threads would be lost in the fork; nothing here needs them.
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        self._control.settimeout(_START_TIMEOUT_SECONDS)
        try:
            answer = self._control.recv(4096)
        except TimeoutError:
            answer = b"the speech model was not loaded in time"
        self._control.settimeout(None)
        if answer != READY:
            self.close()
            raise SpeechError(answer.decode() or "the process of the speech recogniser ended at its start")

    async def open(self, request: RecognitionRequest, deliver: Deliver) -> PooledRecognition:
        """See `RecognitionHost.open`."""
        if self._open >= self._max_recognitions:
            raise no_room(self._max_recognitions)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                line = json.dumps({"sample_rate_hertz": request.sample_rate_hertz}).encode()
                socket.send_fds(self._control, [line], [theirs.fileno()])
            reader, writer = await asyncio.open_connection(sock=ours)
        except OSError:
            ours.close()
            _log.error("the process of the speech recogniser is gone; restart the endpoint")
            raise ServiceFault("InternalFailureException", "The speech recogniser is not running.") from None
        self._open += 1
        return PooledRecognition(reader, writer, deliver, self._recognition_closed)

    def _recognition_closed(self) -> None:
        self._open -= 1

    def close(self) -> None:
        """End the worker process; its children end with their streams."""
        self._control.close()
        self._process.wait()


class PooledRecognition:
    """One recognition in a child process."""

    def __init__(
        self, reader: StreamReader, writer: StreamWriter, deliver: Deliver, on_close: Callable[[], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._deliver = deliver
        self._on_close: Callable[[], None] | None = on_close
        self._receiving = asyncio.create_task(self._receive())

    async def accept(self, pcm: bytes) -> None:
        """See `Recognition.accept`."""
        await self._write(LENGTH.pack(len(pcm)) + pcm)

    async def finish(self) -> None:
        """See `Recognition.finish`."""
        await self._write(LENGTH.pack(0))
        await self._receiving

    def close(self) -> None:
        """See `Recognition.close`."""
        if not self._receiving.cancel() and not self._receiving.cancelled():
            self._receiving.exception()  # seen: a stream that has ended does not care
        self._writer.close()
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    async def _write(self, data: bytes) -> None:
        if self._receiving.done():
            self._receiving.result()  # raises what ended it
            raise SpeechError("the recogniser's process ended too early")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            raise SpeechError("the recogniser's process is gone") from None

    async def _receive(self) -> None:
        """Deliver segments until the child says that all was sent."""
        try:
            while size := LENGTH.unpack(await self._reader.readexactly(LENGTH.size))[0]:
                await self._deliver(decode_segments(await self._reader.readexactly(size)))
        except (OSError, IncompleteReadError):
            raise SpeechError("the recogniser's process is gone") from None
