"""The service's clock: what a Date header teaches it, and what must not move it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.clock import MIN_SKEW_MS, ServiceClock, parse_http_date

NOW_MS = 1_795_453_475_575  # 2026-11-23T17:04:35.575Z
TEN_MINUTES_MS = 600_000


class Machine:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> ServiceClock:
    return ServiceClock(machine)


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def timezone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's time zone, which no date on the wire depends on."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


def date_at(ms: int) -> str:
    return formatdate(ms / 1000, usegmt=True)


def test_it_runs_with_the_machine_until_it_is_corrected(clock: ServiceClock, machine: Machine) -> None:
    assert clock.now_ms() == NOW_MS
    machine.now_ms += 1234
    assert clock.now_ms() == NOW_MS + 1234


@pytest.mark.parametrize("ahead_ms", [TEN_MINUTES_MS, -TEN_MINUTES_MS, 31_000, -40 * 365 * 86_400_000])
def test_a_measured_skew_is_adopted(clock: ServiceClock, machine: Machine, ahead_ms: int) -> None:
    measured_ms = clock.measure(date_at(NOW_MS + ahead_ms))
    assert clock.offset_ms == 0  # measuring alone moves nothing
    assert clock.correct(measured_ms)
    assert abs(clock.now_ms() - (NOW_MS + ahead_ms)) < 1000  # the header has whole seconds
    machine.now_ms += 5000
    assert abs(clock.now_ms() - (NOW_MS + ahead_ms + 5000)) < 1000


def test_streams_that_measured_the_same_skew_correct_it_once(clock: ServiceClock) -> None:
    """Both were answered before either failed, as streams are whose events are refused later."""
    first = clock.measure(date_at(NOW_MS + TEN_MINUTES_MS))
    second = clock.measure(date_at(NOW_MS + TEN_MINUTES_MS))
    assert clock.correct(first)
    corrected_ms = clock.now_ms()
    assert not clock.correct(second)
    assert clock.now_ms() == corrected_ms


def test_a_machine_whose_clock_was_put_right_is_believed_again(clock: ServiceClock, machine: Machine) -> None:
    clock.correct(clock.measure(date_at(NOW_MS + TEN_MINUTES_MS)))
    machine.now_ms += TEN_MINUTES_MS
    assert clock.correct(clock.measure(date_at(machine.now_ms)))
    assert abs(clock.now_ms() - machine.now_ms) < 1000


@pytest.mark.parametrize("ahead_ms", [0, MIN_SKEW_MS - 1000, 1000 - MIN_SKEW_MS])
def test_clocks_that_agree_explain_no_refusal(clock: ServiceClock, ahead_ms: int) -> None:
    assert not clock.correct(clock.measure(date_at(NOW_MS + ahead_ms)))
    assert clock.now_ms() == NOW_MS


@pytest.mark.parametrize("date", [None, "", " ", "yesterday", "Mon, 99 Nov 2026 17:04:35 GMT", "0" * 5000])
def test_no_date_moves_nothing(clock: ServiceClock, date: str | None) -> None:
    assert clock.measure(date) is None
    assert not clock.correct(clock.measure(date))
    assert clock.offset_ms == 0


@pytest.mark.usefixtures("timezone")
@pytest.mark.parametrize(
    "date",
    [
        "Mon, 23 Nov 2026 17:04:35 GMT",
        "Mon, 23 Nov 2026 17:04:35 +0000",
        "Mon, 23 Nov 2026 17:04:35 -0000",
        "Mon, 23 Nov 2026 12:04:35 -0500",
        "Monday, 23-Nov-26 17:04:35 GMT",  # obsolete, RFC 9110 section 5.6.7
        "Mon Nov 23 17:04:35 2026",
    ],
)
def test_every_form_of_an_http_date_is_in_utc(date: str) -> None:
    assert parse_http_date(date) == 1_795_453_475_000


@given(st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_dates_round_trip(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    assert parse_http_date(format_datetime(whole, usegmt=True)) == whole.timestamp() * 1000


@given(st.text() | st.text("0123456789 :,+-JanMoGT", max_size=40))
def test_any_text_is_a_date_or_none(text: str) -> None:
    parsed = parse_http_date(text)
    assert parsed is None or isinstance(parsed, int)
