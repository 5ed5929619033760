"""Audio to transcribe from a file: WAV, FLAC, or raw PCM, as numbered chunks that can be read again.

What a file is, its first bytes tell; one that no header explains is raw PCM s16le, whose rate has to be
given. Whatever is given besides a header must agree with it. Nothing is kept in memory: a chunk that is
wanted again is read from its place.

`AudioSource` is what the session needs of any source; `audio_pipe` is the other one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from io import SEEK_END
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from pipeline.audio.playback import chunk_samples
from pipeline.elements import PCM_BYTES_PER_SAMPLE, SUPPORTED_CHANNELS, AudioFormat
from pipeline.errors import SettingsError

AUDIO = "AUDIO"
"""The argument that errors name."""
HEAD_BYTES = 12
"""As many first bytes tell what a file is."""
RAW, WAV, FLAC = "raw", "WAV", "FLAC"
_ACCEPTED = "WAV, FLAC or raw PCM s16le"
_OTHERS = (
    (0, b"OggS", "Ogg"),
    (0, b"ID3", "MP3"),
    (0, b"FORM", "AIFF"),
    (0, b"caff", "CAF"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (4, b"ftyp", "MP4"),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk of audio, PCM s16le; `last`: nothing comes after it."""

    payload: bytes = field(repr=False)
    last: bool


class AudioSource(Protocol):
    """Chunks of 100 ms, numbered from 0."""

    format: AudioFormat

    def piece(self, number: int) -> Piece | None:
        """Chunk `number`, also once more; None when it has not arrived yet. Raises SettingsError."""

    def forget_before(self, number: int) -> None:
        """No chunk before `number` will be asked for again."""

    def close(self) -> None:
        """Nothing will be asked for again."""


@dataclass(frozen=True, slots=True)
class DeclaredFormat:
    """What the caller says of the audio; None: what the header says."""

    sample_rate_hertz: int | None = None
    channels: int | None = None

    def confirmed(self, name: str, header: AudioFormat) -> AudioFormat:
        """The header's format; raises SettingsError when it is none of ours or contradicts the caller."""
        _agree("--sample-rate", self.sample_rate_hertz, header.sample_rate_hertz, name)
        _agree("--channels", self.channels, header.channels, name)
        return _supported(name, header)

    def of_raw(self, name: str) -> AudioFormat:
        """The format of headerless audio, one channel without word of more; raises SettingsError."""
        if self.sample_rate_hertz is None:
            raise SettingsError("--sample-rate", f"{name} has no WAV or FLAC header: say its rate, in hertz")
        return _supported(name, AudioFormat(self.sample_rate_hertz, self.channels or 1))


def _agree(option: str, declared: int | None, header: int, name: str) -> None:
    if declared is not None and declared != header:
        raise SettingsError(
            option, f"{declared} contradicts the {header} in the header of {name}; leave the option out"
        )


def _supported(name: str, audio: AudioFormat) -> AudioFormat:
    if audio.channels not in SUPPORTED_CHANNELS:
        raise SettingsError(
            AUDIO, f"{name} has {audio.channels} channels; 1 or 2 can be transcribed: mix them down"
        )
    return audio


def container_of(head: bytes, name: str) -> str:
    """WAV, FLAC or RAW, by a file's first bytes; raises SettingsError for a container we do not read."""
    if head[:4] == b"fLaC":
        return FLAC
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return WAV
    for start, magic, other in _OTHERS:
        if head[start : start + len(magic)] == magic:
            raise SettingsError(AUDIO, f"{name} is {other}; {_ACCEPTED} is accepted: convert it first")
    return RAW


class SampleReader(Protocol):
    """Access to the samples of a file by their place; `samples` (per channel) is what the file announces."""

    samples: int

    def read(self, start_sample: int, samples: int) -> bytes:
        """PCM s16le of the samples (of all channels) from `start_sample` on; fewer at the end of the file."""

    def close(self) -> None: ...


class AudioFile:
    """An `AudioSource` that reads each chunk when it is asked for."""

    def __init__(self, reader: SampleReader, audio: AudioFormat) -> None:
        self.format = audio
        self._reader = reader
        self._samples = chunk_samples(audio)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def piece(self, number: int) -> Piece | None:
        payload = self._reader.read(number * self._samples, self._samples)
        # A file may end before the length that its header announces.
        short = len(payload) < self._samples * self.format.bytes_per_sample
        return Piece(payload, last=short or (number + 1) * self._samples >= self._reader.samples)

    def forget_before(self, number: int) -> None:
        """Nothing is held."""

    def close(self) -> None:
        self._reader.close()


class RawReader:
    """Headerless PCM s16le."""

    def __init__(self, file: BinaryIO, audio: AudioFormat) -> None:
        self._file = file
        self._bytes_per_sample = audio.bytes_per_sample
        self.samples = audio.samples(file.seek(0, SEEK_END))

    def read(self, start_sample: int, samples: int) -> bytes:
        self._file.seek(start_sample * self._bytes_per_sample)
        return self._file.read(samples * self._bytes_per_sample)

    def close(self) -> None:
        self._file.close()


class SoundFileReader:
    """WAV or FLAC of any sample format, by libsndfile; more than 16 bits are cut, floats are scaled."""

    def __init__(self, path: Path, container: str) -> None:
        import soundfile  # with numpy a tenth of a second: raw audio needs neither

        self._name = path.name
        self._error: type[Exception] = soundfile.LibsndfileError
        try:
            self._sound: Any = soundfile.SoundFile(path)
        except self._error as error:
            raise SettingsError(AUDIO, f"{path} cannot be read as {container}: {_reason(error)}") from None
        self.format = AudioFormat(self._sound.samplerate, self._sound.channels)
        self.samples: int = self._sound.frames
        self._scaled = self._sound.subtype in ("FLOAT", "DOUBLE")

    def read(self, start_sample: int, samples: int) -> bytes:
        try:
            if self._sound.tell() != start_sample:
                self._sound.seek(min(start_sample, self.samples))
            found = self._sound.read(samples, dtype="float32" if self._scaled else "int16", always_2d=True)
        except self._error as error:
            at = self.format.seconds(start_sample)
            raise SettingsError(
                AUDIO, f"{self._name} cannot be read at {at:.1f} s: {_reason(error)}"
            ) from None
        if self._scaled:  # libsndfile would cut floats to whole numbers, which makes silence of them
            found = (found.clip(-1.0, 1.0) * 32_767.0).round()
        return bytes(found.astype("<i2").tobytes())

    def close(self) -> None:
        self._sound.close()


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", "") or type(error).__name__)
    return text.removeprefix("Error : ").rstrip(".")


def open_audio_file(path: Path, declared: DeclaredFormat) -> AudioFile:
    """The audio of a regular file; raises SettingsError."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise SettingsError(AUDIO, f"{path} cannot be opened: {error.strerror}") from None
    container = container_of(file.read(HEAD_BYTES), str(path))
    if container == RAW:
        return _open_raw(file, path, declared)
    file.close()
    reader = SoundFileReader(path, container)
    return AudioFile(reader, declared.confirmed(str(path), reader.format))


def _open_raw(file: BinaryIO, path: Path, declared: DeclaredFormat) -> AudioFile:
    audio = declared.of_raw(str(path))
    size = path.stat().st_size
    if size % audio.bytes_per_sample:
        raise SettingsError(
            AUDIO,
            f"{path} has {size} bytes, no whole number of samples of {audio.channels} channel(s) with "
            f"{PCM_BYTES_PER_SAMPLE} bytes each; is it raw PCM s16le?",
        )
    return AudioFile(RawReader(file, audio), audio)
