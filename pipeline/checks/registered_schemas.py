"""A job's topics and their schemas in a registry: what is there, what is missing, what does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import schemas
from pipeline.audio.raw_chunks import AVRO
from pipeline.settings import Topics
from schemas.compatibility import incompatibilities
from schemas.errors import SchemaNotRegistered
from schemas.registry import RegisteredSchema, SchemaRegistry
from schemas.serdes import SerdeSettings

INPUT_SCHEMA = "audio_chunk"

SchemasOfTopics = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class TopicSchema:
    """The schema `name` of a topic's values, registered, or to be registered, under `subject`."""

    name: str
    topic: str
    subject: str


@dataclass(frozen=True, slots=True)
class SubjectReport:
    """A subject as it is. `schema_id` None: our schema is not registered there; `problems`: which of the
    versions there our schema cannot read; `refused`: the registry's own rule would not take our schema.
    """

    wanted: TopicSchema
    versions: int
    schema_id: int | None
    compatibility: str | None
    problems: tuple[str, ...]
    refused: bool


def schemas_of_topics(topics: Topics, chunk_format: str = AVRO) -> SchemasOfTopics:
    """(schema, topic) of everything that a job reads or writes, the input first; None: not published, or
    without a schema.
    """
    return (
        (INPUT_SCHEMA, topics.audio if chunk_format == AVRO else None),
        ("final_transcript", topics.finals),
        ("dead_letter", topics.dead_letters),
        ("partial_transcript", topics.partials),
        ("session_ended", topics.sessions),
        ("final_transcript", topics.masked),
    )


def topic_schemas(topics: SchemasOfTopics, serdes: SerdeSettings) -> list[TopicSchema]:
    """The subject of each topic, in their order; those without a topic are left out."""
    return [
        TopicSchema(name, topic, serdes.subject(name, topic)) for name, topic in topics if topic is not None
    ]


def report(registry: SchemaRegistry, wanted: TopicSchema) -> SubjectReport:
    """What the registry has for a topic. Raises RegistryError."""
    schema = schemas.load(wanted.name)
    versions = registry.versions(wanted.subject)
    schema_id = _id_of(registry, wanted, schema) if versions else None
    return SubjectReport(
        wanted,
        len(versions),
        schema_id,
        registry.compatibility(wanted.subject),
        tuple(_problems(schema, versions)),
        refused=schema_id is None and not registry.is_compatible(wanted.subject, schema),
    )


def _id_of(registry: SchemaRegistry, wanted: TopicSchema, schema: dict[str, object]) -> int | None:
    try:
        return registry.id_of(wanted.subject, schema)
    except SchemaNotRegistered:
        return None


def _problems(schema: dict[str, object], versions: list[RegisteredSchema]) -> Iterator[str]:
    """Why records of the registered versions cannot be read with our schema (BACKWARD_TRANSITIVE)."""
    for version in versions:
        try:
            why = incompatibilities(schema, version.schema)
        except Exception as error:  # of fastavro, about a schema of somebody else's
            why = [f"it is no usable Avro schema ({type(error).__name__})"]
        yield from (f"version {version.version} of {version.subject} cannot be read: {one}" for one in why)
