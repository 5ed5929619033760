"""One span a stream: what it says, whose child it is, how it ends; without it nothing is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from connectors.transcribe.errors import LimitExceededError
from pipeline import transforms
from pipeline.engine.commands import StreamOver
from pipeline.observability import tracing
from pipeline.observability.tracing import TracedStreams
from pipeline.worker.live_streams import Runtime
from pipeline.worker.service import ServiceSettings
from tests.fakes.transcribe_stream import ScriptedStream
from tests.pipeline.builders import (
    FORMAT,
    audio_record,
    chunk_record,
    heard_until,
    kafka_record,
    result,
    word,
)
from tests.pipeline.scenes import RESET, opened, spoken
from tests.pipeline.test_transforms import Worker

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = [("traceparent", f"00-{TRACE}-{PARENT}-01".encode()), ("tracestate", b"vendor=1")]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_spans", [TracedStreams(provider.get_tracer("test"))])
    yield exporter
    provider.shutdown()


@pytest.fixture
def stream() -> ScriptedStream:
    return ScriptedStream(request_id="request-1")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, stream: ScriptedStream, process: Runtime) -> Worker:
    monkeypatch.setattr(transforms, "runtime", lambda: process)
    return Worker(monkeypatch, stream)


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def end(worker: Worker, stream: ScriptedStream, exporter: InMemorySpanExporter) -> ReadableSpan:
    """The stream's span after the end of its session."""
    stream.ends_by_itself = False
    last = kafka_record(1, value=chunk_record(1, end_of_session=True))
    worker.process(last)
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, (result("r", word("w", 0.0, 0.15)),), None)
    worker.poll_until(lambda _outputs: exporter.get_finished_spans())
    return only(exporter)


def test_a_stream_is_one_span_with_the_conventions_attributes(
    worker: Worker, stream: ScriptedStream, exported: InMemorySpanExporter
) -> None:
    worker.process(audio_record(0))
    assert exported.get_finished_spans() == (), "it ends with the stream"
    span = end(worker, stream, exported)
    assert span.name == "Transcribe Streaming.StartMedicalStreamTranscription"
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    found = attributes(span)
    assert len(cast("str", found.pop("medstream.stream_id"))) == 36
    assert found == {
        "rpc.system": "aws-api",
        "rpc.service": "Transcribe Streaming",
        "rpc.method": "StartMedicalStreamTranscription",
        "aws.request_id": "request-1",
        "cloud.region": "us-east-1",
        "server.address": "transcribestreaming.us-east-1.amazonaws.com",
        "server.port": 443,
        "messaging.system": "kafka",
        "messaging.destination.name": "audio",
        "messaging.destination.partition.id": "0",
        "medstream.sample_rate_hertz": FORMAT.sample_rate_hertz,
        "medstream.channels": 1,
        "medstream.end": "end_of_session",
        "medstream.finals": 1,
        "medstream.audio_seconds": 0.2,
    }
    assert [event.name for event in span.events] == ["opened"]
    assert "session-1" not in span.to_json()


def test_it_is_a_child_of_the_audio_s_trace(
    worker: Worker, stream: ScriptedStream, exported: InMemorySpanExporter
) -> None:
    worker.process(kafka_record(0, value=chunk_record(0), headers=HEADERS))
    span = end(worker, stream, exported)
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.context.trace_state.get("vendor") == "1"


@pytest.mark.parametrize("header", [b"", b"nonsense", b"\xff\xfe"])
def test_a_header_that_is_no_trace_s_begins_a_new_one(
    worker: Worker, stream: ScriptedStream, exported: InMemorySpanExporter, header: bytes
) -> None:
    worker.process(kafka_record(0, value=chunk_record(0), headers=[("traceparent", header)]))
    assert end(worker, stream, exported).parent is None


def test_a_lost_stream_is_an_error_with_the_service_s_code(
    worker: Worker, stream: ScriptedStream, exported: InMemorySpanExporter
) -> None:
    worker.process(audio_record(0))
    worker.fn._runtime.loop.call_soon_threadsafe(stream.answer, LimitExceededError("too many"))
    worker.poll_until(lambda _outputs: exported.get_finished_spans())
    span = only(exported)
    found = attributes(span)
    assert span.status.status_code is StatusCode.ERROR
    assert (found["medstream.end"], found["error.type"]) == ("throttled", LimitExceededError("").code)
    assert "too many" not in span.to_json(), "codes, no messages"


def test_a_session_that_is_dropped_ends_its_span(worker: Worker, exported: InMemorySpanExporter) -> None:
    worker.process(audio_record(0))
    worker.fn._runtime.remove(worker.key)
    assert attributes(only(exported))["medstream.end"] == "dropped"
    assert only(exported).status.status_code is StatusCode.UNSET


# What the engine says of a stream's end


def over(commands: list[object]) -> StreamOver:
    (found,) = [command for command in commands if isinstance(command, StreamOver)]
    return found


def test_the_engine_says_why_a_stream_ended_and_what_it_brought() -> None:
    session = opened(20)
    session.receive_results(1, [spoken("a", 0.0, 1.0)], 1.0)
    assert over([*session.stream_failed(1, RESET, 2.0)]) == StreamOver(1, "service", 1, 2.0, RESET.code)


def test_a_stream_closed_for_a_pause_says_so() -> None:
    session = opened(2)
    session.handle_timer(60.0, source=heard_until(60.0))
    assert over([*session.stream_closed(1, 61.0)]) == StreamOver(1, "idle", 0, 0.2)


# Whether there are spans


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": ""}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "console, otlp"}, True),
    ],
)
def test_spans_are_sent_where_the_environment_says(environment: dict[str, str], wanted: bool) -> None:
    assert tracing._wanted(environment) is wanted


def test_without_the_extra_a_job_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    spans = tracing._make({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
    assert "medstream[otel]" in caplog.text
    span = spans.begin(ServiceSettings("us-east-1"), FORMAT, ("audio", 0), {})
    span.opened("stream", None)
    span.end(None)


def test_where_nobody_wants_spans_nothing_of_opentelemetry_is_imported() -> None:
    program = (
        "import sys; import pipeline.transforms; "
        "from pipeline.observability.tracing import stream_spans, NO_SPAN; "
        "assert stream_spans() is NO_SPAN; "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PATH": ""}, timeout=120)
