"""The typed model of StartMedicalStreamTranscription: the request's parameters and the result shapes.

Names are the service's own in Python's spelling. `StartMedicalStreamTranscriptionRequest` turns into request
headers and back; `validate` names the parameter, its value and what is allowed, before a connection is made.
The result shapes are read from a `TranscriptEvent` payload with `parse_transcript_event` and written with
`to_json_dict`. Reading is tolerant, since the service adds fields: unknown fields are ignored, unknown item
types are kept, an absent number is 0.0, an absent flag False. All text is hidden from `repr`.

Times are seconds from the start of the stream.

Source: API version 2017-10-26, https://docs.aws.amazon.com/transcribe/latest/APIReference/
API_streaming_StartMedicalStreamTranscription.html, API_streaming_MedicalResult.html and the pages below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from connectors.transcribe.errors import ParameterError, ResultFormatError
from connectors.transcribe.json_fields import (
    as_object,
    each,
    flag,
    number,
    number_or_none,
    text,
    text_or_none,
)

PATH = "/medical-stream-transcription"
OPERATION = "StartMedicalStreamTranscription"
HEADER_PREFIX = "x-amzn-transcribe-"

LANGUAGE_CODES = ("en-US",)
MEDIA_ENCODINGS = ("pcm", "ogg-opus", "flac")
SPECIALTIES = ("PRIMARYCARE", "CARDIOLOGY", "NEUROLOGY", "ONCOLOGY", "RADIOLOGY", "UROLOGY")
TYPES = ("CONVERSATION", "DICTATION")
CONTENT_IDENTIFICATION_TYPES = ("PHI",)
MIN_SAMPLE_RATE_HERTZ = 8_000  # the model's range; Amazon's text for medical speech asks for 16,000 or more
MAX_SAMPLE_RATE_HERTZ = 48_000
NUMBER_OF_CHANNELS = 2  # the only value the operation takes; absent for one channel
MAX_VOCABULARY_NAME_CHARS = 200

ITEM_PRONUNCIATION = "pronunciation"
ITEM_PUNCTUATION = "punctuation"
ITEM_SPEAKER_CHANGE = "speaker-change"

_VOCABULARY_NAME = re.compile(r"[0-9a-zA-Z._-]+")
_SESSION_ID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


# The request -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartMedicalStreamTranscriptionRequest:
    """The parameters of one stream, the audio apart."""

    language_code: str = "en-US"
    media_sample_rate_hertz: int = 16_000
    media_encoding: str = "pcm"
    specialty: str = "PRIMARYCARE"
    type: str = "CONVERSATION"
    vocabulary_name: str | None = None
    session_id: str | None = None
    show_speaker_label: bool = False
    enable_channel_identification: bool = False
    number_of_channels: int | None = None
    content_identification_type: str | None = None

    def validate(self) -> None:
        """Raise `ParameterError` for the first parameter the service would refuse."""
        _one_of("LanguageCode", self.language_code, LANGUAGE_CODES)
        _sample_rate(self.media_sample_rate_hertz)
        _one_of("MediaEncoding", self.media_encoding, MEDIA_ENCODINGS)
        _one_of("Specialty", self.specialty, SPECIALTIES)
        _one_of("Type", self.type, TYPES)
        if self.vocabulary_name is not None:
            _vocabulary_name(self.vocabulary_name)
        if self.session_id is not None and not _SESSION_ID.fullmatch(self.session_id):
            raise ParameterError.of("SessionId", self.session_id, "a UUID of 36 characters is required")
        if self.content_identification_type is not None:
            allowed = CONTENT_IDENTIFICATION_TYPES
            _one_of("ContentIdentificationType", self.content_identification_type, allowed)
        _channels(self.enable_channel_identification, self.number_of_channels)

    def to_headers(self) -> dict[str, str]:
        """Request headers by lower-case name; absent parameters and false flags are left out."""
        values = ((_HEADER_NAMES[item.name], getattr(self, item.name)) for item in fields(self))
        return {name: _to_text(value) for name, value in values if value is not None and value is not False}

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> StartMedicalStreamTranscriptionRequest:
        """The request from headers with lower-case names, validated; raises `ParameterError`."""
        given = {name: headers[header] for name, header in _HEADER_NAMES.items() if headers.get(header)}
        for name in _REQUIRED:
            if name not in given:
                header = _HEADER_NAMES[name]
                raise ParameterError(
                    f"{_MEMBERS[name]} is missing; send the header {header}", parameter=_MEMBERS[name]
                )
        values = {name: _READERS.get(name, _read_text)(_MEMBERS[name], text) for name, text in given.items()}
        request = cls(**values)
        request.validate()
        return request


_HEADER_NAMES = {
    "language_code": HEADER_PREFIX + "language-code",
    "media_sample_rate_hertz": HEADER_PREFIX + "sample-rate",
    "media_encoding": HEADER_PREFIX + "media-encoding",
    "specialty": HEADER_PREFIX + "specialty",
    "type": HEADER_PREFIX + "type",
    "vocabulary_name": HEADER_PREFIX + "vocabulary-name",
    "session_id": HEADER_PREFIX + "session-id",
    "show_speaker_label": HEADER_PREFIX + "show-speaker-label",
    "enable_channel_identification": HEADER_PREFIX + "enable-channel-identification",
    "number_of_channels": HEADER_PREFIX + "number-of-channels",
    "content_identification_type": HEADER_PREFIX + "content-identification-type",
}
_MEMBERS = {name: "".join(part.capitalize() for part in name.split("_")) for name in _HEADER_NAMES}
_REQUIRED = ("language_code", "media_sample_rate_hertz", "media_encoding", "specialty", "type")


def _to_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_text(_member: str, text: str) -> str:
    return text.strip()


def _read_number(member: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise ParameterError.of(member, text, "a whole number is required")
    return int(text.strip())


def _read_flag(member: str, text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in ("true", "false"):
        raise ParameterError.of(member, text, "true or false is required", ("true", "false"))
    return lowered == "true"


_READERS: dict[str, Callable[[str, str], Any]] = {
    "media_sample_rate_hertz": _read_number,
    "number_of_channels": _read_number,
    "show_speaker_label": _read_flag,
    "enable_channel_identification": _read_flag,
}


def _one_of(member: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ParameterError.of(member, value, f"allowed: {', '.join(allowed)}", allowed)


def _sample_rate(value: int) -> None:
    if not MIN_SAMPLE_RATE_HERTZ <= value <= MAX_SAMPLE_RATE_HERTZ:
        rule = f"allowed: {MIN_SAMPLE_RATE_HERTZ} to {MAX_SAMPLE_RATE_HERTZ} hertz"
        raise ParameterError.of("MediaSampleRateHertz", value, rule)


def _vocabulary_name(value: str) -> None:
    if len(value) > MAX_VOCABULARY_NAME_CHARS or not _VOCABULARY_NAME.fullmatch(value):
        rule = f"1 to {MAX_VOCABULARY_NAME_CHARS} characters of 0-9 a-z A-Z . _ - are allowed"
        raise ParameterError.of("VocabularyName", value, rule)


def _channels(enabled: bool, number: int | None) -> None:
    if number is not None and number != NUMBER_OF_CHANNELS:
        raise ParameterError.of(
            "NumberOfChannels", number, "only 2 is allowed; leave it out for one channel", ("2",)
        )
    if enabled != (number is not None):
        rule = "it and EnableChannelIdentification=true are only allowed together"
        raise ParameterError.of("NumberOfChannels", number, rule)


# The results -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MedicalItem:
    """A word, a punctuation mark, or (with speaker labels) the moment at which the speaker changes.

    `confidence` (0 to 1) and `speaker` (a label) only on words of finals; a change of speaker has no content.
    """

    start_time: float
    end_time: float
    type: str
    content: str = field(repr=False)
    confidence: float | None = None
    speaker: str | None = None
    vocabulary_filter_match: bool = False

    def to_json_dict(self) -> dict[str, Any]:
        """The service's JSON, keys in alphabetical order."""
        silent = self.type == ITEM_SPEAKER_CHANGE and not self.content
        return _without_none(
            Confidence=self.confidence,
            Content=None if silent else self.content,
            EndTime=self.end_time,
            Speaker=self.speaker,
            StartTime=self.start_time,
            Type=self.type,
            VocabularyFilterMatch=self.vocabulary_filter_match,
        )


