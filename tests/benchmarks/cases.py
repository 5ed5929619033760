"""What `make bench` measures: the work per chunk and per result, each with what people would use instead.

Alternatives: amazon-transcribe (AWS's retired Python SDK) signs and encodes; botocore decodes event streams;
fastavro alone writes and reads the same record without the single-object header; soundfile alone decodes the
same payload without checking that it is one whole stream.
"""

from __future__ import annotations

import datetime as dt
import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import soundfile
from amazon_transcribe.auth import Credentials as SdkCredentials
from amazon_transcribe.eventstream import EventSigner as SdkSigner
from amazon_transcribe.eventstream import EventStreamMessageSerializer
from botocore.eventstream import EventStreamBuffer

import schemas
from connectors.transcribe.events import encode_audio_event, encode_transcript_event, parse_event
from connectors.transcribe.eventstream import MessageDecoder
from connectors.transcribe.model import MedicalAlternative, MedicalItem, MedicalResult, parse_transcript_event
from connectors.transcribe.sigv4 import Credentials, EventSigner
from deploy.local import recordings
from pipeline.audio.audio_decoding import to_pcm
from pipeline.audio.resampling import resampler
from pipeline.elements import AudioChunk, AudioFormat, LogEntry, SessionSettings
from pipeline.engine.limits import SessionLimits
from pipeline.engine.session import Session, opening_cursor
from schemas.registry_serde import RegistrySerde
from schemas.serde import SingleObjectSerde
from tests.encoders import encode, tone

PAYLOAD = bytes(range(256)) * 12 + bytes(128)  # 3,200 bytes: 100 ms of 16 kHz mono
START_MS = 1_795_453_475_575
VECTORS = Path(__file__).parents[1] / "vectors"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    ours: Callable[[], object]
    other_name: str | None = None
    other: Callable[[], object] | None = None


def all_cases() -> Iterator[Case]:
    yield _sign_and_encode()
    for name in ("final", "partial"):
        yield _decode(name)
    yield from _avro()
    yield from _avro_finals()
    yield _engine_step()
    yield from _audio_decoding()
    yield _resampling()


def _sign_and_encode() -> Case:
    ours = EventSigner(Credentials("AKIDSYNTHETIC", "secretEXAMPLE", None), "us-east-1", "0" * 64)
    sdk = SdkSigner(
        "transcribe", "us-east-1", utc_now=lambda: dt.datetime.fromtimestamp(next(moments) / 1000, dt.UTC)
    )
    moments = itertools.count(START_MS, 100)
    credentials = SdkCredentials("AKIDSYNTHETIC", "secretEXAMPLE", None)
    serializer = EventStreamMessageSerializer()
    headers = {
        ":message-type": "event",
        ":event-type": "AudioEvent",
        ":content-type": "application/octet-stream",
    }
    now_ms = itertools.count(START_MS, 100)

    def sign_with_sdk() -> bytes:
        inner = serializer.serialize(headers, PAYLOAD)
        signed = sdk.sign(inner, bytes(32), credentials)
        return serializer.serialize(signed, inner)

    return Case(
        "sign and encode a chunk of 3,200 bytes",
        lambda: ours.sign(encode_audio_event(PAYLOAD), next(now_ms)),
        "amazon-transcribe 0.6.4",
        sign_with_sdk,
    )


def _decode(name: str) -> Case:
    wire = encode_transcript_event(parse_transcript_event((VECTORS / f"{name}-result.json").read_bytes()))
    decoder, buffer = MessageDecoder(), EventStreamBuffer()

    def ours() -> object:
        decoder.feed(wire)
        return [parse_event(message) for message in decoder]

    def botocore() -> object:
        import json

        buffer.add_data(wire)
        return [json.loads(event.payload) for event in buffer]

    return Case(f"decode a {name} result into the model", ours, "botocore decoder + json, no model", botocore)


def _final() -> dict[str, Any]:
    """A FinalTranscript of 15 items."""
    words = [f"synthetic{number}" for number in range(15)]
    items = [
        {
            "content": word,
            "type": "pronunciation",
            "start_time": number * 0.3,
            "end_time": number * 0.3 + 0.2,
            "confidence": 0.93,
            "speaker": None,
            "vocabulary_filter_match": False,
        }
        for number, word in enumerate(words)
    ]
    return {
        "session_id": "session",
        "result_id": "00000000-0000-4000-8000-000000000000",
        "segment_index": 7,
        "channel_id": "ch_0",
        "start_time": 0.0,
        "end_time": 4.5,
        "started_at": START_MS * 1000,
        "alternatives": [{"transcript": " ".join(words), "items": items, "entities": []}],
        "language_code": "en-US",
        "specialty": "CARDIOLOGY",
        "type": "DICTATION",
        "sample_rate_hertz": 16_000,
        "source": {"topic": "audio", "partition": 1, "first_offset": 100, "last_offset": 145},
        "stream_id": "00000000-0000-4000-8000-000000000001",
        "request_id": "00000000-0000-4000-8000-000000000002",
    }


