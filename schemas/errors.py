"""Errors of the schemas package.

    SchemaError
    +-- UnknownSchema                no schema file of that name
    +-- UnknownRelease               no such version of a schema is kept
    +-- RecordDoesNotMatch           encode: the record does not fit the schema
    +-- UndecodableRecord            decode: what a dead letter is made of
    |   +-- NotSingleObjectEncoded       the bytes do not begin with C3 01
    |   +-- UnknownWireFormat            neither C3 01 nor a prefix or header of Confluent's wire format
    |   +-- UnknownFingerprint           written with a schema this reader does not have
    |   +-- UnknownSchemaId              the registry does not know the id or GUID, or it is no Avro schema
    |   +-- IncompatibleWriterSchema     the writer's schema cannot be read as ours
    |   +-- MalformedRecord              truncated, invalid or trailing bytes
    +-- RegistryError                `schemas.registry`
        +-- RegistrySettingError         a setting that cannot work
        +-- RegistryUnavailable          retryable: no answer, or one that says try later
        +-- RegistryAccessDenied         401, 403
        +-- RegistryNotFound             404 of the API: no such subject, version or schema
        +-- SchemaNotRegistered          the subject lacks the schema, and registering it was not asked for
        +-- IncompatibleWithSubject      409: the registry's compatibility rule refuses the schema
        +-- InvalidSchema                422
        +-- UnexpectedAnswer             whatever answers is no schema registry

`retryable` says whether the same call may succeed later. Messages name settings, schemas, fields and lengths;
they never carry a record's value, which is a patient's audio or words, nor a credential.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class SchemaError(Exception):
    """Root of the package's errors."""

    retryable = False


class UnknownSchema(SchemaError):
    """No schema file has this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"no schema is called {name!r}; there are {', '.join(known)}")
        self.name = name
        self.known = tuple(known)


class UnknownRelease(SchemaError):
    """The schema is not kept in this version."""

    def __init__(self, name: str, version: str, known: Sequence[str]) -> None:
        super().__init__(f"{name} was not released in {version!r}; releases: {', '.join(known) or 'none'}")
        self.name = name
        self.version = version
        self.known = tuple(known)


class RecordDoesNotMatch(SchemaError):
    """A record to be encoded lacks a field, has one too many or holds a value of the wrong type."""

    def __init__(self, schema_name: str, detail: str) -> None:
        super().__init__(f"the record does not match {schema_name}: {detail}")
        self.schema_name = schema_name
        self.detail = detail


class UndecodableRecord(SchemaError):
    """Bytes that are no record of the schema wanted."""


class NotSingleObjectEncoded(UndecodableRecord):
    """The bytes do not begin with the two marker bytes of Avro's single-object encoding.

    `looks_registered`: they could be a record in Confluent's wire format, which needs a registry to read.
    """

    def __init__(self, schema_name: str, length_bytes: int, *, looks_registered: bool = False) -> None:
        remedy = "Does the producer write another format?"
        if looks_registered:
            remedy = "It looks like Confluent's wire format: to read that, set --schema-registry-url."
        super().__init__(
            f"the value ({length_bytes} bytes) is not {schema_name} in Avro single-object encoding: "
            f"it must begin with the bytes C3 01 and the schema's 8-byte fingerprint. {remedy}"
        )
        self.schema_name = schema_name
        self.length_bytes = length_bytes
        self.looks_registered = looks_registered


class UnknownWireFormat(UndecodableRecord):
    """The bytes begin with no schema id, and no header carries one."""

    def __init__(self, schema_name: str, length_bytes: int) -> None:
        super().__init__(
            f"the value ({length_bytes} bytes) is not {schema_name} in a known wire format: it must begin "
            "with 00 and a 4-byte schema id (Confluent), or with C3 01 and the schema's 8-byte fingerprint "
            "(Avro single-object encoding), or have the header __value_schema_id. "
            "Does the producer write another format?"
        )
        self.schema_name = schema_name
        self.length_bytes = length_bytes


class UnknownFingerprint(UndecodableRecord):
    """The bytes were written with a schema that this reader does not have.

    `fingerprint` is the CRC-64-AVRO of the writer's schema in hexadecimal, in the order of the bytes on the
    wire.
    """

    def __init__(self, fingerprint: str, known: Sequence[str]) -> None:
        super().__init__(
            f"the value was written with a schema of fingerprint {fingerprint}, "
            f"which this reader does not know; it knows {', '.join(known)}. "
            "Add the producer's schema to the reader's writer schemas."
        )
        self.fingerprint = fingerprint
        self.known = tuple(known)


class UnknownSchemaId(UndecodableRecord):
    """The registry has no Avro schema of this id or GUID."""

    def __init__(self, schema_id: str, reason: str) -> None:
        super().__init__(
            f"the value was written with the schema {schema_id}, {reason}. "
            "Does the producer use another registry than --schema-registry-url?"
        )
        self.schema_id = schema_id
        self.reason = reason


class IncompatibleWriterSchema(UndecodableRecord):
    """The schema the bytes were written with cannot be resolved to the reader's."""

    def __init__(self, schema_name: str, schema_id: str, problem: str) -> None:
        super().__init__(
            f"the value was written with the schema {schema_id}, which cannot be read as {schema_name}: "
            f"{problem}"
        )
        self.schema_name = schema_name
        self.schema_id = schema_id
        self.problem = problem