@dataclass(frozen=True, slots=True)
class MedicalEntity:
    """A span identified as personal health information; only on finals, `category` is `PHI`."""

    start_time: float
    end_time: float
    category: str
    content: str = field(repr=False)
    confidence: float | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """The service's JSON, keys in alphabetical order."""
        return _without_none(
            Category=self.category,
            Confidence=self.confidence,
            Content=self.content,
            EndTime=self.end_time,
            StartTime=self.start_time,
        )


@dataclass(frozen=True, slots=True)
class MedicalAlternative:
    """One reading of a segment; the service sends exactly one."""

    transcript: str = field(repr=False)
    items: tuple[MedicalItem, ...] = ()
    entities: tuple[MedicalEntity, ...] = ()

    def to_json_dict(self) -> dict[str, Any]:
        """The service's JSON, keys in alphabetical order; no `Entities` when there are none."""
        return _without_none(
            Entities=[entity.to_json_dict() for entity in self.entities] or None,
            Items=[item.to_json_dict() for item in self.items],
            Transcript=self.transcript,
        )


@dataclass(frozen=True, slots=True)
class MedicalResult:
    """A segment, partial or final. `result_id` stays the same from the first partial to the final."""

    result_id: str
    start_time: float
    end_time: float
    is_partial: bool
    alternatives: tuple[MedicalAlternative, ...] = ()
    channel_id: str | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """The service's JSON, keys in alphabetical order."""
        return _without_none(
            Alternatives=[alternative.to_json_dict() for alternative in self.alternatives],
            ChannelId=self.channel_id,
            EndTime=self.end_time,
            IsPartial=self.is_partial,
            ResultId=self.result_id,
            StartTime=self.start_time,
        )


