"""What is known of topics and partitions: nothing found twice, nothing forgotten, also across restores."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.reading.discovery import KnownTopics, matching

LISTINGS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c.d", "ü"]), st.integers(1, 5)), max_size=8)


def test_the_first_listing_is_all_new() -> None:
    assert KnownTopics().new_in({"b": 1, "a": 2}) == [("a", 0), ("a", 1), ("b", 0)]


def test_added_partitions_and_topics_are_new() -> None:
    known = KnownTopics().with_found({"a": 2})
    assert known.new_in({"a": 2}) == []
    assert known.new_in({"a": 4, "b": 1}) == [("a", 2), ("a", 3), ("b", 0)]


def test_a_topic_that_a_listing_missed_is_not_new_again() -> None:
    known = KnownTopics().with_found({"a": 2, "b": 1}).with_found({"b": 1})
    assert known.new_in({"a": 2, "b": 1}) == []


def test_that_nothing_was_found_is_known() -> None:
    assert not KnownTopics().listed
    assert KnownTopics().with_found({}).listed


@given(LISTINGS, st.data())
def test_every_partition_is_found_once_however_often_the_job_is_restored(
    listings: list[dict[str, int]], data: st.DataObject
) -> None:
    """A restore takes state and output back together to a checkpoint; the cluster does not go back."""
    known, emitted = KnownTopics(), []
    checkpoint = (known.to_bytes(), list(emitted))
    expected = set()
    for found in listings:
        if data.draw(st.booleans(), "restore"):
            known, emitted = KnownTopics.from_bytes(checkpoint[0]), list(checkpoint[1])
        emitted += known.new_in(found)
        known = known.with_found(found)
        if data.draw(st.booleans(), "checkpoint"):
            checkpoint = (known.to_bytes(), list(emitted))
    assert len(emitted) == len(set(emitted))
    expected = {(topic, number) for topic, count in known.topics for number in range(count)}
    assert set(emitted) == expected
    last = listings[-1] if listings else {}
    assert {(topic, number) for topic, count in last.items() for number in range(count)} <= set(emitted)


@given(LISTINGS)
def test_the_state_survives_its_encoding(listings: list[dict[str, int]]) -> None:
    known = KnownTopics()
    for found in listings:
        known = known.with_found(found)
    assert KnownTopics.from_bytes(known.to_bytes()) == known


def test_a_pattern_matches_whole_names() -> None:
    topics = {"audio": 1, "audio-eu": 2, "my-audio": 3, "audio-eu.dead-letters": 1}
    assert matching("audio(-..)?", topics) == {"audio": 1, "audio-eu": 2}