class MalformedRecord(UndecodableRecord):
    """The schema is known, and the bytes do not follow it."""

    def __init__(self, schema_name: str, length_bytes: int, detail: str) -> None:
        super().__init__(f"the value ({length_bytes} bytes) is no valid {schema_name}: {detail}")
        self.schema_name = schema_name
        self.length_bytes = length_bytes
        self.detail = detail


class RegistryError(SchemaError):
    """Whatever goes wrong between us and a schema registry."""


class RegistrySettingError(RegistryError):
    """A setting that cannot work; the message names it and the remedy, never a secret."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting}: {problem}")
        self.setting = setting
        self.problem = problem

    @classmethod
    def unknown(cls, name: str, origin: str, known: Sequence[str]) -> RegistrySettingError:
        """A property that does not exist."""
        nearest = get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "remove it"
        return cls(origin, f"unknown schema registry property {name!r}; {hint}")


class RegistryUnavailable(RegistryError):
    """No answer, or an answer that asks to come back later, and retries did not help."""

    retryable = True

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"the schema registry at {url} (--schema-registry-url) cannot be used: {reason}. "
            "Check that it runs and that this machine reaches it."
        )
        self.url = url
        self.reason = reason


class RegistryAccessDenied(RegistryError):
    """401: credentials are missing or wrong; 403: they are right and do not suffice."""

    def __init__(self, url: str, status: int, request: str) -> None:
        if status == 401:
            remedy = (
                "set basic.auth.user.info or bearer.auth.token in --schema-registry-config, or correct them"
            )
        else:
            remedy = "grant the user of --schema-registry-config that right, or use another one"
        super().__init__(f"the schema registry at {url} refused {request} ({status}): {remedy}")
        self.url = url
        self.status = status
        self.request = request


class RegistryNotFound(RegistryError):
    """404; `error_code` is the registry's own: 40401 subject, 40402 version, 40403 schema, 0 none given."""

    def __init__(self, url: str, request: str, error_code: int) -> None:
        super().__init__(f"the schema registry at {url} has nothing for {request}")
        self.url = url
        self.request = request
        self.error_code = error_code


class SchemaNotRegistered(RegistryError):
    """The subject does not have this schema, and nobody said that it may be registered."""

    def __init__(self, subject: str, schema_name: str) -> None:
        super().__init__(
            f"subject {subject!r} does not have this version of {schema_name}: register it with "
            "`medstream schemas register`, or let the job do so with --auto-register-schemas"
        )
        self.subject = subject
        self.schema_name = schema_name


class IncompatibleWithSubject(RegistryError):
    """The registry's compatibility rule refuses the schema."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(
            f"the registry refuses the schema for subject {subject!r} as incompatible: {reason}. "
            "Is another schema registered there? `medstream schemas check` names the differences."
        )
        self.subject = subject
        self.reason = reason


class InvalidSchema(RegistryError):
    """The registry does not take the request: the schema, a level or a version is not valid."""

    def __init__(self, request: str, reason: str) -> None:
        super().__init__(f"the schema registry does not take {request}: {reason}")
        self.request = request
        self.reason = reason


class UnexpectedAnswer(RegistryError):
    """Something answers that does not speak the registry's API; `status`: of HTTP, where that says so."""

    def __init__(self, url: str, request: str, reason: str, status: int | None = None) -> None:
        super().__init__(
            f"{url} (--schema-registry-url) answered {request} with {reason}; is it the base address of a "
            "Confluent-compatible API (Apicurio: .../apis/ccompat/v7)?"
        )
        self.url = url
        self.request = request
        self.reason = reason
        self.status = status
