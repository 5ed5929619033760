"""The schema registry before a job is submitted: reached, with the schemas that the job will write."""

from __future__ import annotations

import schemas
from pipeline.errors import SettingsError
from pipeline.registered_schemas import INPUT_SCHEMA, SubjectReport, report, topic_schemas, topics_by_schema
from pipeline.settings import Topics
from schemas.serdes import SerdeSettings


def check_registry(topics: Topics, serdes: SerdeSettings) -> None:
    """Raise SettingsError or RegistryError with one sentence unless the job can write; nothing without a
    registry.

    With `auto_register` what is missing is registered here, so that a refusal is told now.
    """
    registry = serdes.client()
    if registry is None:
        return
    for wanted in topic_schemas(topics_by_schema(topics), serdes):
        found = report(registry, wanted)
        if found.problems:
            raise SettingsError("--schema-registry-url", _unreadable(found))
        if wanted.name == INPUT_SCHEMA or found.schema_id is not None:
            continue  # what producers write is theirs to register
        if not serdes.auto_register:
            raise SettingsError("--schema-registry-url", _missing(found))
        registry.register(wanted.subject, schemas.load(wanted.name))


def _unreadable(found: SubjectReport) -> str:
    more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
    return (
        f"{found.problems[0]}{more}; is {found.wanted.topic!r} the topic of {found.wanted.name} records? "
        "`medstream schemas check` lists all differences"
    )


def _missing(found: SubjectReport) -> str:
    state = f"has {found.versions} other version(s)" if found.versions else "does not exist"
    return (
        f"subject {found.wanted.subject!r} {state}, {found.wanted.name} of this version is not registered; "
        "run `medstream schemas register` with the same topics, or add --auto-register-schemas"
    )
