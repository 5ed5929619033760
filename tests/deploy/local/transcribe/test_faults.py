"""Fault rules: read strictly, counted exactly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.local.transcribe.errors import FaultError
from deploy.local.transcribe.faults import (
    Fault,
    FaultBook,
    FaultKind,
    Progress,
    load_faults,
    parse_fault,
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
        ({"kind": "reset", "after_audio_seconds": -1}, "below 0"),
        ({"kind": "reset", "running": 1}, "running: a value of type int"),
        ({"kind": "refuse", "http_status": 200}, "no HTTP error status"),
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
    path.write_text('{"kind": "x"}')
    with pytest.raises(FaultError, match=r"faults\.json: kind"):
        load_faults(path)
    path.write_text('[{"kind": "stall"}]')
    assert load_faults(path) == [Fault(FaultKind.STALL)]


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


def test_cleared_rules_do_not_act_any_more() -> None:
    book = FaultBook()
    book.add([Fault(FaultKind.RESET), Fault(FaultKind.RESET, times=None)])
    once, always = book.rules_for_new_stream(None)
    book.clear()
    assert not once.act_if_due(Progress(1.0, partials=1))
    assert not always.act_if_due(Progress(1.0, partials=1))
    assert book.to_json_list() == []
