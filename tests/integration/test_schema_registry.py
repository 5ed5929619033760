"""Our client and command against a real registry (Apicurio), also behind TLS and a login."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import urllib3
from typer.testing import CliRunner

import schemas
from deploy.local.registry import SchemaRegistryServer
from deploy.local.stack import LocalStack
from pipeline import cli
from schemas.compatibility import incompatibilities
from schemas.errors import (
    IncompatibleWithSubject,
    InvalidSchema,
    RegistryAccessDenied,
    RegistryUnavailable,
    SchemaNotRegistered,
    UnexpectedAnswer,
    UnknownSchemaId,
)
from schemas.registry import SchemaRegistry
from schemas.registry_serde import RegistrySerde
from schemas.registry_settings import RegistrySettings
from tests.fakes.http_server import LocalHttp, Received
from tests.schemas.schema_pairs import COMPATIBLE, INCOMPATIBLE

FINAL = schemas.load("final_transcript")


@pytest.fixture
def settings(schema_registry: SchemaRegistryServer) -> RegistrySettings:
    return RegistrySettings((schema_registry.url,))


@pytest.fixture
def client(settings: RegistrySettings) -> SchemaRegistry:
    return SchemaRegistry(settings)


@pytest.fixture
def subject() -> str:
    return f"t{uuid.uuid4().hex[:10]}-value"


def broken(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "fields": [*schema["fields"], {"name": "added", "type": "string"}]}


def test_a_schema_is_registered_found_and_read_back(client: SchemaRegistry, subject: str) -> None:
    assert client.versions(subject) == []
    with pytest.raises(SchemaNotRegistered):
        client.id_of(subject, FINAL)
    schema_id = client.register(subject, FINAL)
    assert client.register(subject, FINAL) == schema_id
    assert client.id_of(subject, FINAL) == schema_id
    assert [version.schema for version in client.versions(subject)] == [FINAL]
    assert client.schema_of(schema_id) == FINAL
    assert subject in client.subjects()


def test_another_process_finds_the_same_id_also_with_other_texts(
    client: SchemaRegistry, settings: RegistrySettings, subject: str
) -> None:
    schema_id = client.register(subject, {**FINAL, "doc": "Other words."})
    assert SchemaRegistry(settings).id_of(subject, FINAL) == schema_id


def test_what_the_registry_refuses_is_told_by_kind(client: SchemaRegistry, subject: str) -> None:
    client.register(subject, FINAL)
    client.set_compatibility(subject, "BACKWARD_TRANSITIVE")
    assert client.compatibility(subject) == "BACKWARD_TRANSITIVE"
    assert not client.is_compatible(subject, broken(FINAL))
    with pytest.raises(IncompatibleWithSubject, match=subject):
        client.register(subject, broken(FINAL))
    with pytest.raises(InvalidSchema, match=r"."):
        client._http.request("POST", f"/subjects/{subject}/versions", "nonsense", {"schema": "{nonsense"})


def test_ids_that_are_not_there(client: SchemaRegistry) -> None:
    for key in (0, 999_999, 2**31 - 1, 2**32 - 1, uuid.uuid4()):
        with pytest.raises(UnknownSchemaId):
            client.schema_of(key)


def test_a_wrong_base_address_is_told(schema_registry: SchemaRegistryServer) -> None:
    root = schema_registry.url.removesuffix("/apis/ccompat/v7")
    with pytest.raises(UnexpectedAnswer, match="base address"):
        SchemaRegistry(RegistrySettings((root,))).versions("a-value")


def test_a_record_written_by_id_is_read_by_another_version(settings: RegistrySettings, subject: str) -> None:
    newer = {**FINAL, "fields": [*FINAL["fields"], {"name": "added", "type": "int", "default": 0}]}
    writer = RegistrySerde(newer, SchemaRegistry(settings), subject, auto_register=True)
    reader = RegistrySerde("final_transcript", SchemaRegistry(settings))
    record = final_record()
    decoded = reader.decode(writer.encode({**record, "added": 5}))
    assert decoded == {
        **record,
        "started_at": None,
        "content_identification_type": None,
        "phi_masked": False,
    }


def final_record() -> dict[str, Any]:
    item = {
        "content": "synthetic",
        "type": "pronunciation",
        "start_time": 0.5,
        "end_time": 1.0,
        "confidence": 0.5,
        "speaker": None,
        "vocabulary_filter_match": False,
    }
    return {
        "session_id": "visite-é",
        "result_id": "r1",
        "segment_index": 3,
        "channel_id": "ch_0",
        "start_time": 0.5,
        "end_time": 1.0,
        "alternatives": [{"transcript": "synthetic", "items": [item], "entities": []}],
        "language_code": "en-US",
        "specialty": "UROLOGY",
        "type": "DICTATION",
        "sample_rate_hertz": 16000,
        "source": {"topic": "audio", "partition": 0, "first_offset": 1, "last_offset": 9},
        "stream_id": "stream",
        "request_id": None,
    }


def in_a_record(schema: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Outer", "fields": [{"name": "inner", "type": schema}]}


@pytest.mark.parametrize(("reader", "writer"), [*COMPATIBLE, *(case[:2] for case in INCOMPATIBLE)])
def test_our_rules_are_those_of_the_registry(
    client: SchemaRegistry, subject: str, reader: Any, writer: Any
) -> None:
    """Apicurio asks Avro's own Java implementation."""
    client.register(subject, in_a_record(writer))
    client.set_compatibility(subject, "BACKWARD")
    ours = incompatibilities(in_a_record(reader), in_a_record(writer)) == []
    assert client.is_compatible(subject, in_a_record(reader)) == ours


