"""The faults of one stream: each kind's commands, at its moment, and what they do to the commands after."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.errors import ChecksumError
from connectors.transcribe.eventstream import MessageDecoder
from deploy.local.transcribe.commands import (
    Command,
    Disconnect,
    EndResponse,
    FinalSent,
    FinishRecognition,
    GoAway,
    PauseReading,
    Recognise,
    ResetStream,
    Send,
    SplitSends,
)
from deploy.local.transcribe.errors import ServiceFault
from deploy.local.transcribe.faults import BEFORE_STREAM, Fault, FaultKind, FaultRule, Progress
from deploy.local.transcribe.results import EMPTY_TRANSCRIPT_EVENT
from deploy.local.transcribe.stream_faults import StreamFaults, end_with

NOW_MS = 1_000_000
EVENT = Send(EMPTY_TRANSCRIPT_EVENT)
FINAL = FinalSent("id", 1.0, 1.5)
SOON = Progress(1.0, 10, 1)


def faults(*rules: Fault) -> StreamFaults:
    return StreamFaults([FaultRule(rule) for rule in rules])


def struck(kind: FaultKind, **fields: Any) -> tuple[StreamFaults, list[Command]]:
    """A stream's faults after the one of this kind has acted, and its commands as they are carried out."""
    stream = faults(Fault(kind, **fields))
    return stream, stream.alter(stream.act(SOON, NOW_MS))


# Each kind ------------------------------------------------------------------------------------------------


def test_exception_sends_it_and_ends() -> None:
    stream, commands = struck(FaultKind.EXCEPTION, code="ConflictException", message="m")
    send, end = commands
    assert isinstance(send, Send)
    (message,) = MessageDecoder().receive_data(send.data)
    assert message.headers[":exception-type"] == "ConflictException"
    assert json.loads(message.payload) == {"Message": "m"}
    assert end == EndResponse("ConflictException")
    assert stream.ended


def test_the_exception_of_a_fault_of_the_service_is_the_same() -> None:
    _, commands = struck(FaultKind.EXCEPTION, code="ConflictException", message="m")
    assert commands == end_with(ServiceFault("ConflictException", "m"))


def test_clean_end_only_ends() -> None:
    stream, commands = struck(FaultKind.CLEAN_END)
    assert commands == [EndResponse("fault: clean_end", at_once=True)]
    assert stream.ended


def test_truncate_ends_within_a_message() -> None:
    stream, (send, end) = struck(FaultKind.TRUNCATE)
    assert isinstance(send, Send)
    decoder = MessageDecoder()
    assert decoder.receive_data(send.data) == []
    assert not decoder.at_boundary
    assert end == EndResponse("fault: truncate", at_once=True)
    assert stream.ended


@pytest.mark.parametrize(
    ("kind", "command"),
    [(FaultKind.RESET, ResetStream()), (FaultKind.DISCONNECT, Disconnect())],
)
def test_reset_and_disconnect_end_without_a_word(kind: FaultKind, command: Command) -> None:
    stream, commands = struck(kind)
    assert commands == [command]
    assert stream.ended


def test_goaway_and_split_let_the_stream_go_on() -> None:
    for kind, fields, command in (
        (FaultKind.GOAWAY, {}, GoAway(0)),
        (FaultKind.GOAWAY, {"error_code": 11}, GoAway(11)),
        (FaultKind.SPLIT, {}, SplitSends(1)),
        (FaultKind.SPLIT, {"piece_bytes": 7}, SplitSends(7)),
    ):
        stream, commands = struck(kind, **fields)
        assert commands == [command]
        assert not stream.ended
        assert stream.alter([EVENT, FINAL]) == [EVENT, FINAL]


@pytest.mark.parametrize(("seconds", "expected"), [(None, 1.0), (0, 0), (2.5, 2.5)])
def test_slow_read_pauses_behind_each_piece_of_audio(seconds: float | None, expected: float) -> None:
    stream = faults(Fault(FaultKind.SLOW_READ, seconds=seconds))
    assert stream.pause() == []
    assert stream.act(SOON, NOW_MS) == []
    assert stream.pause() == stream.pause() == [PauseReading(expected)]
    assert not stream.ended


def test_bad_crc_falsifies_one_event_and_leaves_the_rest() -> None:
    stream, commands = struck(FaultKind.BAD_CRC)
    assert commands == []
    assert not stream.ended
    final, first, second = stream.alter([FINAL, EVENT, EVENT])
    assert isinstance(first, Send)
    with pytest.raises(ChecksumError):
        MessageDecoder().receive_data(first.data)
    assert len(first.data) == len(EVENT.data)
    assert (final, second) == (FINAL, EVENT)


def test_bad_crc_waits_for_the_event_after_its_moment() -> None:
    """`after_partials: 2` lets the second partial pass, also where both come at once."""
    stream = faults(Fault(FaultKind.BAD_CRC, after_partials=2))
    commands: list[Command] = []
    for partials in (1, 2):
        commands += [EVENT, *stream.act(Progress(partials=partials), None)]
    first, second, third = stream.alter([*commands, EVENT])
    assert (first, second) == (EVENT, EVENT)
    assert third != EVENT


