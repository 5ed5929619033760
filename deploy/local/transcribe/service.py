"""What the endpoint knows beyond one stream: keys, limits, faults, and which streams are open.

`admit` decides about a request the way the service does before it answers 200: signature, parameters,
quota, session id. Everything it refuses is a `ServiceFault`, which becomes an HTTP error.

A session id that is in use is refused with a ConflictException and the text users have reported ("Another
stream is in progress with the same session ID"). The service's reference says that the older stream is
terminated; the endpoint lets it live, so that a test sees one failure and not two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl
from uuid import uuid4

from connectors.transcribe.model import HEADER_PREFIX, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.presigned import header_names
from deploy.local.transcribe.audio_events import AudioEvents, PlainAudioEvents, SignedAudioEvents
from deploy.local.transcribe.authentication import Keyring, SignedHttpRequest
from deploy.local.transcribe.errors import ServiceFault, bad_request
from deploy.local.transcribe.faults import BEFORE_STREAM, Fault, FaultBook, FaultKind, FaultRule, Progress
from deploy.local.transcribe.operations import Operation, StreamParameters
from deploy.local.transcribe.recognisers import RecognitionRequest
from deploy.local.transcribe.stream import StreamSettings, TranscriptionStream

CHANNEL_IDS = ("ch_0", "ch_1")


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """The quotas of the service, shortened at will for tests.

    Attributes:
        max_streams: Streams at once (the account default is 25).
        idle_timeout_seconds: Wait for new audio.
        max_stream_seconds: Longest duration of a stream.
        one_stream_per_connection: Refuse a second stream on an HTTP/2 connection, as the guide asks; both
            Python SDKs of AWS put all streams on one.
    """

    max_streams: int = 25
    idle_timeout_seconds: float = 15.0
    max_stream_seconds: float = 14_400.0
    one_stream_per_connection: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may become a stream; the response's head is held back for `delay_seconds`."""

    stream: StreamParameters
    session_id: str
    request_id: str
    audio_events: AudioEvents
    rules: tuple[FaultRule, ...]
    connection: str
    delay_seconds: float = 0.0

    @property
    def parameters(self) -> StartMedicalStreamTranscriptionRequest:
        """The parameters that the operations share."""
        return self.stream.medical

    @property
    def channel_ids(self) -> tuple[str | None, ...]:
        """The channels that are recognised; one without a name unless channels are identified."""
        return CHANNEL_IDS if self.parameters.enable_channel_identification else (None,)

    @property
    def recognition_request(self) -> RecognitionRequest:
        """What a recogniser needs to know."""
        return RecognitionRequest(self.parameters.media_sample_rate_hertz, self.parameters.vocabulary_name)

    def response_headers(self) -> list[tuple[str, str]]:
        """The headers of the 200: the request's parameters echoed, flags also when false, and the ids."""
        parameters = self.parameters
        echoed = {
            f"{HEADER_PREFIX}show-speaker-label": str(parameters.show_speaker_label).lower(),
            f"{HEADER_PREFIX}enable-channel-identification": str(
                parameters.enable_channel_identification
            ).lower(),
            **self.stream.echoed,
            f"{HEADER_PREFIX}session-id": self.session_id,
        }
        ids = [("x-amzn-request-id", self.request_id), ("x-amzn-requestid", self.request_id)]
        return [("content-type", "application/vnd.amazon.eventstream"), *ids, *echoed.items()]

    def upgrade_headers(self, location: str) -> list[tuple[str, str]]:
        """The headers of a WebSocket's 101, by the developer guide; `location` without the secret query."""
        return [
            ("x-amzn-RequestId", self.request_id),
            ("x-amzn-SessionId", self.session_id),
            ("websocket-location", location),
            ("Strict-Transport-Security", "max-age=31536000"),
        ]


