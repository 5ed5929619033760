"""Every error of the Transcribe client has a kind, and it is the one a person would look for it under."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors.transcribe import errors
from connectors.transcribe.errors import TranscribeError
from pipeline.engine.failures import FailureKind, kind_of

CONFIGURATION, REQUEST, ACCESS = FailureKind.CONFIGURATION, FailureKind.REQUEST, FailureKind.ACCESS
THROTTLED, NETWORK, SERVICE = FailureKind.THROTTLED, FailureKind.NETWORK, FailureKind.SERVICE

KINDS = [
    (errors.EndpointError("x"), CONFIGURATION),
    (errors.RegionNotFoundError("x"), CONFIGURATION),
    (errors.UnknownRegionError("x"), CONFIGURATION),
    (errors.CredentialsNotFoundError("x"), ACCESS),
    (errors.AccessDeniedError("x"), ACCESS),
    (errors.CredentialsExpiredError("x"), ACCESS),
    (errors.SignatureExpiredError("x"), ACCESS),
    (errors.ParameterError("x"), REQUEST),
    (errors.BadRequestError("x"), REQUEST),
    (errors.IdleTimeoutError("x"), REQUEST),
    (errors.IncompleteEndError("x"), REQUEST),
    (errors.LimitExceededError("x"), THROTTLED),
    (errors.StreamResetError("x", error_code=errors.ENHANCE_YOUR_CALM), THROTTLED),
    (errors.StreamResetError("x"), NETWORK),
    (errors.ConnectError("x"), NETWORK),
    (errors.ReadTimeoutError("x"), NETWORK),
    (errors.TruncatedStreamError("x"), NETWORK),
    (errors.TlsError("x"), NETWORK),
    (errors.InternalFailureError("x"), SERVICE),
    (errors.ServiceUnavailableError("x"), SERVICE),
    (errors.ConflictError("x"), SERVICE),
    (errors.ServiceError("x", http_status=418), SERVICE),
    (errors.ChecksumError("x"), SERVICE),
    (errors.ResultFormatError("x"), SERVICE),
    (errors.IllegalCallError("x"), FailureKind.UNEXPECTED),
]


@pytest.mark.parametrize(("error", "kind"), KINDS, ids=lambda value: type(value).__name__)
def test_an_error_s_kind(error: TranscribeError, kind: FailureKind) -> None:
    assert kind_of(error) is kind


def all_errors(root: type[TranscribeError]) -> Iterator[type[TranscribeError]]:
    for found in root.__subclasses__():
        yield found
        yield from all_errors(found)


def test_only_errors_that_a_client_does_not_meet_are_unexpected() -> None:
    unexpected = {
        found for found in all_errors(TranscribeError) if kind_of(found("x")) is FailureKind.UNEXPECTED
    }
    assert unexpected == {errors.IllegalCallError, errors.AuthorizationFormatError}
