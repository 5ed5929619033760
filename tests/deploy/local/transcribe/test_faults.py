"""Fault rules: read strictly, counted exactly."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from deploy.local.transcribe.errors import FaultError
from deploy.local.transcribe.faults import (
    FAULT_HELP,
    FIELD_HELP,
    Fault,
    FaultBook,
    FaultKind,
    FaultRule,
    Progress,
    load_faults,
    parse_fault,
    parse_fault_option,
    parse_faults,
)


def test_a_rule_and_a_list_of_rules_are_read() -> None:
    rule = {"kind": "reset", "after_partials": 2, "times": None}
    fault = Fault(FaultKind.RESET, after_partials=2, times=None)
    assert parse_faults(rule) == [fault]
    assert parse_faults([rule, rule]) == [fault, fault]


def test_a_rule_survives_its_json() -> None:
    fault = Fault(
        FaultKind.EXCEPTION, 1.5, 2, None, 3, "words", True, "ConflictException", "m", 409, 4.0, 7, 11, 3
    )
    assert parse_fault(json.loads(json.dumps(fault.to_json_dict()))) == fault


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ([], "JSON object"),
        ({}, "kind: one of"),
        ({"kind": "explode"}, "kind: one of"),
        ({"kind": ["reset"]}, "kind: one of"),
        ({"kind": "reset", "when": 1}, "when: no such field"),
        ({"kind": "reset", "times": "2"}, "times: a value of type str"),
        ({"kind": "reset", "times": True}, "times: a value of type bool"),
        ({"kind": "reset", "after_audio_seconds": -1}, "after_audio_seconds: 0 to 4294967295 is allowed"),
        ({"kind": "reset", "after_audio_seconds": float("nan")}, "after_audio_seconds: 0 to"),
        ({"kind": "reset", "after_audio_events": 1.5}, "after_audio_events: a value of type float"),
        ({"kind": "reset", "after_audio_events": None}, "after_audio_events: a value of type NoneType"),
        ({"kind": "stall", "seconds": float("inf")}, "seconds: 0 to"),
        ({"kind": "stall", "seconds": 10**400}, "seconds: 0 to"),
        ({"kind": "stall", "seconds": "1"}, "seconds: a value of type str"),
        ({"kind": "goaway", "error_code": 2**32}, "error_code: 0 to"),
        ({"kind": "goaway", "error_code": -1}, "error_code: 0 to"),
        ({"kind": "goaway", "error_code": True}, "error_code: a value of type bool"),
        ({"kind": "split", "piece_bytes": 0}, "piece_bytes: at least 1"),
        ({"kind": "split", "piece_bytes": None}, "piece_bytes: a value of type NoneType"),
        ({"kind": "exception", "code": "two\nlines"}, "code: the name of an exception"),
        ({"kind": "exception", "code": ""}, "code: the name of an exception"),
        ({"kind": "reset", "running": 1}, "running: a value of type int"),
        ({"kind": "refuse", "http_status": 200}, "no HTTP error status"),
        ({"kind": "refuse", "http_status": 600}, "no HTTP error status"),
        ({"kind": "refuse", "running": True}, "running: refuse acts on requests"),
        ({"kind": "late_headers", "running": True}, "running: late_headers acts on requests"),
    ],
)
def test_what_no_stream_can_do_is_refused_by_field(rule: object, reason: str) -> None:
    with pytest.raises(FaultError, match=reason):
        parse_fault(rule)


def test_a_file_is_read_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    with pytest.raises(FaultError, match=r"faults\.json: No such file"):
        load_faults(path)
    path.write_text("{")
    with pytest.raises(FaultError, match=r"faults\.json: not JSON"):
        load_faults(path)
    path.write_text("[" * 100_000)
    with pytest.raises(FaultError, match=r"faults\.json: not JSON"):
        load_faults(path)
    path.write_bytes(b"\xff")
    with pytest.raises(FaultError, match=r"faults\.json: not text in UTF-8"):
        load_faults(path)
    path.write_text('{"kind": "x"}')
    with pytest.raises(FaultError, match=r"faults\.json: kind"):
        load_faults(path)
    path.write_text('[{"kind": "stall"}]')
    assert load_faults(path) == [Fault(FaultKind.STALL)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kind=reset", Fault(FaultKind.RESET)),
        ("kind=reset,after_partials=2", Fault(FaultKind.RESET, after_partials=2)),
        (
            " kind = reset , after_audio_seconds = 1.5 ",
            Fault(FaultKind.RESET, after_audio_seconds=1.5),
        ),
        ("kind=stall,seconds=3,times=null", Fault(FaultKind.STALL, seconds=3, times=None)),
        ("kind=goaway,error_code=11", Fault(FaultKind.GOAWAY, error_code=11)),
        ("kind=split,piece_bytes=7", Fault(FaultKind.SPLIT, piece_bytes=7)),
        ("kind=stall,running=true", Fault(FaultKind.STALL, running=True)),
        (
            "kind=refuse,code=LimitExceededException,message=a=b",
            Fault(FaultKind.REFUSE, code="LimitExceededException", message="a=b"),
        ),
        ('kind="reset",vocabulary_name="12"', Fault(FaultKind.RESET, vocabulary_name="12")),
        ("kind=reset,vocabulary_name=heart", Fault(FaultKind.RESET, vocabulary_name="heart")),
    ],
)
def test_a_rule_of_the_command_line_is_read(text: str, fault: Fault) -> None:
    assert parse_fault_option(text) == fault


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected field=value"),
        ("reset", "'reset': expected field=value, for instance kind=reset,after_partials=2"),
        ("kind=reset,", "'': expected field=value"),
        ("after_partials=2", "kind: one of refuse, late_headers, exception"),
        ("kind=explode", "kind: one of"),
        ("kind=reset,when=1", "when: no such field"),
        ("kind=refuse,message=Slower, please", "' please': expected field=value"),
        ("kind=reset,vocabulary_name=12", "vocabulary_name: a value of type int"),
        ("kind=reset,after_partials=two", "after_partials: a value of type str"),
        ("kind=reset,after_partials=1,after_partials=2", "after_partials is given twice"),
        ("kind=split,piece_bytes=0", "piece_bytes: at least 1"),
        ("kind=goaway,error_code=4294967296", "error_code: 0 to 4294967295"),
        ("kind=reset,seconds=" + "[" * 100_000, "seconds: a value of type str"),
    ],
)
def test_a_wrong_rule_of_the_command_line_names_the_option_and_the_field(text: str, reason: str) -> None:
    with pytest.raises(FaultError, match=r"^--fault") as caught:
        parse_fault_option(text)
    assert reason in str(caught.value)


def test_every_kind_and_field_is_explained() -> None:
    assert set(FAULT_HELP) == set(FaultKind)
    explained = {name for names in FIELD_HELP for name in names.split(", ")}
    assert explained == {entry.name for entry in fields(Fault)} - {"kind"}


def test_a_rule_acts_as_often_as_it_may_over_all_streams() -> None:
    book = FaultBook()
    book.add([Fault(FaultKind.RESET, after_audio_seconds=1.0, times=2)])
    first, second = book.rules_for_new_stream(None), book.rules_for_new_stream(None)
    assert not first[0].act_if_due(Progress(0.9, partials=0))
    assert first[0].act_if_due(Progress(1.0, partials=0))
    assert second[0].act_if_due(Progress(5.0, partials=0))
    assert not first[0].act_if_due(Progress(5.0, partials=0))
    assert book.rules_for_new_stream(None) == []
    assert book.to_json_list()[0]["acted"] == 2


def test_a_rule_that_was_not_reached_waits_for_the_next_stream() -> None:
    book = FaultBook()
    book.add([Fault(FaultKind.RESET, after_partials=1)])
    assert not book.rules_for_new_stream(None)[0].act_if_due(Progress(10.0, partials=0))
    assert book.rules_for_new_stream(None)[0].act_if_due(Progress(0.0, partials=1))


def test_skipped_streams_vocabularies_and_running_streams_are_told_apart() -> None:
    book = FaultBook()
    assert book.add([Fault(FaultKind.RESET, skip_streams=1, vocabulary_name="heart")]) == []
    assert book.rules_for_new_stream("brain") == []
    assert book.rules_for_new_stream("heart") == []
    assert len(book.rules_for_new_stream("heart")) == 1
    (running,) = book.add([Fault(FaultKind.STALL, running=True)])
    assert running not in book.rules_for_new_stream(None)


@pytest.mark.parametrize(
    ("reached", "due"),
    [
        (Progress(1.0, 3, 2), True),
        (Progress(0.9, 3, 2), False),
        (Progress(1.0, 2, 2), False),
        (Progress(1.0, 3, 1), False),
    ],
)
def test_a_rule_waits_for_all_its_amounts(reached: Progress, due: bool) -> None:
    rule = FaultRule(Fault(FaultKind.RESET, after_audio_seconds=1.0, after_audio_events=3, after_partials=2))
    assert rule.act_if_due(reached) == due
    assert rule.acted == due


def test_cleared_rules_do_not_act_any_more() -> None:
    book = FaultBook()
    book.add([Fault(FaultKind.RESET), Fault(FaultKind.RESET, times=None)])
    once, always = book.rules_for_new_stream(None)
    book.clear()
    assert not once.act_if_due(Progress(1.0, partials=1))
    assert not always.act_if_due(Progress(1.0, partials=1))
    assert book.to_json_list() == []
