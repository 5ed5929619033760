"""The options of `medstream run` that bound a session or a worker, and the checks between them.

Each of them is a field of `SessionLimits` or `JobSettings`; README's table says which metric shows it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeAlias

import typer

from pipeline.engine.limits import SessionLimits
from pipeline.errors import SettingsError

CONTINUE = "continue"
_DEAD_LETTER = "dead-letter"
PANEL = "Bounds of a session and of a worker"
_SERVICE_LIMIT_SECONDS = 14_400  # of one stream; no account can raise it


def _option(text: str, environment: str, **limits: Any) -> Any:
    return typer.Option(
        help=text, envvar=f"MEDSTREAM_{environment}", callback=_finite, rich_help_panel=PANEL, **limits
    )


def _finite(value: Any) -> Any:
    """A range says nothing of `nan`, and `inf` is no moment that a timer can be set for."""
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


MaxLiveStreams: TypeAlias = Annotated[
    int,
    _option(
        "Live streams of each worker process; the account's quota is shared by all.",
        "MAX_LIVE_STREAMS",
        min=1,
    ),
]
MaxStreamOpensPerSecond: TypeAlias = Annotated[
    float,
    _option(
        "Streams that each worker process opens per second at most.", "MAX_STREAM_OPENS_PER_SECOND", min=0.1
    ),
]
MaxRetries: TypeAlias = Annotated[
    int, _option("Streams lost in a row before a session is given up.", "MAX_RETRIES", min=0)
]
IdleCloseSeconds: TypeAlias = Annotated[
    float,
    _option(
        "A stream without audio for so long is closed, and reopened later; the service allows 15 s.",
        "IDLE_CLOSE_SECONDS",
        min=0.5,
        max=14,
    ),
]
SessionTimeoutSeconds: TypeAlias = Annotated[
    float, _option("A session without audio for so long has ended.", "SESSION_TIMEOUT_SECONDS", min=1)
]
EndedRetentionSeconds: TypeAlias = Annotated[
    float,
    _option(
        "An ended session is known for so long, to recognise late chunks.", "ENDED_RETENTION_SECONDS", min=1
    ),
]
DrainTimeoutSeconds: TypeAlias = Annotated[
    float,
    _option(
        "Longest wait for the last results of a stream before it is lost.", "DRAIN_TIMEOUT_SECONDS", min=1
    ),
]
OutboundSeconds: TypeAlias = Annotated[
    float,
    _option(
        "Audio of one session waiting in memory; more is read again from Kafka.", "OUTBOUND_SECONDS", min=1
    ),
]
CatchUpRate: TypeAlias = Annotated[
    float,
    _option("Fastest sending after an interruption, times real time; 0: unlimited.", "CATCH_UP_RATE", min=0),
]
ReorderWaitSeconds: TypeAlias = Annotated[
    float,
    _option("How long a missing chunk is waited for before it is a gap.", "REORDER_WAIT_SECONDS", min=0),
]
MaxGapSeconds: TypeAlias = Annotated[
    float, _option("Silence sent for a gap; a longer one is jumped for the rest.", "MAX_GAP_SECONDS", min=0)
]
MaxSegmentSeconds: TypeAlias = Annotated[
    float,
    _option(
        "Audio without a final before its stream is replaced by another one.", "MAX_SEGMENT_SECONDS", min=10
    ),
]
StreamLimitSeconds: TypeAlias = Annotated[
    float,
    _option(
        "The service's limit of a stream's duration; streams are replaced before it.",
        "STREAM_LIMIT_SECONDS",
        min=10,
        max=_SERVICE_LIMIT_SECONDS,
    ),
]
OnSequenceRestart: TypeAlias = Annotated[
    str,
    _option(
        "When a producer counts from 0 again: continue behind a gap, or dead-letter its chunks.",
        "ON_SEQUENCE_RESTART",
    ),
]


def accepts_restart(on_sequence_restart: str) -> bool:
    """The option as a field of SessionLimits; raises SettingsError."""
    if on_sequence_restart not in (CONTINUE, _DEAD_LETTER):
        raise SettingsError(
            "--on-sequence-restart", f"{on_sequence_restart!r} is not one of {CONTINUE}, {_DEAD_LETTER}"
        )
    return on_sequence_restart == CONTINUE


def check_limits(limits: SessionLimits) -> SessionLimits:
    """The same limits; raises SettingsError where two of them cannot work together."""
    rules = (
        (
            limits.reorder_wait_seconds < limits.idle_close_seconds,
            "--reorder-wait-seconds",
            f"{limits.reorder_wait_seconds:g} is not less than --idle-close-seconds "
            f"({limits.idle_close_seconds:g}): the stream would be closed while a chunk is waited for",
        ),
        (
            limits.max_gap_seconds <= limits.outbound_seconds,
            "--max-gap-seconds",
            f"{limits.max_gap_seconds:g} is more than --outbound-seconds ({limits.outbound_seconds:g}): "
            "the silence would not fit into the buffer",
        ),
    )
    for holds, option, why in rules:
        if not holds:
            raise SettingsError(option, why)
    return limits
