"""Keeping native libraries quiet that write to standard error and cannot be told not to.

Such a message may quote what was heard. It goes to file descriptor 2, past Python; so from `silence` on that
descriptor leads nowhere, and what Python writes (the log, above all) goes to a copy of it.
"""

from __future__ import annotations

import logging
import os
import sys


def silence() -> None:
    """For the rest of this process; also a crash of native code then dies in silence."""
    sys.stderr.flush()
    own = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            handler.setStream(own)
    sys.stderr = own
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - the file's descriptor is what counts
        os.dup2(nowhere.fileno(), 2)
