"""Faults on request: what goes wrong, on which streams, and when.

A rule is a JSON object, given in a file (`--faults`) or posted to `/_local/faults`; on the command line it is
written `--fault kind=reset,after_partials=2`:

    {"kind": "reset", "after_partials": 2}                          cut one stream within a segment
    {"kind": "exception", "code": "InternalFailureException", "after_audio_seconds": 3, "times": 2}
    {"kind": "refuse", "code": "LimitExceededException", "times": 5}
    {"kind": "stall", "after_audio_seconds": 2, "seconds": 4}

`FAULT_HELP` says what each kind does, `FIELD_HELP` what the fields mean; `medstream endpoint --help` prints
them. The rules are plain values and counters; `StreamFaults` asks them as audio and results pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from deploy.local.transcribe.errors import FaultError


class FaultKind(StrEnum):
    """What goes wrong; `FAULT_HELP` explains each."""

    REFUSE = "refuse"
    LATE_HEADERS = "late_headers"
    EXCEPTION = "exception"
    CLEAN_END = "clean_end"
    TRUNCATE = "truncate"
    BAD_CRC = "bad_crc"
    SPLIT = "split"
    STALL = "stall"
    SLOW_READ = "slow_read"
    RESET = "reset"
    GOAWAY = "goaway"
    DISCONNECT = "disconnect"


BEFORE_STREAM = (FaultKind.REFUSE, FaultKind.LATE_HEADERS)
"""Kinds that act on the request, before there is a stream."""

FAULT_HELP = {
    FaultKind.REFUSE: "answer the request with an HTTP error instead of a stream: throttling, for instance, "
    "with code=LimitExceededException (code, message, http_status). A WebSocket is upgraded and then told by "
    "an exception event, unless http_status is given",
    FaultKind.LATE_HEADERS: "answer the request only after `seconds` (default 1)",
    FaultKind.EXCEPTION: "send an exception event, then end the stream (code, message)",
    FaultKind.CLEAN_END: "end the stream early as if all was done, without the results that are due",
    FaultKind.TRUNCATE: "send half of an event-stream message, then end the stream",
    FaultKind.BAD_CRC: "falsify the checksum of the next event",
    FaultKind.SPLIT: "send every event in pieces of `piece_bytes` (default 1) from then on",
    FaultKind.STALL: "send nothing for `seconds` (absent: as long as the stream lives); audio is still read",
    FaultKind.SLOW_READ: "wait `seconds` (default 1) before each further read of audio, so that flow control "
    "holds the client",
    FaultKind.RESET: "break the stream off: HTTP/2 RST_STREAM (INTERNAL_ERROR); a WebSocket ends without a "
    "closing frame",
    FaultKind.GOAWAY: "send the connection away: HTTP/2 GOAWAY with `error_code`. The default, 0, is "
    "graceful: the stream goes on. With another code the connection closes after it. A WebSocket has only "
    "the second form: a closing frame with code 1011, or 1013 for error_code=11",
    FaultKind.DISCONNECT: "cut the TCP connection (RST), as a crashed host does",
}
FIELD_HELP = {
    "after_audio_seconds, after_audio_events, after_partials": "when it happens: once that much audio, that "
    "many AudioEvents and that many partials were processed (default 0: with the first audio)",
    "times": "how often the rule acts in all (default 1; null: always); an unreached one is not used up",
    "skip_streams": "how many matching streams are left in peace first (default 0)",
    "vocabulary_name": "only streams that name this vocabulary",
    "running": "true: the streams that are open now, instead of those to come",
    "code, message": "of the exception, or of the refusal",
    "http_status": "of the refusal, 400 to 599 (default: as the service answers `code`)",
    "seconds": "how long it lasts",
    "error_code": "HTTP/2's error code for `goaway`: 2 is INTERNAL_ERROR, for instance, 11 ENHANCE_YOUR_CALM",
    "piece_bytes": "size of the pieces for `split`",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule; `FIELD_HELP` explains the fields."""

    kind: FaultKind
    after_audio_seconds: float = 0.0
    after_partials: int = 0
    times: int | None = 1
    skip_streams: int = 0
    vocabulary_name: str | None = None
    running: bool = False
    code: str = "InternalFailureException"
    message: str = "Injected fault of the local endpoint."
    http_status: int | None = None
    seconds: float | None = None
    after_audio_events: int = 0
    error_code: int = 0
    piece_bytes: int = 1

    def to_json_dict(self) -> dict[str, Any]:
        """The rule as `parse_fault` reads it."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


LARGEST_NUMBER = 2**32 - 1
"""Of any field: what an HTTP/2 error code can be, and 136 years."""

_CODE = re.compile(r"[A-Za-z0-9_.#:/-]+")  # it is sent as a header
_TYPES: dict[str, tuple[type, ...]] = {
    "after_audio_seconds": (int, float),
    "after_partials": (int,),
    "times": (int, type(None)),
    "skip_streams": (int,),
    "vocabulary_name": (str, type(None)),
    "running": (bool,),
    "code": (str,),
    "message": (str,),
    "http_status": (int, type(None)),
    "seconds": (int, float, type(None)),
    "after_audio_events": (int,),
    "error_code": (int,),
    "piece_bytes": (int,),
}


def parse_fault(rule: object) -> Fault:
    """Read one rule; raises `FaultError` naming the field."""
    if not isinstance(rule, Mapping):
        raise FaultError("a fault rule is a JSON object")
    values = dict(rule)
    kind = values.pop("kind", None)
    if kind not in list(FaultKind):
        raise FaultError(f"kind: one of {', '.join(FaultKind)} is needed")
    for name, value in values.items():
        _check_field(name, value)
    fault = Fault(FaultKind(kind), **values)
    if fault.running and fault.kind in BEFORE_STREAM:
        raise FaultError(f"running: {fault.kind} acts on requests, not on streams that are open")
    return fault


def _check_field(name: str, value: object) -> None:
    if name not in _TYPES:
        raise FaultError(f"{name}: no such field; there are kind, {', '.join(_TYPES)}")
    is_bool_for_number = isinstance(value, bool) and bool not in _TYPES[name]
    if not isinstance(value, _TYPES[name]) or is_bool_for_number:
        raise FaultError(f"{name}: a value of type {type(value).__name__} cannot be used")
    if isinstance(value, int | float) and not 0 <= value <= LARGEST_NUMBER:  # NaN neither
        raise FaultError(f"{name}: 0 to {LARGEST_NUMBER} is allowed")
    if name == "code" and not _CODE.fullmatch(str(value)):
        raise FaultError("code: the name of an exception is needed, such as LimitExceededException")
    if name == "piece_bytes" and value == 0:
        raise FaultError("piece_bytes: at least 1 is needed")
    if name == "http_status" and value is not None and not (isinstance(value, int) and 400 <= value <= 599):
        raise FaultError(f"http_status: {value} is no HTTP error status (400 to 599)")


def parse_faults(document: object) -> list[Fault]:
    """Read one rule or a list of rules."""
    return [parse_fault(rule) for rule in (document if isinstance(document, list) else [document])]


def read_faults(text: str | bytes) -> list[Fault]:
    """Read the rules of a JSON text; raises `FaultError`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise FaultError("not JSON") from None
    return parse_faults(document)


