"""`medstream schemas list|show|check|register|document`: the records' schemas, here and in a registry.

Results go to standard output. `check` ends with exit code 1 if anything does not fit.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeAlias

import typer

import schemas
from pipeline.checks.registered_schemas import (
    SchemasOfTopics,
    SubjectReport,
    report,
    schemas_of_topics,
    topic_schemas,
)
from pipeline.cli.registry_options import (
    SchemaRegistryConfig,
    SchemaRegistryUrl,
    SubjectNameStrategy,
    serde_settings,
)
from pipeline.cli.service_options import Insecure
from pipeline.cli.settings_file import ConfigFile
from pipeline.errors import SettingsError
from pipeline.settings import Topics
from schemas.codec import schema_fingerprint
from schemas.compatibility import release_problems
from schemas.documentation import records_page
from schemas.registry import SchemaRegistry
from schemas.serdes import SerdeSettings

DEFAULT_COMPATIBILITY = "BACKWARD_TRANSITIVE"

app = typer.Typer(
    help="The schemas of all records: show them, check their evolution, register them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _topic(text: str, environment: str) -> Any:
    return typer.Option(help=text, envvar=f"MEDSTREAM_{environment}", rich_help_panel="Topics")


InputTopic: TypeAlias = Annotated[str | None, _topic("Topic of AudioChunk records.", "INPUT_TOPIC")]
OutputTopic: TypeAlias = Annotated[str | None, _topic("Topic of FinalTranscript records.", "OUTPUT_TOPIC")]
DeadLetterTopic: TypeAlias = Annotated[
    str | None,
    _topic("Topic of DeadLetter records; INPUT_TOPIC.dead-letters without.", "DEAD_LETTER_TOPIC"),
]
PartialsTopic: TypeAlias = Annotated[
    str | None, _topic("Topic of PartialTranscript records.", "PARTIALS_TOPIC")
]
SessionsTopic: TypeAlias = Annotated[str | None, _topic("Topic of SessionEnded records.", "SESSIONS_TOPIC")]
MaskedTopic: TypeAlias = Annotated[
    str | None, _topic("Topic of masked FinalTranscript records.", "MASKED_TOPIC")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List all schemas with their fingerprints and releases."""
    rows = [
        {
            "name": name,
            "record": f"{schema['namespace']}.{schema['name']}",
            "fingerprint": schema_fingerprint(schema).hex(),
            "released": list(schemas.released(name)),
            "doc": schema["doc"],
        }
        for name, schema in ((name, schemas.load(name)) for name in schemas.names())
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        released = ", ".join(row["released"]) or "not released"
        typer.echo(f"{row['name']:{width}}  {row['fingerprint']}  {row['record']}  ({released})")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the schema, as `list` has it.")],
    version: Annotated[str | None, typer.Option(help="As released in this version of medstream.")] = None,
) -> None:
    """Print one schema as JSON."""
    typer.echo(json.dumps(schemas.load(name, version), indent=2, ensure_ascii=False))


@app.command()
def document() -> None:
    """Print the page of all records, Markdown (schemas/RECORDS.md)."""
    typer.echo(records_page(), nl=False)


@app.command()
def check(
    input_topic: InputTopic = None,
    output_topic: OutputTopic = None,
    dead_letter_topic: DeadLetterTopic = None,
    partials_topic: PartialsTopic = None,
    sessions_topic: SessionsTopic = None,
    masked_topic: MaskedTopic = None,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    subject_name_strategy: SubjectNameStrategy = None,
    insecure: Insecure = False,
    _config: ConfigFile = None,
) -> None:
    """Check that every schema may follow those released before it, and those in the registry of given topics.

    Records of all older versions must be readable (BACKWARD_TRANSITIVE); against our own releases also the
    reverse: consumers with an older schema read the new records.
    """
    failed = False
    for name in schemas.names():
        problems = release_problems(schemas.load(name), schemas.released(name))
        failed |= _tell(name, f"follows {', '.join(schemas.released(name)) or 'no release yet'}", problems)
    topics = _topics(
        input_topic, output_topic, dead_letter_topic, partials_topic, sessions_topic, masked_topic
    )
    if schema_registry_url is not None or schema_registry_config is not None:
        serdes = serde_settings(
            schema_registry_url, schema_registry_config, subject_name_strategy, insecure=insecure
        )
        for found in _reports(serdes, topics):
            failed |= _tell(found.wanted.subject, _state(found), _registry_problems(found))
    if failed:
        raise typer.Exit(1)