# A stall --------------------------------------------------------------------------------------------------


def test_a_stall_holds_back_what_is_sent_and_lets_audio_in() -> None:
    stream, commands = struck(FaultKind.STALL, seconds=4)
    assert commands == []
    assert stream.stalled_until_ms == NOW_MS + 4000
    inward: list[Command] = [Recognise((b"ab",)), FinishRecognition(), PauseReading(1.0)]
    assert stream.alter([EVENT, inward[0], FINAL, inward[1], EndResponse("complete"), inward[2]]) == inward
    assert stream.release_if_due(NOW_MS + 3999) == []
    assert stream.release_if_due(NOW_MS + 4000) == [EVENT, FINAL, EndResponse("complete")]
    assert stream.stalled_until_ms is None
    assert stream.release_if_due(NOW_MS + 5000) == []
    assert stream.alter([EVENT]) == [EVENT]


def test_a_second_stall_holds_back_what_is_its_own() -> None:
    stream = faults(
        Fault(FaultKind.STALL, seconds=1), Fault(FaultKind.STALL, after_audio_events=20, seconds=1)
    )
    stream.act(SOON, NOW_MS)
    stream.alter([EVENT])
    assert stream.release_if_due(NOW_MS + 1000) == [EVENT]
    stream.act(Progress(9.0, 20, 1), NOW_MS + 2000)
    stream.alter([FINAL])
    assert stream.release_if_due(NOW_MS + 3000) == [FINAL]


def test_a_stall_without_seconds_does_not_end() -> None:
    stream, _ = struck(FaultKind.STALL)
    assert stream.alter([EVENT]) == []
    assert stream.release_if_due(2**62) == []


def test_a_stall_starts_with_audio_since_a_partial_has_no_clock() -> None:
    stream = faults(Fault(FaultKind.STALL, after_partials=1, seconds=1))
    assert stream.act(Progress(partials=1), None) == []
    assert stream.stalled_until_ms is None
    stream.act(Progress(partials=1), NOW_MS)
    assert stream.stalled_until_ms == NOW_MS + 1000


def test_other_faults_wait_for_the_end_of_a_stall_too() -> None:
    stream = faults(Fault(FaultKind.STALL, seconds=1), Fault(FaultKind.RESET, after_audio_events=20))
    assert stream.alter(stream.act(SOON, NOW_MS)) == []
    assert stream.alter([EVENT, *stream.act(Progress(9.0, 20, 1), NOW_MS)]) == []
    assert stream.release_if_due(NOW_MS + 1000) == [EVENT, ResetStream()]


# Moments --------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(
        [kind for kind in FaultKind if kind not in BEFORE_STREAM and kind is not FaultKind.STALL]
    ),
    st.builds(Progress, st.floats(0, 9), st.integers(0, 9), st.integers(0, 9)),
    st.builds(Progress, st.floats(0, 9), st.integers(0, 9), st.integers(0, 9)),
)
def test_a_rule_acts_once_all_its_amounts_are_reached(
    kind: FaultKind, wanted: Progress, reached: Progress
) -> None:
    rule = FaultRule(
        Fault(
            kind,
            after_audio_seconds=wanted.audio_seconds,
            after_audio_events=wanted.audio_events,
            after_partials=wanted.partials,
        )
    )
    stream = StreamFaults([rule])
    stream.act(reached, None)
    assert rule.acted == (
        reached.audio_seconds >= wanted.audio_seconds
        and reached.audio_events >= wanted.audio_events
        and reached.partials >= wanted.partials
    )


def test_nothing_acts_on_a_stream_that_a_fault_has_ended() -> None:
    rules = [FaultRule(Fault(FaultKind.RESET)), FaultRule(Fault(FaultKind.DISCONNECT))]
    stream = StreamFaults(rules)
    assert stream.act(SOON, NOW_MS) == [ResetStream()]
    assert stream.act(SOON, NOW_MS) == []
    assert [rule.acted for rule in rules] == [1, 0]


def test_a_rule_acts_once_on_a_stream_however_often_it_may_act() -> None:
    rule = FaultRule(Fault(FaultKind.GOAWAY, times=None))
    stream = StreamFaults([rule])
    assert stream.act(SOON, NOW_MS) == [GoAway(0)]
    assert stream.act(SOON, NOW_MS) == []
    assert StreamFaults([rule]).act(SOON, NOW_MS) == [GoAway(0)]


def test_a_rule_that_came_later_acts_and_one_that_another_stream_used_up_does_not() -> None:
    stream = faults()
    rule = FaultRule(Fault(FaultKind.RESET))
    stream.add(rule)
    assert StreamFaults([rule]).act(SOON, NOW_MS) == [ResetStream()]
    assert stream.act(SOON, NOW_MS) == []
    stream.add(FaultRule(Fault(FaultKind.RESET)))
    assert stream.act(SOON, NOW_MS) == [ResetStream()]


def test_several_rules_act_in_their_order() -> None:
    stream = faults(Fault(FaultKind.SPLIT), Fault(FaultKind.GOAWAY), Fault(FaultKind.RESET))
    assert stream.act(SOON, NOW_MS) == [SplitSends(1), GoAway(0), ResetStream()]