def load_faults(path: Path) -> list[Fault]:
    """Read the rules of a JSON file; raises `FaultError` naming the file."""
    try:
        return read_faults(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FaultError(f"--faults {path}: {error.strerror or 'cannot be read'}") from error
    except (ValueError, FaultError) as error:
        reason = error if isinstance(error, FaultError) else "not text in UTF-8"
        raise FaultError(f"--faults {path}: {reason}") from None


def parse_fault_option(text: str) -> Fault:
    """Read a rule as the command line has it, `kind=reset,after_partials=2`; values are JSON or words."""
    rule: dict[str, Any] = {}
    for part in text.split(","):
        name, separator, value = part.partition("=")
        if not separator:
            raise FaultError(
                f"--fault {part!r}: expected field=value, for instance kind=reset,after_partials=2"
            )
        if name.strip() in rule:
            raise FaultError(f"--fault: {name.strip()} is given twice")
        rule[name.strip()] = _option_value(value.strip())
    try:
        return parse_fault(rule)
    except FaultError as error:
        raise FaultError(f"--fault: {error}") from None


def _option_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stream has come: what `after_…` is compared with."""

    audio_seconds: float = 0.0
    audio_events: int = 0
    partials: int = 0


@dataclass(slots=True)
class FaultRule:
    """A rule at work: it counts the streams it skipped and how often it acted."""

    fault: Fault
    acted: int = 0
    skipped: int = 0
    withdrawn: bool = False

    @property
    def is_spent(self) -> bool:
        """True once the rule has acted as often as it may, or was withdrawn."""
        return self.withdrawn or (self.fault.times is not None and self.acted >= self.fault.times)

    def claims_stream(self, vocabulary_name: str | None) -> bool:
        """True if the rule may act on this stream; counts the stream as skipped where it is."""
        wanted = self.fault.vocabulary_name
        if self.is_spent or wanted not in (None, vocabulary_name):
            return False
        if self.skipped < self.fault.skip_streams:
            self.skipped += 1
            return False
        return True

    def act_if_due(self, progress: Progress) -> bool:
        """Count the rule as acting if its moment has come; True if so."""
        fault = self.fault
        due = (
            progress.audio_seconds >= fault.after_audio_seconds
            and progress.audio_events >= fault.after_audio_events
            and progress.partials >= fault.after_partials
        )
        if not due or self.is_spent:
            return False
        self.acted += 1
        return True


@dataclass(slots=True)
class FaultBook:
    """All rules of the endpoint, in the order in which they were given."""

    rules: list[FaultRule] = field(default_factory=list)

    def add(self, faults: Sequence[Fault]) -> list[FaultRule]:
        """Add rules; returns those for streams that are running."""
        added = [FaultRule(fault) for fault in faults]
        self.rules += added
        return [rule for rule in added if rule.fault.running]

    def clear(self) -> None:
        """Withdraw all rules, also from the streams that already have them."""
        for rule in self.rules:
            rule.withdrawn = True
        self.rules.clear()

    def rules_for_new_stream(self, vocabulary_name: str | None) -> list[FaultRule]:
        """The rules that may act on a stream that opens now; counts the stream as skipped where it is."""
        return [rule for rule in self.rules if not rule.fault.running and rule.claims_stream(vocabulary_name)]

    def to_json_list(self) -> list[dict[str, Any]]:
        """The rules with their counters."""
        return [rule.fault.to_json_dict() | {"acted": rule.acted} for rule in self.rules]
