"""A worker that kills itself, as by kill -9, just before or just after it commits what it has published.

Whoever wants that writes `before` or `after` into the file that `DEATHS_VARIABLE` names; the worker takes the
file away and dies at its next commit of a transaction or, at least once, when the finals are acknowledged and
the markers not written, or just written. Otherwise it is `detachable_worker`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from connectors.kafka.delivery import AtLeastOnce, ExactlyOnce, Message
from connectors.kafka.publisher import Publisher
from pipeline.output import shared_publishers
from tests.integration import detachable_worker

DEATHS_VARIABLE = "MEDSTREAM_TEST_DEATHS"


class MortalExactlyOnce(ExactlyOnce):
    def _commit(self) -> None:
        _die_if_wanted("before")
        super()._commit()
        _die_if_wanted("after")


class MortalAtLeastOnce(AtLeastOnce):
    def _mark(self, publisher: Publisher, markers: Sequence[Message]) -> None:
        _die_if_wanted("before")
        super()._mark(publisher, markers)
        _die_if_wanted("after")


def _die_if_wanted(moment: str) -> None:
    wish = Path(os.environ[DEATHS_VARIABLE])
    try:
        if wish.read_text() != moment:
            return
        wish.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    shared_publishers.ExactlyOnce = MortalExactlyOnce
    shared_publishers.AtLeastOnce = MortalAtLeastOnce
    detachable_worker.main()
