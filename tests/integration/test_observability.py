"""A job that is watched: workers on Flink announce themselves, a real Prometheus reads them, the dashboard's
queries find what they ask for, alerts fire when something happens, and each stream of the service is a span.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from pipeline.observability.json_logs import EXTRAS, FIELDS
from schemas.serde import SingleObjectSerde
from tests.deploy.observability.promtool import FOLDER
from tests.fakes.otlp_receiver import OtlpReceiver, attributes
from tests.integration.harness import CHUNK_SECONDS, Job, Session, marked_session, running_job
from tests.integration.prometheus import Prometheus, needs_prometheus

pytestmark = [needs_prometheus, pytest.mark.timeout(240)]

WINDOW = "1m"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01".encode()
ABSENT = 'ALERTS{alertname="MedstreamAbsent", alertstate="firing"}'
ONLY_ON_TROUBLE = {
    "medstream_kafka_source_lost_offsets_total": "a partition has the series once retention took something",
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with EndpointProcess(tmp_path_factory.mktemp("endpoint"), recogniser="markers") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("targets")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, targets: Path) -> Iterator[Prometheus]:
    found = Prometheus(tmp_path_factory.mktemp("observed") / "prometheus", targets)
    yield found
    found.close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def job(
    kafka_broker: KafkaBroker,
    flink: FlinkJobServer,
    endpoint: EndpointProcess,
    targets: Path,
    prometheus: Prometheus,
    receiver: OtlpReceiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Job]:
    options = ["--metrics-port", "0", "--metrics-targets-dir", str(targets), "--log-format", "json"]
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    directory = tmp_path_factory.mktemp("watched")
    until(lambda: prometheus.query(ABSENT), "the alert that there is no worker")
    with running_job(
        kafka_broker, flink, endpoint, directory, options=options, worker_environment=traced
    ) as job:
        yield job


@pytest.fixture(scope="module")
def played(job: Job, endpoint: EndpointProcess, prometheus: Prometheus) -> list[Session]:
    """Sessions that were watched, with a stream that broke off and a record that is no audio."""
    until(lambda: prometheus.value("count(up == 1)") >= 1, "a worker that is scraped")
    sessions = [marked_session(f"watched{number}", 5) for number in range(3)]
    endpoint.inject({"kind": "reset", "after_partials": 2})
    job.player.send_raw(b"junk", b"no audio")
    serde = SingleObjectSerde("audio_chunk")
    playing = job.player.play(sessions[1:])
    for chunk in sessions[0].chunks():
        job.player.send_raw(sessions[0].id.encode(), serde.encode(chunk), [("traceparent", TRACEPARENT)])
        time.sleep(CHUNK_SECONDS)
    playing.join()
    job.outputs.wait_ended(sessions, 120)
    endpoint.clear_faults()
    over = 'sum(medstream_sessions{state="ended"})'
    until(lambda: prometheus.value(over) == len(sessions), "the ends of the sessions in the metrics")
    until(lambda: prometheus.value("sum(medstream_finals_total)") >= 15, "the finals in the metrics")
    return sessions


def test_the_alert_that_nobody_is_there_ends_with_the_first_worker(
    played: list[Session], prometheus: Prometheus
) -> None:
    assert prometheus.query(ABSENT) == [], "it fired before there was a job"


def until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for {what}"
        time.sleep(0.25)


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, for all workers of the job."""
    panels = json.loads((FOLDER / "grafana/dashboard.json").read_text(encoding="utf-8"))["panels"]
    values = {"$job": "medstream", "$instance": ".*", "$__rate_interval": WINDOW}
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    for name, value in values.items():
        found = [query.replace(name, value) for query in found]
    return found


def test_every_query_of_the_dashboard_finds_something(played: list[Session], prometheus: Prometheus) -> None:
    queries = dashboard_queries()
    assert not any("$" in query for query in queries)
    empty = [query for query in queries if not prometheus.query(query)]
    unexpected = [query for query in empty if not any(name in query for name in ONLY_ON_TROUBLE)]
    assert unexpected == []


