"""Kinds of failure: what sort of trouble an error of the Transcribe client is, for whoever reports it.

The session engine decides on an error's attributes (`retryable`, `throttling`); a person, or a script that
reads an exit code, wants to know where to look. `kind_of` answers that for every error of the tree in
`connectors.transcribe.errors`.
"""

from __future__ import annotations

from enum import Enum

from connectors.transcribe.errors import (
    AccessDeniedError,
    BadRequestError,
    ConfigurationError,
    CredentialsExpiredError,
    CredentialsNotFoundError,
    LimitExceededError,
    ParameterError,
    ProtocolError,
    ServiceError,
    SignatureExpiredError,
    TlsError,
    TranscribeError,
    TransportError,
)


class FailureKind(Enum):
    """Where to look."""

    CONFIGURATION = "configuration"
    """A setting of ours: endpoint, region, certificate authorities."""
    REQUEST = "request"
    """A parameter or the audio, which the service refused or would refuse."""
    ACCESS = "access"
    """Credentials, their permissions, or the clock that signatures are dated by."""
    THROTTLED = "throttled"
    """A quota or a rate of the account."""
    NETWORK = "network"
    """The way to the service: name, connection, proxy, TLS."""
    SERVICE = "service"
    """The service itself failed, or answered what is no answer."""
    UNEXPECTED = "unexpected"
    """A defect of ours."""


_KINDS: tuple[tuple[type[TranscribeError], FailureKind], ...] = (  # the first that fits, special ones first
    (CredentialsNotFoundError, FailureKind.ACCESS),
    (AccessDeniedError, FailureKind.ACCESS),
    (CredentialsExpiredError, FailureKind.ACCESS),
    (SignatureExpiredError, FailureKind.ACCESS),
    (ConfigurationError, FailureKind.CONFIGURATION),
    (ParameterError, FailureKind.REQUEST),
    (BadRequestError, FailureKind.REQUEST),
    (LimitExceededError, FailureKind.THROTTLED),
    (TransportError, FailureKind.NETWORK),
    (TlsError, FailureKind.NETWORK),
    (ServiceError, FailureKind.SERVICE),
    (ProtocolError, FailureKind.SERVICE),
)


def kind_of(error: TranscribeError) -> FailureKind:
    """The kind of `error`; UNEXPECTED for one that a client should never meet."""
    if isinstance(error, TransportError) and error.throttling:
        return FailureKind.THROTTLED
    return next(
        (kind for error_type, kind in _KINDS if isinstance(error, error_type)), FailureKind.UNEXPECTED
    )
