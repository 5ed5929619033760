"""Audio to transcribe from a pipe (standard input, a named pipe): 16-bit WAV or raw PCM s16le.

A pipe cannot be read twice, so what has been read stays in memory until the session says that finals cover
it. A thread reads; it goes a few seconds ahead of what has been asked for, then lets the writer wait.

A WAV header is read by the standard library's `wave`, which takes it from a stream. A length in it that is
too long (programs that write to a pipe do not know it) does not matter; FLAC cannot be read from a pipe.
"""

from __future__ import annotations

import io
import threading
import wave
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipeline.audio.audio_file import (
    AUDIO,
    FLAC,
    HEAD_BYTES,
    RAW,
    AudioSource,
    DeclaredFormat,
    Piece,
    container_of,
    open_audio_file,
)
from pipeline.audio.playback import CHUNKS_PER_SECOND, chunk_bytes
from pipeline.elements import PCM_BYTES_PER_SAMPLE, AudioFormat
from pipeline.errors import SettingsError

STANDARD_INPUT = "-"
_AHEAD_CHUNKS = 5 * CHUNKS_PER_SECOND


class RawStream(Protocol):
    """An unbuffered binary file; `read` answers with less than asked when no more is there yet."""

    def read(self, size: int, /) -> bytes | None: ...


class WholeReads:
    """A stream whose reads are complete up to its end, with its first bytes put back."""

    def __init__(self, stream: RawStream) -> None:
        self._stream = stream
        self._head = b""

    def read(self, size: int) -> bytes:
        parts, missing = [self._head[:size]], size - len(self._head[:size])
        self._head = self._head[size:]
        while missing > 0 and (found := self._stream.read(missing)):
            parts.append(found)
            missing -= len(found)
        return b"".join(parts)

    def peek(self, size: int) -> bytes:
        """The first bytes, which the next read answers again."""
        self._head = self.read(size)
        return self._head


class AudioPipe:
    """An `AudioSource` over a stream of PCM s16le; `read` answers in full but at the end.

    `on_arrival` is called, in the reading thread, when there is something new.
    """

    def __init__(
        self, name: str, read: Callable[[int], bytes], audio: AudioFormat, on_arrival: Callable[[], None]
    ) -> None:
        self.format = audio
        self._name = name
        self._read = read
        self._on_arrival = on_arrival
        self._changed = threading.Condition()
        self._pieces: deque[Piece] = deque()
        self._first = 0  # number of the first piece held
        self._wanted = 0  # one more than the highest number asked for
        self._error: OSError | None = None
        self._closed = False
        threading.Thread(target=self._fill, name="audio-pipe", daemon=True).start()

    def piece(self, number: int) -> Piece | None:
        with self._changed:
            if number < self._first:
                raise LookupError(f"chunk {number} is gone; the first one held is {self._first}")
            self._wanted = max(self._wanted, number + 1)
            self._changed.notify()
            if number - self._first < len(self._pieces):
                return self._pieces[number - self._first]
            if self._error is not None:
                raise SettingsError(AUDIO, f"{self._name} cannot be read: {self._error.strerror}")
            return None

    def forget_before(self, number: int) -> None:
        with self._changed:
            while self._pieces and self._first < number:
                self._pieces.popleft()
                self._first += 1

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def held(self) -> int:
        """Chunks in memory."""
        return len(self._pieces)

    # The reading thread

    def _fill(self) -> None:
        last = False
        while not last and self._may_go_on():
            try:
                payload = self._read(chunk_bytes(self.format))
            except OSError as error:
                self._error = error
                break
            last = len(payload) < chunk_bytes(self.format)
            # Half a sample at the end, from a writer that was stopped, is no audio.
            whole = len(payload) - len(payload) % self.format.bytes_per_sample
            self._append(Piece(payload[:whole], last))
        self._on_arrival()

    def _may_go_on(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ahead < _AHEAD_CHUNKS)
            return not self._closed

    @property
    def _ahead(self) -> int:
        return self._first + len(self._pieces) - self._wanted

    def _append(self, piece: Piece) -> None:
        with self._changed:
            self._pieces.append(piece)
        self._on_arrival()


def open_audio(name: str, declared: DeclaredFormat, on_arrival: Callable[[], None]) -> AudioSource:
    """The audio that `name` stands for: a file, a named pipe, or `-`; raises SettingsError."""
    path = Path(name)
    if name == STANDARD_INPUT:
        return open_audio_pipe("standard input", _standard_input(), declared, on_arrival)
    if path.is_dir():
        raise SettingsError(AUDIO, f"{name} is a directory; name a file, or - for standard input")
    if path.is_fifo():
        return open_audio_pipe(name, _named_pipe(path), declared, on_arrival)
    return open_audio_file(path, declared)


def _named_pipe(path: Path) -> io.FileIO:
    try:
        return io.FileIO(path)
    except OSError as error:
        raise SettingsError(AUDIO, f"{path} cannot be opened: {error.strerror}") from None


def _standard_input() -> io.FileIO:
    """Not sys.stdin: a thread that waits in its buffer would disturb the end of the process."""
    try:
        stdin = io.FileIO(0, closefd=False)
    except OSError:
        raise SettingsError(AUDIO, "there is no standard input; name a file") from None
    if stdin.isatty():
        raise SettingsError(AUDIO, "standard input is a terminal; pipe audio into it, or name a file")
    return stdin


def open_audio_pipe(
    name: str, stream: RawStream, declared: DeclaredFormat, on_arrival: Callable[[], None]
) -> AudioPipe:
    """The audio of a stream, once its first bytes have come; raises SettingsError."""
    whole = WholeReads(stream)
    container = container_of(whole.peek(HEAD_BYTES), name)
    if container == FLAC:
        raise SettingsError(
            AUDIO, f"{name} is FLAC, which cannot be read from a pipe: name the file, or decode it (flac -dc)"
        )
    if container == RAW:
        return AudioPipe(name, whole.read, declared.of_raw(name), on_arrival)
    sound = _parse_wav(name, whole)
    if sound.getsampwidth() != PCM_BYTES_PER_SAMPLE:
        raise SettingsError(AUDIO, f"{name} is WAV of {8 * sound.getsampwidth()} bits; from a pipe send 16")
    audio = declared.confirmed(name, AudioFormat(sound.getframerate(), sound.getnchannels()))
    return AudioPipe(name, lambda size: sound.readframes(audio.samples(size)), audio, on_arrival)


def _parse_wav(name: str, whole: WholeReads) -> wave.Wave_read:
    try:
        return wave.Wave_read(whole)  # type: ignore[arg-type]  # it needs nothing of a file but `read`
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it ends within its header"
        raise SettingsError(
            AUDIO, f"{name} is no WAV that can be read from a pipe ({reason}); send 16-bit PCM, or raw s16le"
        ) from None
