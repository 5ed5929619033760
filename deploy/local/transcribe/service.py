"""What the endpoint knows beyond one stream: keys, limits, faults, and which streams are open.

`admit` decides about a request the way the service does before it answers 200: signature, parameters,
quota, session id. Everything it refuses is a `ServiceFault`, which becomes an HTTP error.

A session id that is in use is refused with a ConflictException and the text users have reported ("Another
stream is in progress with the same session ID"). The service's reference says that the older stream is
terminated; the endpoint lets it live, so that a test sees one failure and not two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from connectors.transcribe.errors import ParameterError
from connectors.transcribe.model import HEADER_PREFIX, StartMedicalStreamTranscriptionRequest
from deploy.local.transcribe.authentication import EventVerifier, Keyring, SignedHttpRequest
from deploy.local.transcribe.errors import ServiceFault, bad_request
from deploy.local.transcribe.faults import Fault, FaultBook, FaultKind, FaultRule
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
    """

    max_streams: int = 25
    idle_timeout_seconds: float = 15.0
    max_stream_seconds: float = 14_400.0


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may become a stream."""

    parameters: StartMedicalStreamTranscriptionRequest
    session_id: str
    request_id: str
    verifier: EventVerifier
    rules: tuple[FaultRule, ...]

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
            **parameters.to_headers(),
            f"{HEADER_PREFIX}session-id": self.session_id,
        }
        ids = [("x-amzn-request-id", self.request_id), ("x-amzn-requestid", self.request_id)]
        return [("content-type", "application/vnd.amazon.eventstream"), *ids, *echoed.items()]


@dataclass(slots=True)
class TranscribeService:
    """Admits requests and counts streams; all methods are called from one thread."""

    keyring: Keyring
    limits: ServiceLimits
    faults: FaultBook = field(default_factory=FaultBook)
    new_id: Callable[[], str] = field(default=lambda: str(uuid4()))
    streams: dict[str, TranscriptionStream] = field(default_factory=dict)

    def admit(self, request: SignedHttpRequest, now_ms: int) -> Admission:
        """Check a request; raises `ServiceFault`."""
        verifier = self.keyring.verify_request(request, now_ms)
        parameters = _parameters(request.headers)
        rules = self.faults.rules_for_new_stream(parameters.vocabulary_name)
        self._refuse_if_told(rules)
        self._check_room(parameters.session_id)
        later = tuple(rule for rule in rules if rule.fault.kind is not FaultKind.REFUSE)
        session_id = parameters.session_id or self.new_id()
        return Admission(parameters, session_id, self.new_id(), verifier, later)

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
        stream = TranscriptionStream(settings, admission.verifier, admission.rules, self.new_id, now_ms)
        self.streams[admission.session_id] = stream
        return stream

    def close_stream(self, admission: Admission) -> None:
        """The stream is over; its slot and session id are free."""
        self.streams.pop(admission.session_id, None)

    def inject(self, faults: list[Fault]) -> None:
        """Add fault rules, those for running streams to every stream that is open now."""
        for rule in self.faults.add(faults):
            for stream in self.streams.values():
                stream.add_fault(rule)

    def _refuse_if_told(self, rules: list[FaultRule]) -> None:
        for rule in rules:
            fault = rule.fault
            if fault.kind is FaultKind.REFUSE and rule.act_if_due(fault.after_audio_seconds, 0):
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


def _parameters(headers: Mapping[str, str]) -> StartMedicalStreamTranscriptionRequest:
    try:
        parameters = StartMedicalStreamTranscriptionRequest.from_headers(headers)
    except ParameterError as error:
        raise bad_request(f"{error}.") from None
    if parameters.media_encoding != "pcm":
        raise bad_request(
            f"MediaEncoding is {parameters.media_encoding!r}; this local endpoint takes pcm (16-bit) only."
        )
    return parameters
