"""The process-wide registry of live sessions, the event loop their streams live on, and the slots they share.

Beam builds, drops and rebuilds DoFn instances as it likes, so nothing live hangs on them: a worker process
has one `Runtime` with one asyncio loop in a thread, one `LiveSession` per session, and one `SharedSlots` per
job. An entry is a cache: it may be dropped at any moment, and the session is recovered from its cursor.

A session whose key has moved to another worker is touched no more; its stream, or its place among those who
wait for one, is given up after `ORPHAN_SECONDS`, and the entry with it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import defaultdict

from pipeline.engine.hearing import Hearing
from pipeline.worker.live_session import ORPHAN_SECONDS, LiveSession
from pipeline.worker.shared_slots import SharedSlots, SlotLevels

_SWEEP_SECONDS = ORPHAN_SECONDS / 4

SessionKey = tuple[str, str]  # the job's id, the session id


class Runtime:
    """The loop thread, the live sessions and the slots of this process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._sessions: dict[SessionKey, LiveSession] = {}
        self._slots: dict[str, SharedSlots] = {}
        self._heard: defaultdict[str, dict[int, Hearing]] = defaultdict(dict)
        self._lock = threading.Lock()
        thread = threading.Thread(target=self.loop.run_forever, name="medstream-streams", daemon=True)
        thread.start()
        self.loop.call_soon_threadsafe(self._sweep)

    def get(self, key: SessionKey) -> LiveSession | None:
        """The live session, touched; None when this process has none."""
        with self._lock:
            live = self._sessions.get(key)
            if live is not None:
                live.touched_at = time.monotonic()
            return live

    def put(self, key: SessionKey, live: LiveSession) -> None:
        """Make `live` the session's entry; one that stood there is dropped."""
        with self._lock:
            old = self._sessions.get(key)
            self._sessions[key] = live
        if old is not None:
            old.drop()

    def remove(self, key: SessionKey) -> None:
        """Drop the session's entry, if there is one."""
        with self._lock:
            live = self._sessions.pop(key, None)
        if live is not None:
            live.drop()

    def slots(self, job_id: str, max_live_streams: int, max_opens_per_second: float) -> SharedSlots:
        """The slots of a job in this process; the bounds are those of the first call."""
        with self._lock:
            found = self._slots.get(job_id)
            if found is None:
                found = self._slots[job_id] = SharedSlots(max_live_streams, max_opens_per_second)
            return found

    def heard(self, job_id: str) -> dict[int, Hearing]:
        """What was heard here of each partition of a job's input."""
        with self._lock:
            return self._heard[job_id]

    @property
    def live_streams(self) -> int:
        """Sessions of this process that have a stream of the service now."""
        with self._lock:
            return sum(live.streaming for live in self._sessions.values())

    def sessions(self) -> list[LiveSession]:
        """The live sessions as they are now, untouched."""
        with self._lock:
            return list(self._sessions.values())

    def slot_levels(self) -> list[SlotLevels]:
        """How the slots of each job stand now."""
        with self._lock:
            shared = list(self._slots.values())
        return [slots.levels for slots in shared]

    def _sweep(self) -> None:
        now = time.monotonic()
        with self._lock:
            orphans = [key for key, live in self._sessions.items() if live.orphaned(now)]
        for key in orphans:
            self.remove(key)
        self.loop.call_later(_SWEEP_SECONDS, self._sweep)


_runtimes: dict[int, Runtime] = {}
_runtimes_lock = threading.Lock()


def runtime() -> Runtime:
    """This process's runtime; a forked child gets its own."""
    with _runtimes_lock:
        found = _runtimes.get(os.getpid())
        if found is None:
            found = _runtimes[os.getpid()] = Runtime()
        return found