def test_the_command_registers_and_checks(schema_registry: SchemaRegistryServer, subject: str) -> None:
    topic = subject.removesuffix("-value")
    options = [
        f"--schema-registry-url={schema_registry.url}",
        f"--input-topic={topic}",
        f"--output-topic={topic}.f",
    ]
    for command, told in (
        ("register", "registered, id"),
        ("register", "was registered already"),
        ("check", "is registered, id"),
    ):
        done = CliRunner().invoke(cli.app, ["schemas", command, *options])
        assert done.exit_code == 0, done.output
        assert done.output.count(told) == 3


class Front:
    """TLS and a login before the real registry; `failures` are answered before anything is passed on."""

    def __init__(self, behind: str, authorization: str) -> None:
        self.failures: list[int] = []
        self._behind = behind
        self._authorization = authorization
        self._http = urllib3.PoolManager()

    def __call__(self, request: Received) -> tuple[int, str]:
        given = request.headers.get("authorization")
        if given != self._authorization:
            return (403 if given else 401), "{}"
        if self.failures:
            return self.failures.pop(0), ""
        headers = {name: request.headers[name] for name in ("content-type", "accept")}
        body = request.body or None
        answer = self._http.request(request.method, self._behind + request.path, body=body, headers=headers)
        return answer.status, answer.data.decode()


@contextmanager
def fronted(front: Front, folder: Path) -> Iterator[RegistrySettings]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with LocalHttp(front, context) as server:
        yield RegistrySettings((server.url,), ca_file=str(folder / "ca.pem"))


def test_behind_tls_and_a_login(schema_registry: SchemaRegistryServer, subject: str, tmp_path: Path) -> None:
    front = Front(schema_registry.url, "Basic dXNlcjpwYXNzd29yZA==")
    with fronted(front, tmp_path) as settings:
        known = replace(settings, user="user", password="password")
        front.failures = [503, 500, 429]
        schema_id = SchemaRegistry(known).register(subject, FINAL)
        assert SchemaRegistry(known).schema_of(schema_id) == FINAL
        with pytest.raises(RegistryAccessDenied, match="401"):
            SchemaRegistry(settings).register(subject, FINAL)
        with pytest.raises(RegistryAccessDenied, match="403"):
            SchemaRegistry(replace(settings, user="user", password="wrong")).schema_of(schema_id)
        front.failures = [503] * 1000
        with pytest.raises(RegistryUnavailable, match="503"):
            SchemaRegistry(replace(known, deadline_seconds=1.0)).subjects()


def test_a_registry_that_dies_is_told_within_15_s_and_comes_back_with_its_schemas(
    schema_registry: SchemaRegistryServer, settings: RegistrySettings, subject: str
) -> None:
    client = SchemaRegistry(settings)
    schema_id = client.register(subject, FINAL)
    schema_registry.kill()
    try:
        started = time.monotonic()
        with pytest.raises(RegistryUnavailable, match="--schema-registry-url") as caught:
            client.schema_of(schema_id)
        assert time.monotonic() - started < 15.0
        assert caught.value.retryable
        assert client.id_of(subject, FINAL) == schema_id  # known before, needs nobody
    finally:
        schema_registry.restart()
    assert client.schema_of(schema_id) == FINAL
    assert json.dumps(SchemaRegistry(settings).version(subject, 1).schema) == json.dumps(FINAL)


def test_the_local_stack_has_a_registry_where_it_is_asked_for(tmp_path: Path) -> None:
    """Only the registry is started; tests/integration/test_stack.py starts whole stacks."""
    assert LocalStack(tmp_path).registry is None
    registry = LocalStack(tmp_path, schema_registry=True).registry
    assert registry is not None
    with registry:
        running = LocalStack(tmp_path)  # knows by the folder
        status = {server.name: server for server in running.status()}["Registry"]
        assert status.running
        assert SchemaRegistry(RegistrySettings((status.addresses["schema_registry_url"],))).subjects() == []
        running.stop()
    assert not registry.is_running()
