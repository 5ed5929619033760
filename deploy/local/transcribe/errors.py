"""Errors of the local endpoint: what it tells a client (`ServiceFault`) and what it tells its operator.

    LocalTranscribeError
    ├── ServiceFault          answered to the client: HTTP error before the stream, exception event within it
    ├── RecogniserError       no such recogniser, or it cannot be used with these options
    ├── ScriptError           a script file cannot be used
    ├── FaultError            a fault rule cannot be used
    ├── SpeechError           the speech recogniser cannot start
    ├── CertificateError      --generate-ca cannot be done
    └── ServeError            the server cannot start (port in use, certificate)

Names, statuses and most texts of the faults are the service's own (API reference of
StartMedicalStreamTranscription, and texts that users of the service reported); none quotes audio or
transcript.
"""

from __future__ import annotations

from pathlib import Path

HTTP_STATUS_BY_CODE = {
    "BadRequestException": 400,
    "LimitExceededException": 429,
    "InternalFailureException": 500,
    "ConflictException": 409,
    "ServiceUnavailableException": 503,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "IncompleteSignatureException": 400,
    "MissingAuthenticationTokenException": 403,
    "ExpiredTokenException": 403,
    "AccessDeniedException": 403,
    "ThrottlingException": 429,
    "UnknownOperationException": 404,
}


class LocalTranscribeError(Exception):
    """Root of this package's errors."""

    retryable: bool = False


class ServiceFault(LocalTranscribeError):
    """What the service answers instead of results.

    Attributes:
        code: The exception's name on the wire.
        message: Its text.
        http_status: The status when it is answered before the stream.
        insists_on_status: Whether a status was named, so that a WebSocket's upgrade is refused with it.
    """

    def __init__(self, code: str, message: str, http_status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.insists_on_status = http_status is not None
        self.http_status = http_status or HTTP_STATUS_BY_CODE.get(code, 400)
        self.retryable = self.http_status >= 429


def bad_request(message: str) -> ServiceFault:
    """A `BadRequestException`, the service's answer to most mistakes."""
    return ServiceFault("BadRequestException", message)


class RecogniserError(LocalTranscribeError):
    """A recogniser that is not installed, lacks its library or is given options it cannot use."""


class ScriptError(LocalTranscribeError):
    """A script file of the scripted recogniser cannot be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"--script {path}: {reason}")
        self.path = path
        self.reason = reason


class FaultError(LocalTranscribeError):
    """A fault rule says something no stream can do."""


class SpeechError(LocalTranscribeError):
    """The speech recogniser cannot start or has stopped."""


class CertificateError(LocalTranscribeError):
    """The endpoint's own certificate authority cannot be made in a directory."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"--generate-ca {directory}: {reason.rstrip('.')}.")
        self.directory = directory
        self.reason = reason


class ServeError(LocalTranscribeError):
    """The endpoint cannot listen."""