class _OneSchema:
    """A registry with one schema, so that a serde's own work is measured."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema

    def id_of(self, _subject: str, _schema: Any) -> int:
        return 1

    register = id_of

    def schema_of(self, _key: object) -> Any:
        return self._schema


def _avro_finals() -> Iterator[Case]:
    newer = schemas.load("final_transcript")
    newer["fields"].append({"name": "added", "type": ["null", "string"], "default": None})
    schema, record = fastavro.parse_schema(schemas.load("final_transcript")), _final()
    single = SingleObjectSerde("final_transcript")
    confluent = RegistrySerde(
        "final_transcript", _OneSchema(schemas.load("final_transcript")), "finals-value"
    )
    resolving = RegistrySerde("final_transcript", _OneSchema(newer))

    def write() -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, record)
        return out.getvalue()

    def read() -> object:
        return fastavro.schemaless_reader(io.BytesIO(body), schema, None)

    body, encoded, prefixed = write(), single.encode(record), confluent.encode(record)
    of_newer = RegistrySerde(newer, _OneSchema(newer), "finals-value").encode(record)
    name = "a FinalTranscript of 15 items"
    yield Case(f"encode {name}", lambda: single.encode(record), "fastavro, no header", write)
    yield Case(f"encode {name}, with id", lambda: confluent.encode(record), "fastavro, no header", write)
    yield Case(f"decode {name}", lambda: single.decode(encoded), "fastavro, no header", read)
    yield Case(f"decode {name}, with id", lambda: confluent.decode(prefixed), "fastavro, no header", read)
    yield Case(f"decode {name} of a newer schema", lambda: resolving.decode(of_newer))


def _avro() -> Iterator[Case]:
    serde = SingleObjectSerde("audio_chunk")
    schema = fastavro.parse_schema(schemas.load("audio_chunk"))
    record = {"session_id": "session", "sequence": 7, "payload": PAYLOAD, "sample_rate_hertz": 16_000}
    encoded = serde.encode(record)

    def write() -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, record)
        return out.getvalue()

    body = write()
    yield Case("encode an AudioChunk", lambda: serde.encode(record), "fastavro, no header", write)
    yield Case(
        "decode an AudioChunk",
        lambda: serde.decode(encoded),
        "fastavro, no header",
        lambda: fastavro.schemaless_reader(io.BytesIO(body), schema, None),
    )


def _engine_step() -> Case:
    """One chunk through the session engine while its stream is open, with a final every three seconds;
    nothing comparable exists.
    """
    audio = AudioFormat(16_000)
    first = AudioChunk("session", 0, PAYLOAD, audio)
    limits = SessionLimits(stream_limit_seconds=1e9)
    session = Session(
        opening_cursor(first, 0, 0, SessionSettings()),
        session_id="session",
        topic="audio",
        limits=limits,
        backoff=lambda _: 0.0,
        now=0.0,
    )
    session.slot_granted(0.0)
    session.receive_batch([LogEntry(0, first)], 0.0)
    session.stream_opened(1, "stream", None, 0.0)
    numbers = itertools.count(1)

    def final(number: int) -> MedicalResult:
        start, end = number / 10 - 3.0, number / 10 - 0.3
        item = MedicalItem(start_time=start, end_time=end, type="pronunciation", content="synthetic")
        return MedicalResult(
            result_id=f"r{number}",
            start_time=start,
            end_time=end,
            is_partial=False,
            alternatives=(MedicalAlternative("synthetic", (item,)),),
        )

    def step() -> object:
        number = next(numbers)
        now = number / 10
        session.stream_progress(1, number * first.samples, now)
        if number % 30 == 0:
            session.receive_results(1, [final(number)], now)
            session.take_snapshot()
        return session.receive_batch([LogEntry(number, AudioChunk("session", number, PAYLOAD, audio))], now)

    return Case("engine step for a chunk", step)


def _audio_decoding() -> Iterator[Case]:
    """A chunk of 100 ms at 16 kHz: half a second into a dictation that comes with medstream."""
    samples, rate = soundfile.read(recordings.DIRECTORY / "audio" / "radiology-chest.flac", dtype="int16")
    pcm = samples[rate // 2 : rate // 2 + rate // 10].astype("<i2").tobytes()
    audio = AudioFormat(rate)
    for encoding in ("FLAC", "OGG_OPUS", "MULAW"):
        payload = encode(pcm, encoding, rate)
        name = f"decode 100 ms of {encoding}, {len(payload):,} bytes"
        raw = {"format": "RAW", "subtype": "ULAW", "samplerate": rate, "channels": 1}
        alone = partial(_read, payload, **(raw if encoding == "MULAW" else {}))
        yield Case(name, partial(to_pcm, payload, encoding, audio), "soundfile", alone)


def _read(payload: bytes, **raw: Any) -> object:
    return soundfile.read(io.BytesIO(payload), dtype="int16", **raw)[0].tobytes()


def _resampling() -> Case:
    stream = resampler(AudioFormat(8000), 16_000)
    pcm = tone(440, 800, 8000)
    return Case("resample 100 ms from 8 to 16 kHz", lambda: stream.resample(pcm))
