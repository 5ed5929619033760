"""The error tree: what the service says becomes a class whose attributes tell what to do."""

from __future__ import annotations

import pickle

import pytest

from connectors.transcribe import errors
from connectors.transcribe.errors import (
    AccessDeniedError,
    BadRequestError,
    ConflictError,
    CredentialsExpiredError,
    IdleTimeoutError,
    IncompleteEndError,
    InternalFailureError,
    LimitExceededError,
    ParameterError,
    ServiceError,
    ServiceUnavailableError,
    SignatureExpiredError,
    StreamResetError,
    TranscribeError,
    error_from_code,
)

# exception name, message, expected class, retryable, throttling
ANSWERS = [
    ("BadRequestException", "Your audio is not what you said it is.", BadRequestError, False, False),
    (
        "BadRequestException",
        "Your request timed out because no new audio was received for 15 seconds.",
        IdleTimeoutError,
        True,
        False,
    ),
    (
        "BadRequestException",
        "Signature expired: 20200122T184650Z is now earlier than (20200122T185150Z - 5 min.)",
        SignatureExpiredError,
        True,
        False,
    ),
    (
        "BadRequestException",
        "A complete signal was sent without the preceding empty frame.",
        IncompleteEndError,
        True,
        False,
    ),
    (
        "BadRequestException",
        "Another stream is in progress with the same session ID",
        ConflictError,
        True,
        False,
    ),
    (
        "UnrecognizedClientException",
        "The security token included in the request is invalid",
        AccessDeniedError,
        False,
        False,
    ),
    (
        "ExpiredTokenException",
        "The security token included in the request is expired",
        CredentialsExpiredError,
        True,
        False,
    ),
    (
        "InvalidSignatureException",
        "Signature expired: 20200122T184650Z is now earlier than ...",
        SignatureExpiredError,
        True,
        False,
    ),
    ("LimitExceededException", "", LimitExceededError, True, True),
    ("ThrottlingException", "Rate exceeded", LimitExceededError, True, True),
    ("InternalFailureException", "", InternalFailureError, True, False),
    ("ConflictException", "", ConflictError, True, False),
    ("ServiceUnavailableException", "", ServiceUnavailableError, True, True),
    ("AccessDeniedException", "not authorized", AccessDeniedError, False, False),
]


@pytest.mark.parametrize(("name", "message", "kind", "retryable", "throttling"), ANSWERS)
def test_service_exceptions(
    name: str, message: str, kind: type[ServiceError], retryable: bool, throttling: bool
) -> None:
    error = error_from_code(name, message, http_status=400, request_id="r-1")
    assert type(error) is kind
    assert (error.retryable, error.throttling, error.fatal) == (retryable, throttling, not retryable)
    assert error.code == name
    assert error.request_id == "r-1"


@pytest.mark.parametrize(
    "name",
    [
        "LimitExceededException:http://internal.amazon.com/coral/com.amazonaws.transcribestreaming/",
        "com.amazonaws.transcribestreaming#LimitExceededException",
    ],
)
def test_namespaces_and_links_around_a_name_are_cut_off(name: str) -> None:
    error = error_from_code(name)
    assert type(error) is LimitExceededError
    assert error.code == "LimitExceededException"


@pytest.mark.parametrize(
    ("status", "retryable", "throttling"), [(400, False, False), (429, True, True), (500, True, False)]
)
def test_an_unknown_name_follows_the_status(status: int, retryable: bool, throttling: bool) -> None:
    error = error_from_code("NeverHeardOfException", "?", http_status=status)
    assert type(error) is ServiceError
    assert (error.retryable, error.throttling) == (retryable, throttling)


@pytest.mark.parametrize(("status", "kind"), [(403, AccessDeniedError), (503, ServiceUnavailableError)])
def test_an_answer_without_a_name_follows_the_status(status: int, kind: type[ServiceError]) -> None:
    assert type(error_from_code("", "", http_status=status)) is kind


def test_messages_are_bounded_and_on_one_line() -> None:
    error = error_from_code("BadRequestException", "long\n" * 1000)
    assert len(error.message) == errors.MAX_MESSAGE_CHARS
    assert "\n" not in str(error)


def test_str_says_code_message_and_request() -> None:
    error = error_from_code("ConflictException", "again", request_id="r-2")
    assert str(error) == "ConflictException: again (request id r-2)"


def all_errors(root: type[TranscribeError] = TranscribeError) -> list[type[TranscribeError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in all_errors(child))]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_and_is_in_the_tree_of_the_module(kind: type[TranscribeError]) -> None:
    error = kind("text")
    error.request_id = "r-3"
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert vars(copy) == vars(error)
    assert kind.__name__ in (errors.__doc__ or "")


def test_only_what_a_new_stream_can_cure_is_retryable() -> None:
    retryable = {kind.__name__ for kind in all_errors() if kind.retryable}
    assert not retryable & {
        "AccessDeniedError",
        "BadRequestError",
        "ConfigurationError",
        "CredentialsNotFoundError",
        "EndpointError",
        "IllegalCallError",
        "ParameterError",
        "TlsError",
        "UnknownRegionError",
    }


def test_parameter_errors_carry_their_values() -> None:
    error = ParameterError.of("Specialty", "DENTISTRY", "allowed: CARDIOLOGY", ("CARDIOLOGY",))
    assert (error.parameter, error.value, error.allowed) == ("Specialty", "DENTISTRY", ("CARDIOLOGY",))
    assert str(error) == "Specialty is 'DENTISTRY'; allowed: CARDIOLOGY"
    assert isinstance(error, ValueError)


def test_enhance_your_calm_is_throttling() -> None:
    assert StreamResetError("reset", error_code=0xB).throttling
    assert not StreamResetError("reset", error_code=0x2).throttling
