"""Reads final transcripts from Kafka: all that an application needs, on one page.

This file uses kafka-python, fastavro and `final_transcript.avsc`; nothing of medstream. The demo reads its
results back through it, and it is meant to be copied:

    python finals_consumer.py --bootstrap-servers localhost:9092 --topic final-transcripts \\
        --schema final_transcript.avsc

A record's key is the session id; its value is Avro in single-object encoding: two bytes C3 01, eight bytes
of the schema's fingerprint (CRC-64-AVRO, little-endian), then the record. Delivery is at least once: after a
failure a segment may come again, under the same session_id and segment_index. An exact repetition is skipped
here; one that differs replaces the segment before it, for the service may have cut the audio in another way.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import fastavro.schema
from kafka import KafkaConsumer


class FinalsReader:
    """Decodes FinalTranscript values and tells first deliveries from repeated ones."""

    def __init__(self, schema_file: Path) -> None:
        schema = fastavro.schema.load_schema(str(schema_file))
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
        self._schema = schema
        self._header = b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
        self._seen: dict[tuple[str, int], tuple[float, float, str]] = {}

    def decode(self, value: bytes) -> dict[str, Any]:
        """The record in `value`; ValueError when another schema wrote it."""
        if not value.startswith(self._header):
            raise ValueError("This is no FinalTranscript of the given schema: fetch the schema it names.")
        record = fastavro.schemaless_reader(io.BytesIO(value[len(self._header) :]), self._schema, None)
        return dict(record)  # type: ignore[arg-type]

    def is_new(self, final: dict[str, Any]) -> bool:
        """False for a repetition; True for a segment that is new, or that replaces the one of its index."""
        segment = (final["session_id"], final["segment_index"])
        content = (final["start_time"], final["end_time"], final["alternatives"][0]["transcript"])
        if self._seen.get(segment) == content:
            return False
        self._seen[segment] = content
        return True


def read_finals(
    bootstrap_servers: str, topic: str, schema_file: Path, *, idle_seconds: float = float("inf")
) -> Iterator[dict[str, Any]]:
    """Every final of the topic from its beginning, without repetitions; ends when none came for so long.

    A later final with the same session_id and segment_index replaces the earlier one.
    """
    reader = FinalsReader(schema_file)
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        consumer_timeout_ms=idle_seconds * 1000,
    )
    try:
        for message in consumer:
            final = reader.decode(message.value)
            if reader.is_new(final):
                yield final
    finally:
        consumer.close()


def main() -> None:
    """Prints finals as they come, one line each."""
    parser = argparse.ArgumentParser(description="Print final transcripts from a Kafka topic.")
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topic", default="final-transcripts")
    parser.add_argument("--schema", type=Path, required=True, help="path of final_transcript.avsc")
    options = parser.parse_args()
    try:
        for final in read_finals(options.bootstrap_servers, options.topic, options.schema):
            text = final["alternatives"][0]["transcript"]
            print(f"{final['session_id']}  {final['start_time']:7.2f}-{final['end_time']:7.2f} s  {text}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