@app.command()
def register(
    input_topic: InputTopic = None,
    output_topic: OutputTopic = None,
    dead_letter_topic: DeadLetterTopic = None,
    partials_topic: PartialsTopic = None,
    sessions_topic: SessionsTopic = None,
    masked_topic: MaskedTopic = None,
    schema_registry_url: SchemaRegistryUrl = None,
    schema_registry_config: SchemaRegistryConfig = None,
    subject_name_strategy: SubjectNameStrategy = None,
    compatibility: Annotated[
        str, typer.Option(help="Compatibility level of subjects that have none of their own.")
    ] = DEFAULT_COMPATIBILITY,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    insecure: Insecure = False,
    _config: ConfigFile = None,
) -> None:
    """Register the schemas of the given topics, all or none: nothing is written if one does not fit."""
    serdes = serde_settings(
        schema_registry_url, schema_registry_config, subject_name_strategy, insecure=insecure
    )
    topics = _topics(
        input_topic, output_topic, dead_letter_topic, partials_topic, sessions_topic, masked_topic
    )
    reports = _reports(serdes, topics)
    unfit = [found for found in reports if _tell(found.wanted.subject, None, _registry_problems(found))]
    if unfit:
        raise typer.Exit(1)
    registry = _client(serdes)
    for found in reports:
        done = _state(found) if dry_run else _register(registry, found, compatibility)
        typer.echo(f"{found.wanted.subject}: {done}")


def _register(registry: SchemaRegistry, found: SubjectReport, compatibility: str) -> str:
    schema_id = registry.register(found.wanted.subject, schemas.load(found.wanted.name))
    said = "was registered already" if found.schema_id is not None else "registered"
    level = found.compatibility
    if level is None:
        registry.set_compatibility(found.wanted.subject, compatibility)
        level = compatibility
    return f"{found.wanted.name} {said}, id {schema_id}, compatibility {level}"


def _reports(serdes: SerdeSettings, topics: SchemasOfTopics) -> list[SubjectReport]:
    wanted = topic_schemas(topics, serdes)
    if not wanted:
        raise SettingsError("--output-topic", "no topic is given; subjects are named after topics")
    registry = _client(serdes)
    return [report(registry, one) for one in wanted]


def _client(serdes: SerdeSettings) -> SchemaRegistry:
    registry = serdes.client()
    if registry is None:
        raise SettingsError("--schema-registry-url", "which registry? Set it, or --schema-registry-config")
    return registry


def _topics(
    audio: str | None,
    finals: str | None,
    dead_letters: str | None,
    partials: str | None,
    sessions: str | None,
    masked: str | None,
) -> SchemasOfTopics:
    if dead_letters is None and audio is not None:
        dead_letters = f"{audio}.dead-letters"
    topics = Topics(audio or "", finals or "", dead_letters or "", partials, sessions, masked=masked)
    return tuple((name, topic or None) for name, topic in schemas_of_topics(topics))


def _state(found: SubjectReport) -> str:
    if found.schema_id is not None:
        return f"{found.wanted.name} is registered, id {found.schema_id}"
    return f"{found.wanted.name} is not registered yet ({found.versions} other versions)"


def _registry_problems(found: SubjectReport) -> list[str]:
    problems = list(found.problems)
    if found.refused and not problems:
        level = found.compatibility or "the registry's default"
        problems.append(f"the registry refuses {found.wanted.name} by its compatibility level ({level})")
    return problems


def _tell(subject: str, good: str | None, problems: list[str]) -> bool:
    """Print how one schema or subject fares; whether it has problems."""
    if good is not None and not problems:
        typer.echo(f"{subject}: {good}")
    for problem in problems:
        typer.echo(f"{subject}: {problem}")
    return bool(problems)
