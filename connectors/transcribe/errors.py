"""Errors of the Transcribe client: one tree, and whether a retry is safe as an attribute.

The session engine decides on attributes, never on class names or message texts:

* `retryable`: a new stream with the same audio may succeed (perhaps after a wait).
* `throttling`: the service asks for less; wait longer before the retry.
* `fatal`: the opposite of `retryable`; somebody has to change a parameter, a permission or the code.

The tree::

    TranscribeError
    ├── ServiceError                      the service answered with an exception
    │   ├── BadRequestError
    │   │   ├── IdleTimeoutError          retryable: no audio for 15 s
    │   │   ├── SignatureExpiredError     retryable: audio too far ahead, or a clock now corrected
    │   │   ├── CredentialsExpiredError   retryable: the next stream loads fresh credentials
    │   │   └── IncompleteEndError        retryable: the stream ended without the signed empty frame
    │   ├── LimitExceededError            retryable, throttling
    │   ├── InternalFailureError          retryable
    │   ├── ConflictError                 retryable: open the next stream with a new session id
    │   ├── ServiceUnavailableError       retryable
    │   └── AccessDeniedError             wrong key, signature or permission
    ├── TransportError                    all retryable: the connection or the stream broke
    │   ├── ConnectError, ConnectTimeoutError, ReadTimeoutError, WriteTimeoutError
    │   ├── ConnectionClosedError, StreamResetError, StreamRefusedError
    │   ├── StreamEndedError              audio for a stream the service has already ended
    │   ├── StreamClosedError             the caller closed the stream
    │   └── TruncatedStreamError          the response ended inside a message
    ├── TlsError                          certificate or protocol negotiation failed
    ├── ProtocolError                     retryable: the peer sent something that is no Transcribe stream
    │   ├── ResultFormatError             a transcript event of another shape than documented
    │   └── EventStreamError              a malformed event-stream message:
    │                                     ChecksumError, MessageLengthError, HeaderError
    ├── AuthorizationFormatError          met by a server: the header is not Signature Version 4
    ├── IllegalCallError                  the client was called in the wrong order
    ├── ParameterError                    a request parameter the service would refuse
    └── ConfigurationError                a setting is missing or wrong: EndpointError,
                                          RegionNotFoundError, UnknownRegionError, CredentialsNotFoundError

Service exceptions as of API version 2017-10-26 (https://docs.aws.amazon.com/transcribe/latest/APIReference/
API_streaming_StartMedicalStreamTranscription.html) plus AWS's common errors. Messages of the service are
carried, cut to `MAX_MESSAGE_CHARS`; they describe the request and hold neither audio nor transcript.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

MAX_MESSAGE_CHARS = 500


def bounded(text: str, max_chars: int = MAX_MESSAGE_CHARS) -> str:
    """`text` on one line, cut to `max_chars`, so that a peer cannot flood a log or a record."""
    line = " ".join(text.split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


class TranscribeError(Exception):
    """Root of every error this package raises; attributes say what a caller may do about it.

    `code` is the service's exception name or the class name, `request_id` the service's id of the stream
    (None before it answered).
    """

    retryable: bool = False
    throttling: bool = False

    def __init__(self, message: str = "", *, code: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).__name__
        self.request_id = request_id

    @property
    def fatal(self) -> bool:
        """True when repeating the same stream cannot help."""
        return not self.retryable

    def __str__(self) -> str:
        suffix = f" (request id {self.request_id})" if self.request_id else ""
        return f"{self.message or self.code}{suffix}"


# The service answered ----------------------------------------------------------


class ServiceError(TranscribeError):
    """The service refused or ended the stream; `code` is its exception name, `http_status` may be None."""

    default_code: ClassVar[str] = "ServiceError"

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        request_id: str | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(bounded(message), code=code or self.default_code, request_id=request_id)
        self.http_status = http_status
        if type(self) is ServiceError:  # an exception name we do not know: trust the status
            self.retryable = http_status is None or http_status >= 500 or http_status == 429
            self.throttling = http_status == 429

    def __str__(self) -> str:
        suffix = f" (request id {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.message or 'no message'}{suffix}"


class BadRequestError(ServiceError):
    """A parameter is wrong, or the audio does not fit the parameters."""

    default_code = "BadRequestException"


class IdleTimeoutError(BadRequestError):
    """No new audio for 15 seconds; the service ended the stream."""

    retryable = True


class SignatureExpiredError(BadRequestError):
    """A signature's date is over five minutes from the service's clock: sent too far ahead, or clocks differ.

    A clock that differs is corrected by the answer's date (`clock`), so the next stream fares better.
    """

    retryable = True


class CredentialsExpiredError(BadRequestError):
    """The session token expired; a new stream loads fresh credentials."""

    retryable = True
    default_code = "ExpiredTokenException"


class IncompleteEndError(BadRequestError):
    """The stream ended before its signed empty frame arrived, so the service dropped what was pending."""

    retryable = True


class LimitExceededError(ServiceError):
    """Too many streams, streams opened too fast, or the longest stream duration is reached."""

    retryable = True
    throttling = True
    default_code = "LimitExceededException"


class InternalFailureError(ServiceError):
    """The service failed while it processed the audio."""

    retryable = True
    default_code = "InternalFailureException"


class ConflictError(ServiceError):
    """Another stream began with the same session id; the next one needs a new id."""

    retryable = True
    default_code = "ConflictException"


class ServiceUnavailableError(ServiceError):
    """The service is temporarily unavailable."""

    retryable = True
    throttling = True
    default_code = "ServiceUnavailableException"


class AccessDeniedError(ServiceError):
    """The key is unknown, the signature does not match or the action is not allowed."""

    default_code = "AccessDeniedException"


# The connection broke ----------------------------------------------------------


class TransportError(TranscribeError):
    """The connection or the stream broke; the audio since the last final has to be sent again."""

    retryable = True


class ConnectError(TransportError):
    """No connection to the endpoint: name not resolved, refused, unreachable."""


class ConnectTimeoutError(ConnectError):
    """The endpoint did not accept the connection, or did not answer the request, in time."""


class ReadTimeoutError(TransportError):
    """Nothing arrived for the read timeout, not even the answer to an HTTP/2 PING."""


class WriteTimeoutError(TransportError):
    """The service did not take the audio (flow control) for the write timeout."""


class ConnectionClosedError(TransportError):
    """The connection was closed or sent away (HTTP/2 GOAWAY) before the stream had ended."""


class StreamResetError(TransportError):
    """The service reset the stream; `error_code` is HTTP/2's."""

    def __init__(self, message: str = "", *, error_code: int = 0, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.error_code = error_code
        self.throttling = error_code == ENHANCE_YOUR_CALM


class StreamRefusedError(StreamResetError):
    """The service did not process the stream at all (REFUSED_STREAM or GOAWAY below our stream)."""


class StreamEndedError(TransportError):
    """Audio was offered to a stream that the service has already ended without an error."""


class StreamClosedError(TransportError):
    """The caller closed the stream while it was in use."""


class TruncatedStreamError(TransportError):
    """The response ended inside an event-stream message."""


class TlsError(TranscribeError):
    """The certificate is not trusted or the endpoint does not speak HTTP/2 over TLS."""


ENHANCE_YOUR_CALM = 0xB  # RFC 9113 section 7


# The wire is not what it should be ---------------------------------------------


class ProtocolError(TranscribeError):
    """The peer sent something that is no Transcribe stream; retryable, since another connection may work."""

    retryable = True


class EventStreamError(ProtocolError):
    """A malformed event-stream message; the stream cannot be read any further."""


class ChecksumError(EventStreamError):
    """A CRC of the prelude or of the message does not match."""


class MessageLengthError(EventStreamError):
    """A declared length is impossible or above its limit."""


class HeaderError(EventStreamError):
    """A header is malformed, repeated, or a value cannot be encoded."""


class AuthorizationFormatError(TranscribeError):
    """An `Authorization` header or a presigned query that is not Signature Version 4 (met by a server)."""


class ResultFormatError(ProtocolError):
    """A transcript event is no JSON object of the documented shape; never carries its text."""


# The caller --------------------------------------------------------------------


class IllegalCallError(TranscribeError):
    """A method was called in a state that does not allow it; nothing has changed."""


class ParameterError(TranscribeError, ValueError):
    """A request parameter the service would refuse: which one, its value, what is allowed."""

    def __init__(
        self, message: str = "", *, parameter: str = "", value: object = None, allowed: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.value = value
        self.allowed = tuple(allowed)

    @classmethod
    def of(cls, parameter: str, value: object, rule: str, allowed: Sequence[str] = ()) -> ParameterError:
        """The error for `parameter`, with a message that says value and rule."""
        shown = bounded(repr(value), 80)
        return cls(f"{parameter} is {shown}; {rule}", parameter=parameter, value=value, allowed=allowed)


class ConfigurationError(TranscribeError):
    """Endpoint, region or credentials are missing or wrong; the message names the setting."""


class EndpointError(ConfigurationError):
    """The endpoint URL cannot be used."""


class RegionNotFoundError(ConfigurationError):
    """No region is configured."""


class UnknownRegionError(ConfigurationError):
    """Transcribe streaming is not offered in this region, or the name is misspelt."""


class CredentialsNotFoundError(ConfigurationError):
    """The credential chain found nothing, or could not refresh what it found."""


# From the wire to the tree -----------------------------------------------------

_BY_CODE: dict[str, type[ServiceError]] = {
    "BadRequestException": BadRequestError,
    "SerializationException": BadRequestError,
    "ValidationException": BadRequestError,
    "LimitExceededException": LimitExceededError,
    "ThrottlingException": LimitExceededError,
    "TooManyRequestsException": LimitExceededError,
    "InternalFailureException": InternalFailureError,
    "InternalFailure": InternalFailureError,
    "InternalServerException": InternalFailureError,
    "ConflictException": ConflictError,
    "ServiceUnavailableException": ServiceUnavailableError,
    "ServiceUnavailable": ServiceUnavailableError,
    "AccessDeniedException": AccessDeniedError,
    "UnrecognizedClientException": AccessDeniedError,
    "InvalidSignatureException": AccessDeniedError,
    "IncompleteSignatureException": AccessDeniedError,
    "IncompleteSignature": AccessDeniedError,
    "InvalidClientTokenId": AccessDeniedError,
    "MissingAuthenticationToken": AccessDeniedError,
    "MissingAuthenticationTokenException": AccessDeniedError,
    "OptInRequired": AccessDeniedError,
    "ExpiredTokenException": CredentialsExpiredError,
    "ExpiredToken": CredentialsExpiredError,
    "RequestExpired": SignatureExpiredError,
    "RequestTimeTooSkewed": SignatureExpiredError,
    "RequestInTheFuture": SignatureExpiredError,
}

# One exception class covers causes of different kinds; only the text tells them apart. The texts are those
# users of the service have reported (idle timeout, five-minute signature age, expired session token, ending).
_BY_TEXT: tuple[tuple[str, type[ServiceError]], ...] = (
    ("no new audio was received", IdleTimeoutError),
    ("signature expired", SignatureExpiredError),
    ("signature not yet current", SignatureExpiredError),
    ("security token included in the request is expired", CredentialsExpiredError),
    ("without the preceding empty frame", IncompleteEndError),
    ("another stream is in progress with the same session", ConflictError),
)
_TEXT_DECIDES = (BadRequestError, AccessDeniedError)


def error_from_code(
    name: str, message: str = "", *, http_status: int | None = None, request_id: str | None = None
) -> ServiceError:
    """The typed error for the service's exception `name` (`:exception-type` or `x-amzn-errortype`).

    `name` may carry a namespace (`prefix#Name`) or a trailing URI (`Name:http://…`), both are cut off.
    An unknown name is a plain `ServiceError` whose `retryable` follows the HTTP status.
    """
    code = name.split(":", 1)[0].rsplit("#", 1)[-1].strip() or "UnknownError"
    error_type = _BY_CODE.get(code) or _by_status(http_status)
    if issubclass(error_type, _TEXT_DECIDES):
        lowered = message.lower()
        error_type = next((kind for text, kind in _BY_TEXT if text in lowered), error_type)
    return error_type(message, code=bounded(code, 100), request_id=request_id, http_status=http_status)


def _by_status(http_status: int | None) -> type[ServiceError]:
    """The class for an answer without a known exception name (a proxy's, a load balancer's)."""
    if http_status in (401, 403):
        return AccessDeniedError
    if http_status in (502, 503, 504):
        return ServiceUnavailableError
    return ServiceError