@dataclass(slots=True)
class TranscribeService:
    """Admits requests and counts streams; all methods are called from one thread."""

    keyring: Keyring
    limits: ServiceLimits
    faults: FaultBook = field(default_factory=FaultBook)
    new_id: Callable[[], str] = field(default=lambda: str(uuid4()))
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    streams: dict[str, TranscriptionStream] = field(default_factory=dict)
    vocabulary_names: dict[str, str | None] = field(default_factory=dict)
    connections: set[str] = field(default_factory=set)

    def admit(
        self, operation: Operation, request: SignedHttpRequest, now_ms: int, connection: str = ""
    ) -> Admission:
        """Check a request for `operation` that came over `connection` (any name); raises `ServiceFault`."""
        audio_events = self._authenticate(operation, request, now_ms)
        stream = operation.read(_parameters(operation, request))
        rules = self.faults.rules_for_new_stream(stream.medical.vocabulary_name)
        self._refuse_if_told(rules)
        self._check_room(stream.medical.session_id)
        self._check_connection(connection)
        later = tuple(rule for rule in rules if rule.fault.kind not in BEFORE_STREAM)
        session_id = stream.medical.session_id or self.new_id()
        delay_seconds = _delay_seconds(rules)
        return Admission(stream, session_id, self.new_id(), audio_events, later, connection, delay_seconds)

    def _authenticate(self, operation: Operation, request: SignedHttpRequest, now_ms: int) -> AudioEvents:
        if operation.is_websocket:
            self.keyring.verify_presigned(request, now_ms)
            return PlainAudioEvents()
        return SignedAudioEvents(self.keyring.verify_request(request, now_ms))

    def open_stream(self, admission: Admission, now_ms: int) -> TranscriptionStream:
        """Register the stream of an admitted request; `close_stream` must follow."""
        settings = StreamSettings(
            sample_rate_hertz=admission.parameters.media_sample_rate_hertz,
            channel_ids=admission.channel_ids,
            idle_timeout_seconds=self.limits.idle_timeout_seconds,
            max_stream_seconds=self.limits.max_stream_seconds,
            show_speaker_label=admission.parameters.show_speaker_label,
            identify_phi=admission.parameters.content_identification_type == "PHI",
        )
        stream = TranscriptionStream(settings, admission.audio_events, admission.rules, self.new_id, now_ms)
        self.streams[admission.session_id] = stream
        self.vocabulary_names[admission.session_id] = admission.parameters.vocabulary_name
        self.connections.add(admission.connection)
        return stream

    def close_stream(self, admission: Admission) -> None:
        """The stream is over; its slot and session id are free."""
        self.streams.pop(admission.session_id, None)
        self.vocabulary_names.pop(admission.session_id, None)
        self.connections.discard(admission.connection)

    def inject(self, faults: list[Fault]) -> None:
        """Add fault rules, those for running streams to every stream that is open now."""
        for rule in self.faults.add(faults):
            for session_id, stream in self.streams.items():
                if rule.claims_stream(self.vocabulary_names[session_id]):
                    stream.add_fault(rule)

    def _refuse_if_told(self, rules: list[FaultRule]) -> None:
        for rule in rules:
            fault = rule.fault
            if fault.kind is FaultKind.REFUSE and rule.act_if_due(_ANY_PROGRESS):
                raise ServiceFault(fault.code, fault.message, fault.http_status)

    def _check_room(self, session_id: str | None) -> None:
        if session_id in self.streams:
            raise ServiceFault("ConflictException", "Another stream is in progress with the same session ID.")
        if len(self.streams) >= self.limits.max_streams:
            raise ServiceFault(
                "LimitExceededException",
                f"You have reached your limit of {self.limits.max_streams} concurrent streams. "
                "Wait until one has ended, then try again.",
            )

    def _check_connection(self, connection: str) -> None:
        if self.limits.one_stream_per_connection and connection in self.connections:
            raise bad_request("Only one stream is allowed per HTTP/2 connection; open a connection for each.")


_ANY_PROGRESS = Progress(float("inf"), 2**62, 2**62)  # what acts on a request waits for no audio


def _delay_seconds(rules: list[FaultRule]) -> float:
    """How long the response's head is held back."""
    late = [rule for rule in rules if rule.fault.kind is FaultKind.LATE_HEADERS]
    seconds = [
        1.0 if rule.fault.seconds is None else rule.fault.seconds
        for rule in late
        if rule.act_if_due(_ANY_PROGRESS)
    ]
    return max(seconds, default=0.0)


def _parameters(operation: Operation, request: SignedHttpRequest) -> Mapping[str, str]:
    """The parameters by header name; a WebSocket has them in its query."""
    if not operation.is_websocket:
        return request.headers
    return header_names(dict(parse_qsl(request.query, keep_blank_values=True)))
