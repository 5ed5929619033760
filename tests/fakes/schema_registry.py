"""A schema registry with Confluent's API in memory, with what Apicurio lacks: GUIDs, failures on request."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from schemas.compatibility import incompatibilities
from tests.fakes.http_server import Received

NOT_FOUND = {"subject": 40401, "version": 40402, "schema": 40403}
Answer = tuple[int, object]


def guid_of(text: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, text)


@dataclass
class FakeRegistry:
    """`LocalHttp(FakeRegistry())` serves it. `failures`: statuses (or whole answers) of the next requests."""

    authorization: str | None = None
    failures: list[Any] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)

    def __call__(self, request: Received) -> Answer:
        if self.failures:
            failure = self.failures.pop(0)
            return (
                failure if isinstance(failure, tuple) else (failure, {"error_code": failure, "message": "no"})
            )
        given = request.headers.get("authorization")
        if self.authorization is not None and given != self.authorization:
            return (403 if given else 401), {"error_code": 40101, "message": f"not with {given}"}
        path = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        body = json.loads(request.body) if request.body else None
        return self._answer(request.method, path, body)

    def add(self, subject: str, schema: Any, **more: Any) -> int:
        """Register without asking any rule; the id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        document = {"schema": text, "guid": str(guid_of(text)), **more}
        if document not in self.documents:
            self.documents.append(document)
        schema_id = self.documents.index(document) + 1
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    def _answer(self, method: str, path: list[str], body: Any) -> Answer:
        match method, path:
            case "GET", ["subjects"]:
                return 200, list(self.subjects)
            case "GET", ["schemas", "ids", number]:
                return self._by_id(int(number))
            case "GET", ["schemas", "guids", guid]:
                found = [d for d in self.documents if str(guid_of(d["schema"])) == guid]
                return (200, found[0]) if found else _missing("schema")
            case "GET", ["config", subject]:
                level = self.levels.get(subject)
                return (200, {"compatibilityLevel": level}) if level else (404, {"error_code": 40408})
            case "PUT", ["config", subject]:
                self.levels[subject] = body["compatibility"]
                return 200, body
            case "POST", ["compatibility", "subjects", subject, "versions", _]:
                return 200, {"is_compatible": self._fits(subject, body["schema"])}
            case _, ["subjects", subject, *rest]:
                return self._subject(method, subject, rest, body)
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _by_id(self, number: int) -> Answer:
        return (200, self.documents[number - 1]) if 0 < number <= len(self.documents) else _missing("schema")

    def _subject(self, method: str, subject: str, rest: list[str], body: Any) -> Answer:
        versions = self.subjects.get(subject)
        if method == "POST" and rest == ["versions"]:
            if not self._fits(subject, body["schema"]):
                return 409, {"error_code": 409, "message": "incompatible by the fake's rule"}
            schema_id = self.add(subject, body["schema"])
            return 200, {"id": schema_id, "guid": self.documents[schema_id - 1]["guid"]}
        if versions is None:
            return _missing("subject")
        if method == "POST":
            found = [n for n in versions if self.documents[n - 1]["schema"] == body["schema"]]
            return (
                (200, self._version(subject, versions.index(found[0]) + 1)) if found else _missing("schema")
            )
        if rest == ["versions"]:
            return 200, list(range(1, len(versions) + 1))
        number = int(rest[1])
        return (200, self._version(subject, number)) if 0 < number <= len(versions) else _missing("version")

    def _version(self, subject: str, number: int) -> dict[str, Any]:
        schema_id = self.subjects[subject][number - 1]
        return {"subject": subject, "version": number, "id": schema_id, **self.documents[schema_id - 1]}

    def _fits(self, subject: str, text: str) -> bool:
        older = [json.loads(self.documents[n - 1]["schema"]) for n in self.subjects.get(subject, [])]
        return not any(incompatibilities(json.loads(text), schema) for schema in older)


def _missing(what: str) -> Answer:
    return 404, {"error_code": NOT_FOUND[what], "message": f"no such {what}"}
