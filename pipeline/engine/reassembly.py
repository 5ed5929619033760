"""Results of one stream, put together by ResultId and laid on the session's timeline.

The service repeats a segment's partials, lets them shrink, interleaves channels and sends empty events; it
sends one final per ResultId. `Reassembler` passes each final on exactly once, remembers which segments are
still open per channel, and cuts away what an earlier stream of the session has already said (the end of the
last final emitted on that channel). Facts: transcribe-medical developer guide, streaming results, and
recorded traffic.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from math import inf

from connectors.transcribe.model import MedicalAlternative, MedicalItem, MedicalResult
from pipeline.engine.stream_clock import StreamClock

MONO = ""  # key of the only channel when results carry no ChannelId
_FINISHED_KEPT = 256  # finals remembered per stream, to drop a repeated one
_SAME_TIME_SECONDS = 0.01  # the service rounds its times to hundredths


def channel_keys(channels: int) -> tuple[str, ...]:
    """The keys that a session of so many channels has."""
    return (MONO,) if channels == 1 else tuple(f"ch_{index}" for index in range(channels))


def channel_key(result: MedicalResult) -> str:
    """The channel as a key of the cursor: its ChannelId, or "" for a single channel."""
    return result.channel_id or MONO


class Reassembler:
    """Takes the results of one stream in the order of arrival.

    `clock`: where the stream's audio lies on the session's timeline. `cuts`: by channel, up to where finals
    have been emitted already.
    """

    def __init__(self, clock: StreamClock, cuts: Mapping[str, float]) -> None:
        self._clock = clock
        self._cuts = dict(cuts)
        self.heard_seconds = 0.0
        """Up to where finals of this stream reach on any channel, those that were emitted before included."""
        self._begun: dict[str, tuple[str, float]] = {}  # by channel: ResultId and start of what has no final
        self._open: dict[str, MedicalResult] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()

    def receive(self, result: MedicalResult) -> MedicalResult | None:
        """The result on the session's timeline, or None when it says nothing new."""
        if result.result_id in self._finished:
            return None
        key = channel_key(result)
        whole, cut = place(result, self._clock), self._cuts.get(key, 0.0)
        placed = cut_before(whole, cut)
        if result.is_partial:
            self._begun[key] = result.result_id, max(whole.start_time, cut)
        else:
            self.heard_seconds = max(self.heard_seconds, whole.end_time)
            self._finish(key, result.result_id)
        if placed is None:
            return None
        if placed.is_partial:
            self._open[key] = placed
        else:
            self._cuts[key] = placed.end_time
        return placed

    def _finish(self, key: str, result_id: str) -> None:
        self._finished[result_id] = None
        while len(self._finished) > _FINISHED_KEPT:
            self._finished.popitem(last=False)
        if key in self._begun and self._begun[key][0] == result_id:
            del self._begun[key]
        open_result = self._open.get(key)
        if open_result is not None and open_result.result_id == result_id:
            del self._open[key]

    @property
    def open_results(self) -> tuple[MedicalResult, ...]:
        """The last partial of every segment that has no final yet, on the session's timeline."""
        return tuple(self._open.values())

    @property
    def open_starts(self) -> dict[str, float]:
        """By channel, where the segment begins that has no final yet.

        Also one that has shown only words which were emitted before: what it says next may follow at once.
        """
        return {key: start for key, (_, start) in self._begun.items()}


def place(result: MedicalResult, clock: StreamClock) -> MedicalResult:
    """`result` with every time moved from the stream's to the session's."""
    if clock.same:
        return result
    return replace(
        result,
        start_time=clock.start(result.start_time),
        end_time=clock.end(result.end_time),
        alternatives=tuple(_place_alternative(a, clock) for a in result.alternatives),
    )


def _place_alternative(alternative: MedicalAlternative, clock: StreamClock) -> MedicalAlternative:
    return replace(
        alternative,
        items=tuple(
            # Words come by the dozen with every partial; `replace` costs five times as much.
            MedicalItem(
                clock.start(i.start_time),
                clock.end(i.end_time),
                *(i.type, i.content, i.confidence, i.speaker, i.vocabulary_filter_match),
            )
            for i in alternative.items
        ),
        entities=tuple(
            replace(e, start_time=clock.start(e.start_time), end_time=clock.end(e.end_time))
            for e in alternative.entities
        ),
    )


def cut_before(result: MedicalResult, cut_seconds: float) -> MedicalResult | None:
    """`result` without the words that end at or before `cut_seconds`; None when nothing of it is left."""
    if result.start_time >= cut_seconds - _SAME_TIME_SECONDS:
        return result
    if result.end_time <= cut_seconds + _SAME_TIME_SECONDS:
        return None
    alternatives = tuple(_cut_alternative(a, cut_seconds) for a in result.alternatives)
    if not any(a.items for a in alternatives):
        return None
    return replace(result, start_time=cut_seconds, alternatives=alternatives)


def _cut_alternative(alternative: MedicalAlternative, cut_seconds: float) -> MedicalAlternative:
    items = tuple(i for i in alternative.items if _middle(i.start_time, i.end_time) > cut_seconds)
    if len(items) == len(alternative.items):
        return alternative
    while items and items[0].type != "pronunciation":
        items = items[1:]
    entities = tuple(e for e in alternative.entities if _middle(e.start_time, e.end_time) > cut_seconds)
    return replace(alternative, transcript=join_items(items), items=items, entities=entities)


def join_items(items: tuple[MedicalItem, ...]) -> str:
    """The text of `items` as the service writes it: words apart, punctuation attached."""
    text = ""
    for item in items:
        if item.type == "punctuation" or not text:
            text += item.content
        elif item.content:
            text += " " + item.content
    return text


def _middle(start: float, end: float) -> float:
    return (start + end) / 2


_UNHEARD_MARGIN_SECONDS = 2.0  # a channel without an open segment may be this far from its first partial


def covered_seconds(
    channels: int,
    ends: Mapping[str, float],
    open_starts: Mapping[str, float],
    heard_seconds: float = inf,
) -> float:
    """Up to where on the timeline no audio is needed any more: finals speak for all of it on every channel.

    With one channel that is the end of its last final. With two, a channel that is silent while the other
    speaks must not hold the position back for ever, so it counts as heard up to two seconds before the
    other's last final, unless a segment of its own is open. Results cut by `ends` make the overlap harmless.
    `heard_seconds`: how far the present stream's finals reach; it may have begun before the last final of one
    that was lost, and have heard nothing of the audio between yet.
    """
    if channels == 1:
        return max(ends.values(), default=0.0)
    heard = min(max(ends.values(), default=0.0), heard_seconds) - _UNHEARD_MARGIN_SECONDS
    keys = {*channel_keys(channels), *ends}
    return max(0.0, min(open_starts.get(key, max(ends.get(key, 0.0), heard)) for key in keys))
