"""A client of schema registries that speak Confluent's API: Confluent's own, Apicurio, Karapace, Redpanda …

What a registry once said about an id or a GUID holds for ever, so it is asked once per process; that it does
not know an id is believed for a few seconds. `shared_registry` gives every encoder and decoder of a process
the same client. https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from threading import Lock
from typing import Any
from urllib.parse import quote
from uuid import UUID

from schemas.codec import Schema, schema_fingerprint
from schemas.errors import (
    IncompatibleWithSubject,
    RegistryNotFound,
    SchemaNotRegistered,
    UnexpectedAnswer,
    UnknownSchemaId,
)
from schemas.references import with_references
from schemas.registry_http import RegistryHttp
from schemas.registry_settings import RegistrySettings
from schemas.wire import describe

UNKNOWN_ID_SECONDS = 10.0
_MAX_REFERENCES = 100
_MAX_ID = 2**31 - 1  # ids are Java ints: beyond them a registry answers that it has no such page


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """One version of a subject. `schema` is the document, types from other subjects written out."""

    subject: str
    version: int
    schema_id: int
    schema: Mapping[str, Any]


class SchemaRegistry:
    """The registry at `settings.urls`. Thread-safe.

    Every call raises RegistryError: RegistryUnavailable (retryable), RegistryAccessDenied, … beside what it
    names itself.
    """

    def __init__(self, settings: RegistrySettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = RegistryHttp(settings)
        self._url = settings.urls[0]
        self._clock = clock
        self._lock = Lock()
        self._schemas: dict[int | UUID, Any] = {}
        self._unknown: dict[int | UUID, tuple[float, UnknownSchemaId]] = {}
        self._ids: dict[tuple[str, bytes], int] = {}

    # Schemas by what a record carries

    def schema_of(self, key: int | UUID) -> Any:
        """The schema with this id or GUID, as a JSON value. Raises UnknownSchemaId."""
        with self._lock:
            if key in self._schemas:
                return self._schemas[key]
            unknown = self._unknown.get(key)
        if unknown is not None and self._clock() < unknown[0]:
            raise unknown[1].with_traceback(None)
        try:
            schema = self._fetch(key)
        except UnknownSchemaId as error:
            with self._lock:
                self._unknown[key] = (self._clock() + UNKNOWN_ID_SECONDS, error)
                self._forget_old()
            raise
        with self._lock:
            self._schemas[key] = schema
            self._unknown.pop(key, None)
        return schema

    def _forget_old(self) -> None:
        now = self._clock()
        self._unknown = {key: entry for key, entry in self._unknown.items() if entry[0] > now}

    def _fetch(self, key: int | UUID) -> Any:
        what = f"schema {describe(key)}"
        by_guid = isinstance(key, UUID)
        if not by_guid and key > _MAX_ID:  # type: ignore[operator]  # an id then
            raise UnknownSchemaId(describe(key), "which no registry gives")
        try:
            document = self._http.request("GET", f"/schemas/{'guids' if by_guid else 'ids'}/{key}", what)
        except RegistryNotFound:
            raise UnknownSchemaId(describe(key), "which the registry does not know") from None
        except UnexpectedAnswer as error:
            # A wrong address must not turn every record into a dead letter; but registries without GUIDs must
            # not stop the job at one record that has such a thing.
            if not by_guid or error.status != HTTPStatus.NOT_FOUND:
                raise
            raise UnknownSchemaId(describe(key), "and the registry has no GUIDs") from None
        schema_type = _field(document, "schemaType", str, self._url, what, default="AVRO")
        if schema_type != "AVRO":
            raise UnknownSchemaId(describe(key), f"which is {schema_type}, not AVRO")
        return self._assembled(document, what)

    # Subjects

    def subjects(self) -> list[str]:
        """Every subject, sorted."""
        return sorted(self._http.request("GET", "/subjects", "the list of subjects"))

    def versions(self, subject: str) -> list[RegisteredSchema]:
        """The versions of a subject, oldest first; none where there is no such subject."""
        what = f"the versions of subject {subject!r}"
        try:
            numbers = self._http.request("GET", f"/subjects/{_quoted(subject)}/versions", what)
        except RegistryNotFound:
            return []
        return [self.version(subject, number) for number in sorted(numbers)]

    def version(self, subject: str, version: int) -> RegisteredSchema:
        """One version of a subject. Raises RegistryNotFound."""
        what = f"version {version} of subject {subject!r}"
        document = self._http.request("GET", f"/subjects/{_quoted(subject)}/versions/{version}", what)
        schema_id = _field(document, "id", int, self._url, what)
        return RegisteredSchema(subject, version, schema_id, self._assembled(document, what))

    def id_of(self, subject: str, schema: Schema) -> int:
        """The id of `schema` under `subject`, from the cache if it was asked before.

        The same schema with other texts (`doc`) or properties counts: its bytes are the same. Raises
        SchemaNotRegistered.
        """
        fingerprint = schema_fingerprint(schema)
        with self._lock:
            known = self._ids.get((subject, fingerprint))
        if known is not None:
            return known
        schema_id = self._lookup(subject, schema, fingerprint)
        if schema_id is None:
            raise SchemaNotRegistered(subject, str(schema.get("name")))
        self._remember(subject, fingerprint, schema_id)
        return schema_id

    def register(self, subject: str, schema: Schema) -> int:
        """Register `schema` and return its id; one that is registered keeps its id.

        Raises IncompatibleWithSubject, InvalidSchema.
        """
        with suppress(SchemaNotRegistered):
            return self.id_of(subject, schema)
        what = f"the schema of subject {subject!r}"
        try:
            document = self._http.request(
                "POST", f"/subjects/{_quoted(subject)}/versions", what, _document(schema)
            )
        except IncompatibleWithSubject as error:
            raise IncompatibleWithSubject(subject, error.reason) from None
        schema_id: int = _field(document, "id", int, self._url, what)
        self._remember(subject, schema_fingerprint(schema), schema_id)
        return schema_id

    def is_compatible(self, subject: str, schema: Schema) -> bool:
        """Whether the registry lets `schema` follow the subject's last version; a new subject takes any."""
        # All registries have the check against the last version; against the others we check ourselves.
        path = f"/compatibility/subjects/{_quoted(subject)}/versions/latest"
        what = f"a check for subject {subject!r}"
        try:
            document = self._http.request("POST", path, what, _document(schema))
        except RegistryNotFound:
            return True
        compatible: bool = _field(document, "is_compatible", bool, self._url, what)
        return compatible

    def compatibility(self, subject: str) -> str | None:
        """The subject's own compatibility level; None where the registry's default holds."""
        what = f"the compatibility level of subject {subject!r}"
        try:
            document = self._http.request("GET", f"/config/{_quoted(subject)}", what)
        except RegistryNotFound:
            return None
        level: str = _field(document, "compatibilityLevel", str, self._url, what)
        return level

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the subject's own compatibility level. Raises InvalidSchema."""
        what = f"the compatibility level of subject {subject!r}"
        self._http.request("PUT", f"/config/{_quoted(subject)}", what, {"compatibility": level})

    def _lookup(self, subject: str, schema: Schema, fingerprint: bytes) -> int | None:
        what = f"the schema of subject {subject!r}"
        try:
            document = self._http.request("POST", f"/subjects/{_quoted(subject)}", what, _document(schema))
        except RegistryNotFound:
            # Registered with other texts, perhaps: the last versions first.
            return next(
                (
                    version.schema_id
                    for version in reversed(self.versions(subject))
                    if _fingerprint(version.schema) == fingerprint
                ),
                None,
            )
        schema_id: int = _field(document, "id", int, self._url, what)
        return schema_id

    def _remember(self, subject: str, fingerprint: bytes, schema_id: int) -> None:
        with self._lock:
            self._ids[subject, fingerprint] = schema_id

    # Documents

    def _assembled(self, document: Any, what: str) -> Any:
        """The schema in an answer, with the schemas it refers to put in their places."""
        schema = self._parse(document, what)
        definitions = dict(self._definitions(document, what))
        return with_references(schema, definitions) if definitions else schema

    def _definitions(self, document: Any, what: str) -> Iterator[tuple[str, Any]]:
        open_references = list(document.get("references") or [])
        seen: set[tuple[str, int]] = set()
        while open_references:
            reference = open_references.pop()
            subject = _field(reference, "subject", str, self._url, what)
            version = _field(reference, "version", int, self._url, what)
            if (subject, version) in seen:
                continue
            seen.add((subject, version))
            if len(seen) > _MAX_REFERENCES:
                raise UnexpectedAnswer(self._url, what, f"more than {_MAX_REFERENCES} references")
            path = f"/subjects/{_quoted(subject)}/versions/{version}"
            found = self._http.request("GET", path, f"version {version} of subject {subject!r}")
            open_references += found.get("references") or []
            yield _field(reference, "name", str, self._url, what), self._parse(found, what)

    def _parse(self, document: Any, what: str) -> Any:
        text = _field(document, "schema", str, self._url, what)
        try:
            return json.loads(text)
        except ValueError:
            return text  # a primitive type may stand there without quotes


@lru_cache(maxsize=8)
def shared_registry(settings: RegistrySettings) -> SchemaRegistry:
    """One client per process and settings, so that all its users share cache and connections."""
    return SchemaRegistry(settings)


def _document(schema: Schema) -> dict[str, Any]:
    return {"schemaType": "AVRO", "schema": json.dumps(schema)}


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _fingerprint(schema: Any) -> bytes | None:
    try:
        return schema_fingerprint(schema) if isinstance(schema, dict) else None
    except Exception:  # a schema of somebody else's that fastavro does not take
        return None


def _field(document: Any, name: str, kind: type, url: str, what: str, *, default: Any = None) -> Any:
    """A field of an answer, of the type it must have. Raises UnexpectedAnswer."""
    value = document.get(name, default) if isinstance(document, dict) else None
    if not isinstance(value, kind):
        raise UnexpectedAnswer(url, what, f"no {name}")
    return value
