"""The operations the endpoint serves, by path: medical and standard, each over HTTP/2 and over a WebSocket.

The medical operation is validated as `connectors.transcribe.model` says. The standard one
(StartStreamTranscription) is there for SDKs that know no other: its parameters are checked as far as the two
share them, and how the language is chosen; the rest are echoed; results are the same.

Source: https://docs.aws.amazon.com/transcribe/latest/APIReference/API_streaming_StartStreamTranscription.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from connectors.transcribe.errors import ParameterError, bounded
from connectors.transcribe.model import HEADER_PREFIX, PATH, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.presigned import WEBSOCKET_PATH
from deploy.local.transcribe.errors import bad_request


def _named(*parameters: str) -> tuple[str, ...]:
    return tuple(HEADER_PREFIX + parameter for parameter in parameters)


_STANDARD_ONLY = _named(
    "content-identification-type",
    "content-redaction-type",
    "enable-partial-results-stabilization",
    "identify-language",
    "identify-multiple-languages",
    "language-model-name",
    "language-options",
    "partial-results-stability",
    "pii-entity-types",
    "preferred-language",
    "session-resume-window",
    "vocabulary-filter-method",
    "vocabulary-filter-name",
    "vocabulary-filter-names",
    "vocabulary-names",
)
_IDENTIFY = (HEADER_PREFIX + "identify-language", HEADER_PREFIX + "identify-multiple-languages")
_LANGUAGE_OPTIONS = HEADER_PREFIX + "language-options"
_FIXED = {
    HEADER_PREFIX + "language-code": "en-US",
    HEADER_PREFIX + "specialty": "PRIMARYCARE",
    HEADER_PREFIX + "type": "CONVERSATION",
}
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}-[A-Z]{2}")


@dataclass(frozen=True, slots=True)
class StreamParameters:
    """What a stream was asked to be: the medical operation's parameters, and every header to echo."""

    medical: StartMedicalStreamTranscriptionRequest
    echoed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One route. `read` takes headers with lower-case names; raises `ServiceFault`."""

    name: str
    path: str
    is_websocket: bool
    read: Callable[[Mapping[str, str]], StreamParameters]


def read_medical(headers: Mapping[str, str]) -> StreamParameters:
    """The parameters of StartMedicalStreamTranscription."""
    parameters = _validated(headers)
    return StreamParameters(parameters, parameters.to_headers())


def read_standard(headers: Mapping[str, str]) -> StreamParameters:
    """The parameters of StartStreamTranscription, for any language."""
    language = headers.get(HEADER_PREFIX + "language-code", "").strip()
    _check_language(headers, language)
    shared = {name: value for name, value in headers.items() if name not in _STANDARD_ONLY}
    parameters = _validated(shared | _FIXED)
    echoed = {name: value for name, value in parameters.to_headers().items() if name not in _FIXED}
    echoed |= {name: headers[name] for name in _STANDARD_ONLY if name in headers}
    if language:
        echoed[HEADER_PREFIX + "language-code"] = language
    return StreamParameters(parameters, echoed)


def _check_language(headers: Mapping[str, str], language: str) -> None:
    """One of three parameters says the language; two of them need codes to choose from."""
    identify = [name for name in _IDENTIFY if headers.get(name, "").strip().lower() == "true"]
    if not language and not identify:
        raise bad_request(f"LanguageCode is missing; send the header {HEADER_PREFIX}language-code.")
    if bool(language) + len(identify) > 1:
        raise bad_request(
            "LanguageCode, IdentifyLanguage and IdentifyMultipleLanguages exclude each other; send one."
        )
    if language and not _LANGUAGE_CODE.fullmatch(language):
        raise bad_request(f"LanguageCode is {bounded(repr(language), 80)}; expected a code such as en-US.")
    if identify and not headers.get(_LANGUAGE_OPTIONS):
        raise bad_request(f"LanguageOptions is missing; send the header {_LANGUAGE_OPTIONS}.")


def _validated(headers: Mapping[str, str]) -> StartMedicalStreamTranscriptionRequest:
    try:
        parameters = StartMedicalStreamTranscriptionRequest.from_headers(headers)
    except ParameterError as error:
        raise bad_request(f"{error}.") from None
    if parameters.media_encoding != "pcm":
        raise bad_request(
            f"MediaEncoding is {parameters.media_encoding!r}; this local endpoint takes pcm (16-bit) only."
        )
    return parameters


_MEDICAL, _STANDARD = "StartMedicalStreamTranscription", "StartStreamTranscription"
OPERATIONS = {
    operation.path: operation
    for operation in (
        Operation(_MEDICAL, PATH, False, read_medical),
        Operation(_MEDICAL, WEBSOCKET_PATH, True, read_medical),
        Operation(_STANDARD, "/stream-transcription", False, read_standard),
        Operation(_STANDARD, "/stream-transcription-websocket", True, read_standard),
    )
}