def test_the_figures_are_those_of_the_run(job: Job, played: list[Session], prometheus: Prometheus) -> None:
    value = prometheus.value
    segments = sum(ended["segments"] for ended in job.outputs.sessions)
    assert value("sum(medstream_finals_total)") == segments == sum(len(one.sentences) for one in played)
    assert value("sum(medstream_sessions_ended_total)") == len(played)
    assert value('sum(medstream_stream_retries_total{cause="network"})') == 1
    assert value('sum(medstream_dead_letters_total{reason="NOT_AVRO"})') == 1
    audio_seconds = sum(len(session.pcm) / 2 / session.sample_rate_hertz for session in played)
    sent_seconds = value("sum(medstream_audio_sent_seconds_total)")
    assert audio_seconds <= sent_seconds < 1.5 * audio_seconds, "and what was sent again"
    assert value("sum(medstream_audio_sent_bytes_total)") == pytest.approx(32_000 * sent_seconds)
    assert value("sum(medstream_sessions)") == len(played), "ended, and not forgotten yet"
    assert value("sum(medstream_stream_slots)") == 25
    records = sum(len(session.chunks()) for session in played) + 1
    assert value(f'sum(medstream_kafka_source_records_total{{topic="{job.topics.audio}"}})') == records
    assert value("max(medstream_checkpoint_age_seconds)") < 60
    latency = "medstream_final_latency_seconds"
    assert 0 < value(f"sum({latency}_sum) / sum({latency}_count)") < 30
    assert value("sum(medstream_kafka_source_lag_records)") == 0


def test_no_series_says_which_session(job: Job, played: list[Session], targets: Path) -> None:
    (file,) = targets.glob("medstream-*.json")
    (group,) = json.loads(file.read_text())
    assert group["labels"] == {"output_topic": job.topics.finals}
    (target,) = group["targets"]
    with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as response:
        shown = response.read().decode()
    assert job.topics.audio in shown, "as a label"
    for session in played:
        assert session.id not in shown
        assert not any(word.content in shown for word in session.words)


def test_workers_log_json_once_they_know_the_job(job: Job, played: list[Session], targets: Path) -> None:
    (file,) = targets.glob("medstream-*.json")
    pid = file.stem.rpartition("-")[2]
    (log,) = job.flink.worker_log_directory.glob(f"worker-*-{pid}.log")
    lines = log.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("{"))
    records = [json.loads(line) for line in lines[first:]]
    assert all(set(record) <= {*FIELDS, *EXTRAS} for record in records)
    (lost,) = (record for record in records if record["message"].startswith("A stream was lost"))
    assert (lost["kind"], lost["failures"], lost["level"]) == ("network", 1, "WARNING")
    assert any(record["message"].startswith("Metrics are at ") for record in records)


def test_every_stream_is_a_span_of_its_audio_s_trace(
    job: Job, played: list[Session], receiver: OtlpReceiver
) -> None:
    streams = sum(ended["streams"] for ended in job.outputs.sessions)
    until(lambda: len(receiver.spans) == streams, "the spans")
    assert {resource["service.name"] for resource in receiver.resources} == {"medstream"}
    by_stream = {attributes(span)["medstream.stream_id"]: span for span in receiver.spans}
    assert {final["stream_id"] for final in job.outputs.finals} <= set(by_stream)
    ends = [attributes(span)["medstream.end"] for span in receiver.spans]
    assert sorted(ends) == ["end_of_session"] * len(played) + ["network"]
    traced = {final["stream_id"] for final in job.outputs.finals if final["session_id"] == played[0].id}
    others = {final["stream_id"] for final in job.outputs.finals} - traced
    assert TRACE not in {by_stream[stream_id].trace_id.hex() for stream_id in others}
    assert {by_stream[stream_id].trace_id.hex() for stream_id in traced} == {TRACE}
    assert job.outputs.headers[played[0].id, 0]["traceparent"] == TRACEPARENT, "passed through"
    assert not any(session.id in str(span) for session in played for span in receiver.spans)


def test_a_killed_worker_shows_and_its_successor_takes_its_place(
    job: Job, played: list[Session], prometheus: Prometheus, targets: Path
) -> None:
    (before,) = targets.glob("medstream-*.json")
    fired = 'max_over_time(ALERTS{alertname="MedstreamWorkerDown", alertstate="firing"}[1m])'
    assert prometheus.query(fired) == []
    job.kill_workers()
    until(lambda: prometheus.query(fired), "the alert about the worker")
    until(lambda: (found := list(targets.glob("medstream-*.json"))) and found != [before], "its successor")
    assert len(list(targets.glob("medstream-*.json"))) == 1, "the dead one's file is gone"
    until(lambda: prometheus.value("count(up == 1)") == 1, "its scrape")


def test_alerts_fired_for_what_happened_and_for_nothing_else(
    played: list[Session], prometheus: Prometheus
) -> None:
    found = prometheus.query('max_over_time(ALERTS{alertstate="firing"}[5m])')
    fired = {sample["metric"]["alertname"] for sample in found}
    assert "MedstreamDeadLetters" in fired
    # Before the first worker there is no target; the rest is about the kill.
    assert fired <= {
        "MedstreamDeadLetters",
        "MedstreamWorkerDown",
        "MedstreamAbsent",
        "MedstreamReconnectStorm",
        "MedstreamNotReading",
    }