@dataclass(frozen=True, slots=True)
class MedicalTranscriptEvent:
    """What one `TranscriptEvent` message carries; often no results at all, which only shows life."""

    results: tuple[MedicalResult, ...] = ()

    def to_payload(self) -> bytes:
        """The compact JSON the service sends."""
        document = {"Transcript": {"Results": [result.to_json_dict() for result in self.results]}}
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def parse_transcript_event(payload: bytes) -> tuple[MedicalResult, ...]:
    """The results in a `TranscriptEvent` payload; raises `ResultFormatError`, never with its text."""
    try:
        document = orjson.loads(payload)
        transcript = as_object(document).get("Transcript") or {}
        return each(_result, as_object(transcript).get("Results"))
    except (ValueError, TypeError, RecursionError):
        # The cause would carry the document, and so the transcript, into a traceback.
        raise ResultFormatError(
            f"a transcript event of {len(payload)} bytes is not of the documented shape"
        ) from None


def _result(value: dict[str, Any]) -> MedicalResult:
    return MedicalResult(
        result_id=text(value, "ResultId"),
        start_time=number(value, "StartTime"),
        end_time=number(value, "EndTime"),
        is_partial=flag(value, "IsPartial"),
        alternatives=each(_alternative, value.get("Alternatives")),
        channel_id=text_or_none(value, "ChannelId"),
    )


def _alternative(value: dict[str, Any]) -> MedicalAlternative:
    return MedicalAlternative(
        transcript=text(value, "Transcript"),
        items=each(_item, value.get("Items")),
        entities=each(_entity, value.get("Entities")),
    )


def _item(value: dict[str, Any]) -> MedicalItem:
    """An item; the usual shape is taken at a glance, since a stream sends hundreds of items a second."""
    get = value.get
    start_time, end_time, kind = get("StartTime"), get("EndTime"), get("Type")
    content, confidence, speaker = get("Content"), get("Confidence"), get("Speaker")
    match = get("VocabularyFilterMatch", False)
    if (
        type(start_time) is type(end_time) is float
        and type(kind) is type(content) is str
        and (confidence is None or type(confidence) is float)
        and (speaker is None or type(speaker) is str)
        and type(match) is bool
    ):
        return MedicalItem(start_time, end_time, kind, content, confidence, speaker, match)
    return MedicalItem(
        start_time=number(value, "StartTime"),
        end_time=number(value, "EndTime"),
        type=text(value, "Type"),
        content=text(value, "Content"),
        confidence=number_or_none(value, "Confidence"),
        speaker=text_or_none(value, "Speaker"),
        vocabulary_filter_match=flag(value, "VocabularyFilterMatch"),
    )


def _entity(value: dict[str, Any]) -> MedicalEntity:
    return MedicalEntity(
        start_time=number(value, "StartTime"),
        end_time=number(value, "EndTime"),
        category=text(value, "Category"),
        content=text(value, "Content"),
        confidence=number_or_none(value, "Confidence"),
    )


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
