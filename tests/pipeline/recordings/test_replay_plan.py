"""The plan of a replay: original timing, and faults that a seed repeats."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import KafkaRecord
from pipeline.errors import SettingsError
from pipeline.recordings.replay_plan import (
    PAUSE_BETWEEN_ROUNDS_SECONDS,
    Faults,
    Planned,
    ReplayOptions,
    ReplayPlan,
    names_template,
    parse_faults,
)

START_MS = 1_790_000_000_000


def recording(steps: list[tuple[int, int]]) -> list[KafkaRecord]:
    """Records of (session, milliseconds after the one before; negative: earlier)."""
    now, records = START_MS, []
    for offset, (session, step) in enumerate(steps):
        now += step
        records.append(KafkaRecord("t", 0, offset, now, 0, b"s%d" % session, b"v"))
    return records


STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(-50, 400)), max_size=40)
CHANCES = st.sampled_from([0.0, 0.2, 0.7, 1.0])
FAULTS = st.builds(Faults, CHANCES, CHANCES, CHANCES, CHANCES, st.integers(1, 5), st.floats(0, 3))


def plan(records: list[KafkaRecord], seed: int = 1, **options: object) -> list[Planned]:
    made = ReplayPlan(ReplayOptions(**options), random.Random(seed).random)  # type: ignore[arg-type]  # noqa: S311
    return list(made.round(records))


def offsets_by_session(planned: list[Planned]) -> dict[bytes | None, list[int]]:
    found = defaultdict(list)
    for one in planned:
        found[one.record.key].append(one.record.offset)
    return dict(found)


class TestTiming:
    @given(STEPS)
    def test_every_record_at_its_time_in_order(self, steps: list[tuple[int, int]]) -> None:
        records = recording(steps)
        planned = plan(records)
        assert [one.record for one in planned] == records
        newest = -1
        for one in planned:
            newest = max(newest, one.record.timestamp_ms)
            assert one.due_seconds == (newest - records[0].timestamp_ms) / 1000

    @given(STEPS, FAULTS)
    def test_time_never_goes_back(self, steps: list[tuple[int, int]], faults: Faults) -> None:
        dues = [one.due_seconds for one in plan(recording(steps), faults=faults, fan_out=2)]
        assert dues == sorted(dues)

    def test_records_without_timestamp_go_with_those_before(self) -> None:
        records = recording([(0, 0), (0, 100), (0, 100)])
        records[1] = records[1]._replace(timestamp_ms=-1)
        assert [one.due_seconds for one in plan(records)] == [0, 0, 0.2]

    def test_a_stretch_begins_at_once(self) -> None:
        records = recording([(0, 0)] + [(0, 1000)] * 9)
        planned = plan(records, first_ms=START_MS + 2500, stop_ms=START_MS + 5000)
        assert [(one.record.offset, one.due_seconds) for one in planned] == [(3, 0.5), (4, 1.5)]

    def test_rounds_follow_each_other(self) -> None:
        made = ReplayPlan(ReplayOptions(names="{session}-r{round}"), random.Random(1).random)  # noqa: S311
        records = recording([(0, 0), (1, 200)])
        first, second = list(made.round(records, 1)), list(made.round(records, 2))
        assert [one.name for one in first + second] == ["s0-r1", "s1-r1", "s0-r2", "s1-r2"]
        begins = 0.2 + PAUSE_BETWEEN_ROUNDS_SECONDS
        assert [one.due_seconds for one in second] == pytest.approx([begins, begins + 0.2])

    def test_only_the_sessions_asked_for(self) -> None:
        records = recording([(0, 0), (1, 200), (2, 200)])
        planned = plan(records, sessions=("s[12]",))
        assert [(one.record.offset, one.due_seconds) for one in planned] == [(1, 0.2), (2, 0.4)]


class TestFaults:
    @given(STEPS, FAULTS, st.integers(0, 5))
    def test_a_seed_repeats_them(self, steps: list[tuple[int, int]], faults: Faults, seed: int) -> None:
        assert plan(recording(steps), seed, faults=faults) == plan(recording(steps), seed, faults=faults)

    @given(STEPS, CHANCES, st.integers(1, 5))
    def test_reordered_loses_nothing_and_moves_little(
        self, steps: list[tuple[int, int]], chance: float, distance: int
    ) -> None:
        records = recording(steps)
        planned = plan(records, faults=Faults(reorder=chance, reorder_distance=distance))
        assert sorted(one.record.offset for one in planned) == list(range(len(records)))
        if chance < 1:
            return
        assert offsets_by_session(planned) == offsets_by_session(plan(records))  # all held, none goes by

    @given(STEPS, CHANCES)
    def test_a_stalled_session_keeps_its_order(self, steps: list[tuple[int, int]], chance: float) -> None:
        records = recording(steps)
        planned = plan(records, faults=Faults(stall=chance, stall_seconds=1))
        assert offsets_by_session(planned) == offsets_by_session(plan(records))

    def test_a_stall_holds_back_and_then_sends_all(self) -> None:
        planned = plan(recording([(0, 0)] + [(0, 300)] * 4), faults=Faults(stall=1, stall_seconds=1))
        assert [one.due_seconds for one in planned] == [1.0, 1.0, 1.0, 1.0, 2.2]

    @given(STEPS)
    def test_dropped_and_duplicated(self, steps: list[tuple[int, int]]) -> None:
        records = recording(steps)
        assert plan(records, faults=Faults(drop=1)) == []
        twice = Counter(one.record.offset for one in plan(records, faults=Faults(duplicate=1)))
        assert twice == dict.fromkeys(range(len(records)), 2)

    def test_reordered_falls_behind_later_records(self) -> None:
        rolls = iter([0.0, 0.0] + [0.9] * 9)  # the first record, by one
        made = ReplayPlan(ReplayOptions(faults=Faults(reorder=0.5)), lambda: next(rolls))
        planned = list(made.round(recording([(0, 0), (0, 100), (0, 100)])))
        assert [(one.record.offset, one.due_seconds) for one in planned] == [(1, 0.1), (0, 0.1), (2, 0.2)]
        assert made.counts["reordered"] == 1

    def test_copies_have_faults_of_their_own(self) -> None:
        records = recording([(0, 0)] + [(0, 100)] * 200)
        planned = plan(records, fan_out=2, names="{session}-c{copy}", faults=Faults(drop=0.5))
        by_name = Counter(one.name for one in planned)
        kept = {name: [p.record.offset for p in planned if p.name == name] for name in by_name}
        assert kept["s0-c1"] != kept["s0-c2"]
        assert all(60 < count < 140 for count in by_name.values())


class TestParsing:
    def test_faults(self) -> None:
        assert parse_faults(None) == Faults()
        assert parse_faults("drop=0.1, duplicate=1,reorder=0.2:7,stall=0.001:2.5") == Faults(
            0.1, 1, 0.2, 0.001, reorder_distance=7, stall_seconds=2.5
        )

    @pytest.mark.parametrize(
        "text", ["lose=1", "drop", "drop=2", "drop=x", "drop=0.1:3", "reorder=0.1:0", "stall=nan"]
    )
    def test_no_faults(self, text: str) -> None:
        with pytest.raises(SettingsError, match="--fault"):
            parse_faults(text)

    def test_names(self) -> None:
        assert names_template(None, fan_out=1, loop=False) is None
        assert names_template(None, fan_out=2, loop=True) == "{session}-c{copy}-r{round}"
        assert names_template("{session}", fan_out=2, loop=True) is None
        assert names_template("qa-{session}", fan_out=1, loop=False) == "qa-{session}"

    @pytest.mark.parametrize("template", ["fixed", "{session}{secret}", "{session", "{}"])
    def test_no_names(self, template: str) -> None:
        with pytest.raises(SettingsError, match="--rename-sessions"):
            names_template(template, fan_out=1, loop=False)
