"""Property tests here measure correctness, not speed: on a busy machine a deadline would fail by chance.

`HYPOTHESIS_MAX_EXAMPLES=2000 pytest tests/pipeline` searches longer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from pipeline.live_streams import Runtime

settings.register_profile(
    "pipeline", deadline=None, max_examples=int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "50"))
)
settings.load_profile("pipeline")


@pytest.fixture
def process() -> Iterator[Runtime]:
    """A runtime of its own; at the end its sessions are given up and its loop stops."""
    own = Runtime()
    yield own
    stop(own)


def stop(process: Runtime) -> None:
    """Give up every session, wait for its stream's tasks, end the loop."""
    for key in list(process._sessions):
        process.remove(key)

    async def settle() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 10)

    asyncio.run_coroutine_threadsafe(settle(), process.loop).result(15)
    process.loop.call_soon_threadsafe(process.loop.stop)
