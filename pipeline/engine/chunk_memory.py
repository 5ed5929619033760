"""Which sequences a session has seen lately, and the CRC-32 of their audio, in few bytes.

Half a thousand chunks are remembered for each session. In arrays they take 9 KB; a dictionary of Python's
integers takes 55 KB, a third of all that a live session needs.
"""

from __future__ import annotations

from array import array


class ChunkMemory:
    """The last `capacity` chunks that were added, in that order; each (epoch, sequence) once."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._epochs = array("I")
        self._sequences = array("q")  # Avro's long
        self._crcs = array("I")
        self._highest = (0, -1)  # beyond it nothing is known, and most chunks are

    def add(self, epoch: int, sequence: int, crc: int) -> None:
        """It becomes the newest, also if it was known."""
        if (epoch, sequence) > self._highest:
            self._highest = (epoch, sequence)
        elif (known := self._place(epoch, sequence)) is not None:
            self._delete(known)
        self._epochs.append(epoch)
        self._sequences.append(sequence)
        self._crcs.append(crc)
        if len(self._sequences) > self._capacity:
            self._delete(0)

    def crc_of(self, epoch: int, sequence: int) -> int | None:
        """None: it is not remembered."""
        place = self._place(epoch, sequence)
        return None if place is None else self._crcs[place]

    def newest(self, epoch: int, before_sequence: int, count: int) -> list[tuple[int, int]]:
        """(sequence, CRC-32) of at most the last `count` of the epoch before a sequence, the newest last."""
        found: list[tuple[int, int]] = []
        for place in range(len(self._sequences) - 1, -1, -1):
            if self._epochs[place] == epoch and self._sequences[place] < before_sequence:
                found.append((self._sequences[place], self._crcs[place]))
                if len(found) == count:
                    break
        return found[::-1]

    def _place(self, epoch: int, sequence: int) -> int | None:
        place = -1
        try:
            while True:
                place = self._sequences.index(sequence, place + 1)
                if self._epochs[place] == epoch:
                    return place
        except ValueError:
            return None

    def _delete(self, place: int) -> None:
        for column in (self._epochs, self._sequences, self._crcs):
            del column[place]
