"""Recordings: files of Kafka records (`container`) that are complete or do not exist.

A recording grows as FILE.partial beside its place and gets its name when it is complete: counted, with its
checksum, on disk. Whatever ends the process leaves FILE.partial, which `RecordingWriter.resume` goes on with.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from connectors.kafka.recordings.container import (
    RANGE_ENTRY,
    ZSTANDARD,
    BlockBuilder,
    BlockReader,
    Damage,
    Header,
    new_header,
    read_header,
)
from connectors.kafka.recordings.errors import DamagedRecording, NotARecording, UnwritableRecording
from connectors.kafka.records import KafkaRecord

PARTIAL_SUFFIX = ".partial"
_BUFFER_BYTES = 1024 * 1024


def partial_path(path: Path) -> Path:
    """Where the recording grows until it is complete."""
    return path.with_name(path.name + PARTIAL_SUFFIX)


class RecordingReader:
    """The records of a file, one block in memory at a time. Iterate it once.

    Before the first damage every record is given; then DamagedRecording is raised, also when all looked well
    and only the checksum at the end does not agree.
    """

    def __init__(self, path: Path) -> None:
        """Raises NotARecording."""
        self.path = path
        self.records_read = 0
        try:
            self._file: BinaryIO = path.open("rb", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise NotARecording(str(path), f"it cannot be opened ({error.strerror})") from None
        try:
            self.header = read_header(self._file)
            self._blocks = BlockReader(self.header)
        except Damage as damage:
            self._file.close()
            raise NotARecording(str(path), str(damage)) from None
        self.size_bytes = path.stat().st_size
        self._sha256 = hashlib.sha256()
        self.position_bytes = self._file.tell()
        """Where the blocks end that are read and good."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[KafkaRecord]:
        try:
            while (block := self._blocks.next_block(self._file)) is not None:
                for record in self._blocks.records(block):
                    self.records_read += 1
                    yield record
                self._sha256.update(block.raw)
                self.position_bytes += len(block.raw)
            self._check_whole()
        except Damage as damage:
            raise DamagedRecording(
                str(self.path), self.records_read, self.position_bytes, str(damage)
            ) from None

    @property
    def range(self) -> dict[str, Any]:
        """What was to be recorded, as the writer was told; empty when the file does not say."""
        try:
            found = json.loads(self.header.metadata.get(RANGE_ENTRY, b"{}"))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def blocks_hash(self) -> Any:
        """SHA-256 of the blocks read so far (hashlib's object)."""
        return self._sha256

    def close(self) -> None:
        self._file.close()

    def _check_whole(self) -> None:
        expected = self.header.checksum
        if expected is None:
            return
        if self.header.records is not None and self.header.records > self.records_read:
            raise Damage(f"it ends early: {self.header.records} records were written")
        if _checksum(self._sha256, self.header, self.header.records or 0) != expected:
            raise Damage("its SHA-256 is not the one it was written with")


class RecordingWriter:
    """Writes a recording. Nothing is at `path` until `finish`; `close` without it leaves the partial file."""

    def __init__(self, path: Path, file: BinaryIO, header: Header, sha256: Any, records: int) -> None:
        self.path = path
        self.header = header
        self.records = records
        self._file = file
        self._sha256 = sha256
        self._block = BlockBuilder(header)
        self.next_offsets: dict[tuple[str, int], int] = {}
        """(topic, partition) -> offset behind the last record of it that the file has."""

    @classmethod
    def create(
        cls, path: Path, range_: Mapping[str, Any], codec: str = ZSTANDARD, *, overwrite: bool = False
    ) -> Self:
        """Begin a recording; raises UnwritableRecording.

        `range_` says what is to be recorded, as JSON will have it; a resumed recording finds it again. What
        is at `path`, complete or partial, is kept unless `overwrite`.
        """
        partial = partial_path(path)
        for found in (path, partial):
            if found.exists() and not overwrite:
                remedy = "--resume goes on with it, " if found == partial else ""
                raise UnwritableRecording(
                    str(path), f"there is {found.name} already; {remedy}--overwrite replaces it"
                )
        file = _locked(path, partial, new=True)
        header = new_header(codec, os.urandom(16), json.dumps(range_).encode())
        file.truncate(0)
        file.write(header.to_bytes())
        return cls(path, file, header, hashlib.sha256(), 0)

    @classmethod
    def resume(cls, path: Path) -> tuple[Self, dict[str, Any]]:
        """Go on with a partial recording: the writer behind its last whole block, and its `range_`.

        Raises UnwritableRecording, NotARecording.
        """
        partial = partial_path(path)
        if not partial.exists():
            raise UnwritableRecording(
                str(path), f"there is no {partial.name} to go on with; leave out --resume"
            )
        file = _locked(path, partial, new=False)
        offsets: dict[tuple[str, int], int] = {}
        with RecordingReader(partial) as reader:
            kept, good, sha256 = 0, reader.position_bytes, reader.blocks_hash.copy()
            try:
                pending: dict[tuple[str, int], int] = {}
                for record in reader:
                    if reader.position_bytes != good:  # the blocks before this record's are whole
                        offsets |= pending
                        kept, good, sha256 = (
                            reader.records_read - 1,
                            reader.position_bytes,
                            reader.blocks_hash.copy(),
                        )
                    pending[record.topic, record.partition] = record.offset + 1
                offsets |= pending
                kept, good, sha256 = reader.records_read, reader.position_bytes, reader.blocks_hash.copy()
            except DamagedRecording:
                pass  # the end of what was on disk; the records behind it are read from Kafka again
            header, range_ = reader.header, reader.range
        file.seek(good)
        file.truncate()
        writer = cls(path, file, header, sha256, kept)
        writer.next_offsets = offsets
        return writer, range_

    def write(self, record: KafkaRecord) -> None:
        """Add a record. Raises UnwritableRecording."""
        self._block.add(record)
        self.records += 1
        self.next_offsets[record.topic, record.partition] = record.offset + 1
        if self._block.is_full:
            self.flush()

    def flush(self) -> None:
        """Hand what was written to the system, so that only its own end would lose it."""
        block = self._block.take()
        try:
            self._file.write(block)
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from None
        self._sha256.update(block)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file so far."""
        return self._file.tell()

    def finish(self) -> None:
        """Complete the file and give it its name. Raises UnwritableRecording."""
        self.flush()
        checksum = _checksum(self._sha256, self.header, self.records)
        try:
            self._file.seek(0)
            self._file.write(self.header.completed(self.records, checksum).to_bytes())
            self._file.flush()
            os.fsync(self._file.fileno())
            partial_path(self.path).replace(self.path)
            _sync_directory(self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from None
        self._file.close()

    def close(self) -> None:
        """Leave what was written as a partial file, unless it was finished."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def _unwritable(self, error: OSError) -> UnwritableRecording:
        return UnwritableRecording(
            str(self.path), f"{error.strerror}; what was written is in {self.path.name}.partial"
        )


def _checksum(sha256: Any, header: Header, records: int) -> str:
    whole = sha256.copy()
    whole.update(header.completed(records, "").to_bytes())
    return str(whole.hexdigest())


def _locked(path: Path, partial: Path, *, new: bool) -> BinaryIO:
    """The partial file, open and ours alone. Its content is untouched."""
    try:
        if new:
            partial.touch(mode=0o600)  # patient data
        file: BinaryIO = partial.open("r+b", buffering=_BUFFER_BYTES)
    except OSError as error:
        raise UnwritableRecording(str(path), f"{error.strerror}; choose another place") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UnwritableRecording(str(path), f"another process is writing {partial.name}") from None
    return file


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
