"""When an offset may be committed to the group: once everything before it is through.

Runners call a bundle's finalizer when a checkpoint is complete, and the portable Flink runner then calls
those of all bundles that have ended, also of bundles that ended after the checkpoint's barrier had passed the
source. What such a bundle read may be on its way to the next stage still, in no checkpoint; a job that is
started anew from its committed offset would never read it again.

So an offset waits for one round of finalizers more. A checkpoint begins when the one before it is complete,
so that the bundles of one round are in the checkpoint that the next round reports. A round is told from the
one before by a bundle that ended after that had begun. Within a round the calls come in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

_FINALIZER_SECONDS = 0.5, 15.0  # at least and at most between two of them
_FINALIZERS_A_ROUND = 4


@dataclass(frozen=True, slots=True)
class EndedBundle:
    """A bundle that waits for its finalizer."""

    history: int
    next_offset: int
    ended_at: float


@dataclass(slots=True)
class CommitGate:
    """One partition's offsets on their way to the group; times are of one monotonic clock.

    A bundle that does not begin where the last one ended belongs to a restored job, or repeats a failed
    bundle: what came before reads as another history, and commits nothing any more.
    """

    covered_at: float = float("-inf")
    """When a finalizer was last called, or, before any, when the history began with its first bundle."""
    read_at: float = float("-inf")
    """When a bundle ended last."""
    _asked_at: float = float("-inf")
    _history: int = 0
    _ended: int | None = None
    _reached: int | None = None
    _round_began_at: float = float("-inf")
    _round_seconds: float = 0.0  # of the last one; not known yet

    def ended(
        self, first_offset: int, next_offset: int, now: float, *, leaving: bool = False
    ) -> EndedBundle | None:
        """A bundle has read the offsets from `first_offset` up to, not including, `next_offset`.

        None: it needs no finalizer, since one soon after it will speak for it too. A worker keeps all of
        a bundle's objects until its finalizer is called, the data it read among them, and then keeps them for
        later bundles; so a round has only a few, however long it takes, the first ones too. `leaving`:
        nothing comes after it.
        """
        begins = first_offset != self._ended
        if begins:
            self._history += 1
            self._reached, self._round_began_at = None, float("-inf")
            self.covered_at = now
        self.read_at = now
        self._ended = next_offset
        if not (begins or leaving or now - self._asked_at >= self._spacing_at(now)):
            return None
        self._asked_at = now
        return EndedBundle(self._history, next_offset, now)

    def finalized(self, bundle: EndedBundle, now: float) -> int | None:
        """The bundle's finalizer was called; the answer is an offset to commit, if there is one."""
        if bundle.history != self._history:
            return None
        self.covered_at = now
        safe = None
        if bundle.ended_at > self._round_began_at:
            safe = self._reached
            if isfinite(self._round_began_at):
                self._round_seconds = now - self._round_began_at
            self._round_began_at = now
        self._reached = max(bundle.next_offset, self._reached or 0)
        return safe

    def _spacing_at(self, now: float) -> float:
        """Finalizers come as often as checkpoints do. How often that is, the second round tells, and how
        long one has been waiting for the next.
        """
        least, most = _FINALIZER_SECONDS
        round_seconds = max(self._round_seconds, now - self.covered_at)
        return min(most, max(least, round_seconds / _FINALIZERS_A_ROUND))
