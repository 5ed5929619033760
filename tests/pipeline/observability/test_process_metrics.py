"""What is counted in a process, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from connectors.kafka.observers import tell
from pipeline.observability import process_metrics
from pipeline.observability.metrics import METRICS, OTHER, Kind


def values() -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and its labels' values, in the order of the labels' names."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(process_metrics.exposition())
        for sample in family.samples
    }


def test_every_series_with_closed_labels_is_there_before_anything_happens() -> None:
    names = {name for name, _ in values()}
    for metric in METRICS:
        closed = all(label.values for label in metric.labels)
        if metric.kind is Kind.COUNTER and closed and metric.name not in process_metrics.SCRAPED_COUNTERS:
            assert metric.series in names
        if metric.kind is Kind.DISTRIBUTION:
            assert f"{metric.series}_bucket" in names
    assert values()["medstream_dead_letters_total", ("LATE_CHUNK",)] >= 0


def test_what_is_counted_is_added_under_its_labels() -> None:
    before = values()
    process_metrics.count("dead_letters", 2, "LATE_CHUNK")
    process_metrics.count("gap_ms", 1500, "MISSING_SEQUENCE")
    process_metrics.count("finals")
    after = values()
    assert grown(before, after) == {
        ("medstream_dead_letters_total", ("LATE_CHUNK",)): 2,
        ("medstream_gap_seconds_total", ("MISSING_SEQUENCE",)): 1.5,
        ("medstream_finals_total", ()): 1,
    }


def test_milliseconds_become_seconds_in_a_histogram() -> None:
    before = values()
    process_metrics.record("publish_ms", 240)
    found = grown(before, values())
    assert found["medstream_publish_seconds_sum", ()] == 0.24
    assert ("medstream_publish_seconds_bucket", ("0.1",)) not in found
    assert found["medstream_publish_seconds_bucket", ("0.25",)] == 1


def test_a_text_that_is_no_label_s_value_becomes_none() -> None:
    before = values()
    for name in ("visit-17", "visit-18"):
        process_metrics.count("dead_letters", 1, name)
    process_metrics.count("dead_letters", 1)
    found = grown(before, values())
    assert found == {("medstream_dead_letters_total", (OTHER,)): 3}
    assert "visit" not in process_metrics.exposition()


def test_the_kafka_connector_s_counts_arrive_with_topic_and_partition() -> None:
    before = values()
    tell("kafka_source.records", 5, ("audio", "3"))
    tell("kafka_source.records", 2, ("audio", "3"))
    tell("kafka_source.polls", 1)
    tell("kafka_sink.records", 4)
    assert grown(before, values()) == {
        ("medstream_kafka_source_records_total", ("3", "audio")): 7,
        ("medstream_kafka_source_polls_total", ()): 1,
        ("medstream_kafka_sink_records_total", ()): 4,
    }


def grown(
    before: dict[tuple[str, tuple[str, ...]], float], after: dict[tuple[str, tuple[str, ...]], float]
) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        key: round(value - before.get(key, 0.0), 6)
        for key, value in after.items()
        if key[0].startswith("medstream_") and value != before.get(key, 0.0)
    }
