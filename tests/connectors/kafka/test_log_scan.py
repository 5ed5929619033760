"""One pass serves every request as if it had been read alone, whatever the log looks like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.log_scan import Done, LogScan, LogSlice, SliceRequest
from connectors.kafka.records import KafkaRecord

KEYS = [b"a", b"b", b"c"]


def record(offset: int, key: bytes, size: int = 1) -> KafkaRecord:
    return KafkaRecord("t", 0, offset, 0, 0, key, b"x" * size)


@dataclass(frozen=True)
class Log:
    """Records with holes between them, as compaction and transaction markers leave."""

    records: list[KafkaRecord]
    start: int
    end: int


@st.composite
def logs(draw: st.DrawFn) -> Log:
    start = draw(st.integers(0, 10))
    offsets = sorted(draw(st.sets(st.integers(start, start + 40), max_size=30)))
    records = [record(offset, draw(st.sampled_from(KEYS)), draw(st.integers(0, 5))) for offset in offsets]
    end = (offsets[-1] + 1 if offsets else start) + draw(st.integers(0, 3))
    return Log(records, start, end)


REQUESTS = st.builds(
    lambda key, start, length, size: SliceRequest(key, start, start + length, size),
    *(st.sampled_from(KEYS), st.integers(0, 50), st.integers(0, 50), st.integers(1, 20)),
)


def run(log: Log, requests: list[SliceRequest], later: Iterable[tuple[int, SliceRequest]] = ()) -> list[Done]:
    """The scan as its shell drives it: seek to `position`, offer what is there, then the end of the log."""
    scan = LogScan()
    done = scan.add(requests, log.start, log.end)
    waiting = list(later)
    for _ in range(1000):
        for after, request in list(waiting):
            if after <= scan.position and scan.accepts(request):
                waiting.remove((after, request))
                done += scan.add([request], log.start, log.end)
        if not scan.active:
            return done
        following = next((item for item in log.records if item.offset >= scan.position), None)
        done += scan.offer(following) if following is not None else scan.advance(log.end)
    raise AssertionError("the scan does not end")


def alone(log: Log, request: SliceRequest) -> LogSlice:
    """What a reader of this request alone must get, by the definition."""
    lost_to = min(log.start, request.end_offset)
    lost = (request.start_offset, lost_to) if request.start_offset < lost_to else None
    start = lost[1] if lost else request.start_offset
    wanted = [
        item for item in log.records if start <= item.offset < request.end_offset and item.key == request.key
    ]
    taken: list[KafkaRecord] = []
    for item in wanted:
        if taken and sum(len(t.value or b"") for t in taken) + len(item.value or b"") > request.max_bytes:
            return LogSlice(tuple(taken), item.offset, False, lost)
        taken.append(item)
    reached = request.end_offset if request.end_offset <= log.end else max(start, log.end)
    return LogSlice(tuple(taken), reached, reached >= request.end_offset, lost)


@given(logs(), st.lists(REQUESTS, max_size=6))
def test_each_gets_what_it_would_get_alone(log: Log, requests: list[SliceRequest]) -> None:
    done = run(log, requests)
    assert len(done) == len(requests)
    for request, piece in done:
        assert piece == alone(log, request)


@given(logs(), REQUESTS, st.lists(st.tuples(st.integers(0, 50), REQUESTS), max_size=4))
def test_a_request_that_joins_gets_the_same(
    log: Log, first: SliceRequest, later: list[tuple[int, SliceRequest]]
) -> None:
    for request, piece in run(log, [first], later):
        assert piece == alone(log, request)


@given(logs(), REQUESTS)
def test_following_next_offset_collects_everything(log: Log, request: SliceRequest) -> None:
    collected: list[KafkaRecord] = []
    rest = request
    for _ in range(100):
        [(_, piece)] = run(log, [rest])
        collected += piece.records
        if piece.complete or piece.next_offset >= log.end:
            break
        assert piece.next_offset > rest.start_offset
        rest = SliceRequest(request.key, piece.next_offset, request.end_offset, request.max_bytes)
    expected = alone(log, SliceRequest(request.key, request.start_offset, request.end_offset, 10**9))
    assert collected == list(expected.records)


def test_a_stretch_that_nobody_wants_is_skipped() -> None:
    scan = LogScan()
    scan.add([SliceRequest(b"a", 5, 10, 99), SliceRequest(b"b", 1000, 1010, 99)], 0, 2000)
    assert scan.position == 5
    assert [piece.complete for _, piece in scan.advance(10)] == [True]
    assert scan.position == 1000


def test_retention_overtaking_the_scan_is_reported() -> None:
    begun, waiting = SliceRequest(b"a", 0, 9, 99), SliceRequest(b"a", 5, 30, 99)
    gone = SliceRequest(b"a", 6, 8, 99)
    scan = LogScan()
    scan.add([begun, waiting, gone], 0, 100)
    scan.offer(record(3, b"a"))
    done = {id(request): piece for request, piece in scan.lose_until(20)}
    assert done[id(begun)] == LogSlice((record(3, b"a"),), 4, False)
    assert done[id(gone)] == LogSlice((), 8, True, lost=(6, 8))
    assert scan.position == 20
    [(_, piece)] = scan.advance(30)
    assert piece == LogSlice((), 30, True, lost=(5, 20))


def test_a_slice_hides_its_records() -> None:
    assert "VALUE-1" not in repr(LogSlice((KafkaRecord("t", 0, 1, 0, 0, b"k", b"VALUE-1"),), 2, True))
