"""One OpenTelemetry span for each stream of the service, as the child of the audio's trace.

Off unless the worker's environment names where spans go, by the standard variables
(`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`); all others of the SDK hold too. Only
then anything of OpenTelemetry is imported, and it has to be there (`pip install 'medstream[otel]'`).

Names and attributes follow the semantic conventions for AWS SDK clients and for messaging. No attribute says
which session it was: `medstream.stream_id` is the stream's own random id, which the finals carry.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from connectors.transcribe.errors import TranscribeError
from pipeline.elements import AudioFormat
from pipeline.engine.commands import StreamOver
from pipeline.worker.service import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_LOG = logging.getLogger(__name__)

SERVICE, METHOD = "Transcribe Streaming", "StartMedicalStreamTranscription"
DROPPED = "dropped"
"""The end of a stream whose session moved to another worker, or was restored to an earlier state."""

Place = tuple[str, int]
"""Topic and partition."""
TraceHeaders = Mapping[str, bytes]
"""`traceparent` and `tracestate` (W3C Trace Context), as far as the record had them."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class StreamSpan(Protocol):
    """The span of one stream."""

    def opened(self, stream_id: str, request_id: str | None) -> None:
        """The service accepted it."""

    def end(self, over: StreamOver | None) -> None:
        """The stream is over, None: given up with its session. Only the first call counts."""


class StreamSpans(Protocol):
    """Makes the spans of a process."""

    def begin(
        self, service: ServiceSettings, audio: AudioFormat, place: Place, parent: TraceHeaders, /
    ) -> StreamSpan:
        """A stream is asked for. `place`: where its audio comes from; `parent`: that audio's trace."""


class _Nothing:
    """Where nobody wants spans: all of them, and each."""

    def begin(
        self, _service: ServiceSettings, _audio: AudioFormat, _place: Place, _parent: TraceHeaders, /
    ) -> StreamSpan:
        return self

    def opened(self, stream_id: str, request_id: str | None) -> None:
        pass

    def end(self, over: StreamOver | None) -> None:
        pass


_NOTHING = _Nothing()
NO_SPAN: StreamSpan = _NOTHING

_spans: list[StreamSpans] = []
_lock = threading.Lock()


def stream_spans() -> StreamSpans:
    """The process's spans; without OpenTelemetry, or without a place to send them to, they are none."""
    if not _spans:
        with _lock:
            if not _spans:
                _spans.append(_make(os.environ))
    return _spans[0]


def _make(environment: Mapping[str, str]) -> StreamSpans:
    if not _wanted(environment):
        return _NOTHING
    try:
        return TracedStreams(_tracer(environment))
    except ImportError:
        _LOG.warning("No spans are sent: OpenTelemetry is missing (pip install 'medstream[otel]')")
        return _NOTHING


def _wanted(environment: Mapping[str, str]) -> bool:
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporters = (environment.get("OTEL_TRACES_EXPORTER") or "otlp").replace(" ", "").split(",")
    return not disabled and "otlp" in exporters and any(environment.get(name) for name in _ENDPOINTS)


def _tracer(environment: Mapping[str, str]) -> Tracer:
    """The SDK with an exporter by OTLP over HTTP, both set up by their own environment variables."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "medstream"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("medstream")


class TracedStreams:
    """Spans by a tracer of OpenTelemetry."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(
        self, service: ServiceSettings, audio: AudioFormat, place: Place, parent: TraceHeaders, /
    ) -> StreamSpan:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = {name: value.decode("ascii", "replace") for name, value in parent.items()}
        topic, partition = place
        attributes: dict[str, str | int] = {
            "rpc.system": "aws-api",
            "rpc.service": SERVICE,
            "rpc.method": METHOD,
            "cloud.region": service.region,
            "messaging.system": "kafka",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "medstream.sample_rate_hertz": audio.sample_rate_hertz,
            "medstream.channels": audio.channels,
            **_server(service),
        }
        span = self._tracer.start_span(
            f"{SERVICE}.{METHOD}",
            context=TraceContextTextMapPropagator().extract(headers),
            kind=SpanKind.CLIENT,
            attributes=attributes,
        )
        return _TracedStream(span)


class _TracedStream:
    def __init__(self, span: Span) -> None:
        self._span = span
        self._ended = False

    def opened(self, stream_id: str, request_id: str | None) -> None:
        self._span.set_attribute("medstream.stream_id", stream_id)
        if request_id is not None:
            self._span.set_attribute("aws.request_id", request_id)
        self._span.add_event("opened")

    def end(self, over: StreamOver | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._span.set_attribute("medstream.end", DROPPED if over is None else over.cause)
        if over is not None:
            self._span.set_attribute("medstream.finals", over.finals)
            self._span.set_attribute("medstream.audio_seconds", round(over.audio_seconds, 3))
            if over.code is not None:
                self._fail(over.code)
        self._span.end()

    def _fail(self, code: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR))


def _server(service: ServiceSettings) -> dict[str, str | int]:
    try:
        endpoint = service.endpoint()
    except TranscribeError:  # the stream will say so
        return {}
    return {"server.address": endpoint.host, "server.port": endpoint.port}
