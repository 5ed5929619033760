"""The schema registry before a job: reached, with the schemas that the job will write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import schemas
from pipeline.checks.check import Check, NotNeeded, NotPossible, require
from pipeline.checks.registered_schemas import (
    INPUT_SCHEMA,
    SchemasOfTopics,
    SubjectReport,
    TopicSchema,
    report,
    schemas_of_topics,
    topic_schemas,
)
from pipeline.errors import SettingsError
from pipeline.settings import Topics
from schemas.registry import SchemaRegistry
from schemas.serdes import SerdeSettings

_REMEDY = "Check --schema-registry-url and --schema-registry-config, and that the registry is running."


class RegistryChecks:
    """The checks of a job's registry. `topics`: None for one that is not set.

    `may_register`: with `auto_register` a missing schema is registered here, so that a refusal is told now.
    """

    def __init__(
        self, serdes: Callable[[], SerdeSettings], topics: SchemasOfTopics, *, may_register: bool
    ) -> None:
        self._make_serdes = serdes
        self._topics = topics
        self._may_register = may_register

    def checks(self) -> Iterator[Check]:
        """In the order of their dependencies."""
        yield Check("registry.settings", "read the registry's settings", self._settings, remedy=_REMEDY)
        yield Check(
            "registry.connection", "ask the registry", self._connection, ("registry.settings",), _REMEDY
        )
        seen: set[str] = set()
        for name, topic in self._topics:
            if topic is not None:
                yield self._schema_check(name, topic, f"{name}.{topic}" if name in seen else name)
                seen.add(name)

    def _schema_check(self, name: str, topic: str, unique: str) -> Check:
        return Check(
            f"schema.{unique}",
            f"find {name} registered for {topic}",
            lambda: self._schema(name, topic),
            ("registry.connection",),
            "Run `medstream schemas register` with the same topics.",
        )

    @cached_property
    def _serdes(self) -> SerdeSettings:
        return self._make_serdes()

    @property
    def _registry(self) -> SchemaRegistry:
        registry = self._serdes.client()
        if registry is None:
            raise NotPossible("no registry is set: records are Avro single objects")
        return registry

    def _settings(self) -> str:
        settings = self._serdes.registry
        if settings is None:
            raise NotPossible("no --schema-registry-url: records are Avro single objects")
        return f"{', '.join(settings.urls)}, {self._serdes.subject_name_strategy}"

    def _connection(self) -> str:
        registry = self._registry
        wanted = topic_schemas(self._topics, self._serdes)
        if not wanted:
            raise NotNeeded("no topic is set, and subjects are named after topics")
        count = len(registry.versions(wanted[-1].subject))
        return f"it answers; {wanted[-1].subject} has {count} version(s)"

    def _schema(self, name: str, topic: str) -> str:
        registry, wanted = self._registry, TopicSchema(name, topic, self._serdes.subject(name, topic))
        found = report(registry, wanted)
        if found.problems:
            raise SettingsError("--schema-registry-url", _unreadable(found))
        if found.schema_id is not None:
            return f"{wanted.subject}: id {found.schema_id}"
        if name == INPUT_SCHEMA:
            return f"{wanted.subject}: nothing that could not be read"  # theirs to register who produce
        if not self._serdes.auto_register:
            raise SettingsError("--schema-registry-url", _missing(found))
        if not self._may_register:
            return f"{wanted.subject}: the job will register it (--auto-register-schemas)"
        return f"{wanted.subject}: registered, id {registry.register(wanted.subject, schemas.load(name))}"


def check_registry(topics: Topics, serdes: SerdeSettings) -> None:
    """Raise SettingsError or RegistryError with one sentence unless the job can write; nothing without a
    registry.
    """
    require(RegistryChecks(lambda: serdes, schemas_of_topics(topics), may_register=True).checks())


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
