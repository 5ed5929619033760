"""A runtime of its own for each test that asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pipeline.worker.live_streams import Runtime


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
