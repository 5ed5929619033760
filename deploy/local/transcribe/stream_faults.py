"""The faults of one stream: which rules are due, and what they make of the commands that follow.

Kept apart from `stream.py`, so that the stream reads as the service's behaviour and nothing else. Pure:
amounts of audio and `now_ms` go in, commands come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from connectors.transcribe.events import encode_exception
from deploy.local.transcribe.commands import (
    INWARD,
    Command,
    Disconnect,
    EndResponse,
    FalsifyNext,
    GoAway,
    PauseReading,
    ResetStream,
    Send,
    SplitSends,
)
from deploy.local.transcribe.errors import ServiceFault
from deploy.local.transcribe.faults import Fault, FaultKind, FaultRule, Progress
from deploy.local.transcribe.results import EMPTY_TRANSCRIPT_EVENT

_ENDS_STREAM = (
    FaultKind.EXCEPTION,
    FaultKind.CLEAN_END,
    FaultKind.TRUNCATE,
    FaultKind.RESET,
    FaultKind.DISCONNECT,
)


class StreamFaults:
    """The rules that may act on one stream. `ended` is True once one of them has ended it."""

    def __init__(self, rules: Iterable[FaultRule]) -> None:
        self._rules = list(rules)
        self._held_back: list[Command] = []
        self._pause_seconds: float | None = None
        self._stalled_until_ms: float | None = None
        self._falsify_next = False
        self.ended = False

    @property
    def stalled_until_ms(self) -> float | None:
        """While the stream is stalled, until when."""
        return self._stalled_until_ms

    def add(self, rule: FaultRule) -> None:
        """A further rule, from the next audio on."""
        self._rules.append(rule)

    def act(self, progress: Progress, now_ms: int | None) -> list[Command]:
        """Carry out the rules whose moment this is; without a clock (a partial), stalls wait for audio."""
        commands: list[Command] = []
        for rule in list(self._rules):
            if self.ended:
                break
            if rule.fault.kind is FaultKind.STALL and now_ms is None:
                continue
            if rule.act_if_due(progress):
                self._rules.remove(rule)
                self.ended = rule.fault.kind in _ENDS_STREAM
                commands += self._apply(rule.fault, now_ms or 0)
        return commands

    def pause(self) -> list[Command]:
        """What `slow_read` adds behind each piece of audio."""
        return [] if self._pause_seconds is None else [PauseReading(self._pause_seconds)]

    def alter(self, commands: Sequence[Command]) -> list[Command]:
        """The commands as a falsified or stalled stream carries them out."""
        altered = list(self._falsified(commands))
        if self._stalled_until_ms is None:
            return altered
        self._held_back += [command for command in altered if not isinstance(command, INWARD)]
        return [command for command in altered if isinstance(command, INWARD)]

    def release_if_due(self, now_ms: int) -> list[Command]:
        """What was held back, once the stall is over."""
        if self._stalled_until_ms is None or now_ms < self._stalled_until_ms:
            return []
        self._stalled_until_ms = None
        released, self._held_back = self._held_back, []
        return released

    def _falsified(self, commands: Iterable[Command]) -> Iterator[Command]:
        for command in commands:
            if isinstance(command, FalsifyNext):
                self._falsify_next = True
            elif self._falsify_next and isinstance(command, Send):
                self._falsify_next = False
                yield Send(command.data[:-1] + bytes((command.data[-1] ^ 1,)))  # a bit of the message CRC
            else:
                yield command

    def _apply(self, fault: Fault, now_ms: int) -> list[Command]:
        match fault.kind:
            case FaultKind.STALL:
                seconds = float("inf") if fault.seconds is None else fault.seconds
                self._stalled_until_ms = now_ms + 1000 * seconds
            case FaultKind.SLOW_READ:
                self._pause_seconds = 1.0 if fault.seconds is None else fault.seconds
            case _:
                return _commands(fault)
        return []


def _commands(fault: Fault) -> list[Command]:
    match fault.kind:
        case FaultKind.BAD_CRC:
            return [FalsifyNext()]
        case FaultKind.SPLIT:
            return [SplitSends(fault.piece_bytes)]
        case FaultKind.GOAWAY:
            return [GoAway(fault.error_code)]
        case FaultKind.EXCEPTION:
            return end_with(ServiceFault(fault.code, fault.message))
        case FaultKind.CLEAN_END:
            return [EndResponse("fault: clean_end")]
        case FaultKind.TRUNCATE:
            half = EMPTY_TRANSCRIPT_EVENT[: len(EMPTY_TRANSCRIPT_EVENT) // 2]
            return [Send(half), EndResponse("fault: truncate")]
        case FaultKind.RESET:
            return [ResetStream()]
        case FaultKind.DISCONNECT:
            return [Disconnect()]
    return []  # `refuse` and `late_headers` act before there is a stream


def end_with(fault: ServiceFault) -> list[Command]:
    """The exception event, and the end of the response after it."""
    return [Send(encode_exception(fault.code, fault.message)), EndResponse(fault.code)]
