"""A worker that kills itself, as by kill -9, just before or just after the commit of a transaction.

Whoever wants that writes `before` or `after` into the file that `DEATHS_VARIABLE` names; the worker takes the
file away and dies at its next commit. Otherwise it is `detachable_worker`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from connectors.kafka.delivery import ExactlyOnce
from pipeline import shared_publishers
from tests.integration import detachable_worker

DEATHS_VARIABLE = "MEDSTREAM_TEST_DEATHS"


class MortalDelivery(ExactlyOnce):
    def _commit(self) -> None:
        _die_if_wanted("before")
        super()._commit()
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
    shared_publishers.ExactlyOnce = MortalDelivery
    detachable_worker.main()
