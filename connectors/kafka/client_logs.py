"""kafka-python's log records: kept from saying too much, and watched for what only they tell.

The library logs requests, and so passwords and payloads, at DEBUG: its loggers are pinned at INFO or above
here, whatever the root logger says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from kafka.net.connection import KafkaConnection

from schemas.library_logs import pin


def pin_logger() -> None:
    """Keeps kafka-python's loggers at INFO or above: at DEBUG they write passwords and payloads.

    Unless someone asked for INFO, they are at WARNING: each connection is worth a dozen lines to the library.
    """
    if logging.getLogger("kafka").level == logging.NOTSET:
        logging.getLogger("kafka").setLevel(logging.WARNING)
    pin("kafka")


class Observed(logging.Handler):
    """The exceptions among the arguments of the library's log records.

    `dropped_at_login`: the last connection that was lost had answered ApiVersions and was in its SASL
    exchange. kafka-python drops the broker's refusal when it arrives together with the end of the
    connection (3.0.12, KafkaTCPTransport._read_from_sock), so on a busy machine that is all there is to see
    of a wrong password.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException] = []
        self.dropped_at_login = False

    def emit(self, record: logging.LogRecord) -> None:
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, BaseException):
                self.errors.append(argument)
            elif isinstance(argument, KafkaConnection):
                self.dropped_at_login = bool(argument.sasl_enabled and argument.broker_version)


@contextmanager
def observing() -> Iterator[Observed]:
    """What kafka-python logs while it retries; a refused login ends in a bootstrap timeout, and the cause
    is in the arguments of its log records only (3.0.12, KafkaConnectionManager._do_bootstrap and _connect).
    """
    observed = Observed()
    logger = logging.getLogger("kafka")
    logger.addHandler(observed)
    try:
        yield observed
    finally:
        logger.removeHandler(observed)
