"""The registry's client over real HTTP and TLS, against a registry in memory that fails on request.

tests/integration/test_schema_registry.py asks a real registry the same questions.
"""

from __future__ import annotations

import copy
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

import schemas
from schemas.errors import (
    IncompatibleWithSubject,
    InvalidSchema,
    RegistryAccessDenied,
    RegistryError,
    RegistryNotFound,
    RegistrySettingError,
    RegistryUnavailable,
    SchemaNotRegistered,
    UnexpectedAnswer,
    UnknownSchemaId,
)
from schemas.registry import UNKNOWN_ID_SECONDS, SchemaRegistry, shared_registry
from schemas.registry_settings import RegistrySettings
from tests.fakes.http_server import LocalHttp
from tests.fakes.schema_registry import FakeRegistry, guid_of

CHUNK = schemas.load("audio_chunk")
SECRET = "SYNTHETIC-SECRET"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Served:
    """A fake registry, its server and a client of it."""

    def __init__(self, server: LocalHttp, fake: FakeRegistry) -> None:
        self.server, self.fake, self.clock = server, fake, Clock()
        self.settings = RegistrySettings((server.url,), timeout_seconds=2.0, deadline_seconds=5.0)
        self.client = SchemaRegistry(self.settings, self.clock)

    def with_settings(self, **changes: Any) -> SchemaRegistry:
        return SchemaRegistry(replace(self.settings, **changes))


@pytest.fixture
def served() -> Iterator[Served]:
    fake = FakeRegistry()
    with LocalHttp(fake) as server:
        yield Served(server, fake)


def with_other_texts(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "doc": "Other words."}


def wider(schema: dict[str, Any]) -> dict[str, Any]:
    newer = copy.deepcopy(schema)
    newer["fields"].append({"name": "added", "type": ["null", "string"], "default": None})
    return newer


# Schemas by id and GUID


def test_a_schema_is_asked_for_once(served: Served) -> None:
    schema_id = served.fake.add("a-value", CHUNK)
    assert served.client.schema_of(schema_id) == CHUNK
    assert served.client.schema_of(schema_id) == CHUNK
    assert [request.path for request in served.server.requests] == ["/schemas/ids/1"]
    assert served.server.requests[0].headers["accept"].startswith("application/vnd.schemaregistry.v1+json")


def test_a_guid_names_a_schema_too(served: Served) -> None:
    served.fake.add("a-value", CHUNK)
    assert served.client.schema_of(guid_of(json.dumps(CHUNK))) == CHUNK


def test_an_unknown_id_is_believed_for_a_while_and_then_asked_again(served: Served) -> None:
    for _ in range(3):
        with pytest.raises(UnknownSchemaId, match="id 1"):
            served.client.schema_of(1)
    assert len(served.server.requests) == 1
    served.fake.add("a-value", CHUNK)
    served.clock.now += UNKNOWN_ID_SECONDS + 1
    assert served.client.schema_of(1) == CHUNK


@pytest.mark.parametrize("key", [2**31, 2**32 - 1])
def test_ids_that_no_registry_gives_are_not_asked_for(served: Served, key: int) -> None:
    with pytest.raises(UnknownSchemaId):
        served.client.schema_of(key)
    assert served.server.requests == []


def test_a_registry_without_guids_does_not_know_them(served: Served) -> None:
    served.fake.failures = [(404, "")]
    with pytest.raises(UnknownSchemaId, match="GUID"):
        served.client.schema_of(guid_of("x"))


def test_a_wrong_address_is_no_unknown_id(served: Served) -> None:
    served.fake.failures = [(404, "<html>not here</html>")]
    with pytest.raises(UnexpectedAnswer, match="base address"):
        served.client.schema_of(1)


def test_a_schema_of_another_kind_is_no_schema_for_us(served: Served) -> None:
    served.fake.add("a-value", 'syntax = "proto3";', schemaType="PROTOBUF")
    with pytest.raises(UnknownSchemaId, match="PROTOBUF"):
        served.client.schema_of(1)


def test_references_are_put_in_their_places(served: Served) -> None:
    served.fake.add("mode", {"type": "enum", "name": "Mode", "namespace": "a", "symbols": ["ON"]})
    served.fake.add(
        "settings",
        {"type": "record", "name": "a.Settings", "fields": [{"name": "mode", "type": "a.Mode"}]},
        references=[{"name": "a.Mode", "subject": "mode", "version": 1}],
    )
    whole = {"type": "record", "name": "a.R", "fields": [{"name": "settings", "type": "a.Settings"}]}
    references = [{"name": "a.Settings", "subject": "settings", "version": 1}]
    schema_id = served.fake.add("a-value", whole, references=references)
    found = served.client.schema_of(schema_id)
    assert found["fields"][0]["type"]["fields"][0]["type"]["symbols"] == ["ON"]


# Subjects


def test_a_schema_that_is_registered_has_its_id_and_is_asked_for_once(served: Served) -> None:
    schema_id = served.fake.add("a-value", CHUNK)
    assert [served.client.id_of("a-value", CHUNK) for _ in range(3)] == [schema_id] * 3
    assert len(served.server.requests) == 1


def test_the_same_schema_with_other_texts_is_the_same(served: Served) -> None:
    schema_id = served.fake.add("a-value", with_other_texts(CHUNK))
    served.fake.add("a-value", wider(CHUNK))
    assert served.client.id_of("a-value", CHUNK) == schema_id
    assert served.client.register("a-value", CHUNK) == schema_id
    assert len(served.fake.documents) == 2


def test_nothing_is_registered_by_looking(served: Served) -> None:
    with pytest.raises(SchemaNotRegistered, match="medstream schemas register"):
        served.client.id_of("a-value", CHUNK)
    assert served.fake.subjects == {}


def test_registering_twice_is_registering_once(served: Served) -> None:
    ids = [served.client.register("a/b value", CHUNK) for _ in range(2)]
    assert ids == [1, 1]
    assert served.fake.subjects == {"a/b value": [1]}
    assert [v.schema_id for v in served.client.versions("a/b value")] == [1]


def test_a_refused_schema_names_its_subject(served: Served) -> None:
    served.fake.add("a-value", schemas.load("final_transcript"))
    with pytest.raises(IncompatibleWithSubject, match="'a-value'") as caught:
        served.client.register("a-value", CHUNK)
    assert caught.value.reason == "incompatible by the fake's rule"
    assert not served.client.is_compatible("a-value", CHUNK)
    assert served.client.is_compatible("new", CHUNK)


def test_levels_belong_to_subjects(served: Served) -> None:
    assert served.client.compatibility("a-value") is None
    served.client.set_compatibility("a-value", "FULL")
    assert served.client.compatibility("a-value") == "FULL"


def test_what_is_not_there(served: Served) -> None:
    assert served.client.versions("nothing") == []
    with pytest.raises(RegistryNotFound):
        served.client.version("nothing", 1)
    assert served.client.subjects() == []


# Failures


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, RegistryAccessDenied), (403, RegistryAccessDenied), (422, InvalidSchema), (400, UnexpectedAnswer)],
)
def test_a_refusal_is_told_at_once(served: Served, status: int, error: type[RegistryError]) -> None:
    served.fake.failures = [status]
    with pytest.raises(error) as caught:
        served.client.subjects()
    assert len(served.server.requests) == 1
    assert not caught.value.retryable


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(served: Served, status: int) -> None:
    served.fake.add("a-value", CHUNK)
    served.fake.failures = [status, status]
    assert served.client.schema_of(1) == CHUNK
    assert len(served.server.requests) == 3


def test_what_does_not_pass_is_told_by_the_deadline(served: Served) -> None:
    served.fake.failures = [503] * 1000
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable, match="503") as caught:
        served.with_settings(deadline_seconds=1.0).schema_of(1)
    assert caught.value.retryable
    assert time.monotonic() - started < 5.0
    assert len(served.server.requests) > 2


def test_a_registry_that_is_away_is_told_with_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RegistryUnavailable, match=r"connection was refused.*") as caught:
        SchemaRegistry(RegistrySettings((url,), deadline_seconds=0.5)).subjects()
    assert url in str(caught.value)
    assert "--schema-registry-url" in str(caught.value)


def test_a_registry_that_never_answers_is_told_by_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RegistryUnavailable, match="not answer in time"):
            SchemaRegistry(RegistrySettings((url,), timeout_seconds=0.2, deadline_seconds=0.5)).subjects()


def test_another_address_takes_over(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        away = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert served.with_settings(urls=(away, served.server.url)).subjects() == []


def test_a_host_without_address_is_told() -> None:
    with pytest.raises(RegistryUnavailable, match="cannot be looked up"):
        SchemaRegistry(RegistrySettings(("http://registry.invalid",), deadline_seconds=0.3)).subjects()


@pytest.mark.parametrize("body", ["", "no JSON", "{}", "[]", '{"id": "one"}'])
def test_an_answer_that_is_none_is_told(served: Served, body: str) -> None:
    served.fake.failures = [(200, body)]
    with pytest.raises(UnexpectedAnswer, match="--schema-registry-url"):
        served.client.version("a", 1)


def test_a_redirect_is_not_followed(served: Served) -> None:
    served.fake.failures = [302]
    with pytest.raises(UnexpectedAnswer, match="302"):
        served.client.subjects()


# Credentials


def test_basic_credentials_are_sent(served: Served) -> None:
    served.fake.authorization = "Basic cmVhZGVyOlPDiUNSRVQ="
    assert served.with_settings(user="reader", password="SÉCRET").subjects() == []


def test_a_bearer_token_is_sent(served: Served) -> None:
    served.fake.authorization = f"Bearer {SECRET}"
    assert served.with_settings(bearer_token=SECRET).subjects() == []


def test_wrong_credentials_are_told_with_the_setting_and_without_the_secret(served: Served) -> None:
    served.fake.authorization = "Bearer another"
    with pytest.raises(RegistryAccessDenied, match=r"403.*--schema-registry-config") as caught:
        served.with_settings(bearer_token=SECRET).subjects()
    assert SECRET not in str(caught.value)
    with pytest.raises(RegistryAccessDenied, match=r"401.*basic\.auth\.user\.info"):
        served.client.subjects()


def test_a_registry_that_repeats_the_secret_does_not_make_us_say_it(served: Served) -> None:
    served.fake.failures = [(422, {"error_code": 42201, "message": f"bad request with {SECRET}"})]
    with pytest.raises(InvalidSchema, match=r"\*\*\*") as caught:
        served.with_settings(bearer_token=SECRET).subjects()
    assert SECRET not in str(caught.value)


# TLS


class Authority:
    """A certificate authority with a server's and a client's certificate as PEM files."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.client_file = folder / "client.pem"
        self.ca.issue_cert("client.example").private_key_and_cert_chain_pem.write_to_path(self.client_file)

    def server(self, name: str = "127.0.0.1", *, ask_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        if ask_client:
            self.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def over_tls(tls: ssl.SSLContext, **changes: Any) -> list[str]:
    with LocalHttp(FakeRegistry(), tls) as server:
        return SchemaRegistry(RegistrySettings((server.url,), **changes, deadline_seconds=3.0)).subjects()


def test_an_authority_of_one_s_own_is_trusted(authority: Authority) -> None:
    assert over_tls(authority.server(), ca_file=str(authority.ca_file)) == []


def test_another_authority_is_not(authority: Authority) -> None:
    with pytest.raises(RegistrySettingError, match=r"truststore\.location"):
        over_tls(authority.server())


def test_the_host_s_name_is_checked_unless_that_is_switched_off(authority: Authority) -> None:
    other = authority.server("another.example")
    with pytest.raises(RegistrySettingError, match="--schema-registry-config"):
        over_tls(other, ca_file=str(authority.ca_file))
    assert over_tls(other, ca_file=str(authority.ca_file), check_hostname=False) == []


def test_a_client_certificate_is_shown_where_it_is_asked_for(authority: Authority) -> None:
    asking = authority.server(ask_client=True)
    ca_file = str(authority.ca_file)
    assert over_tls(asking, ca_file=ca_file, client_certificate_file=str(authority.client_file)) == []
    with pytest.raises(RegistryError):
        over_tls(asking, ca_file=ca_file)


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no PEM")
    for changes, setting in (
        ({"ca_file": str(tmp_path / "missing.pem")}, r"truststore\.location: .*missing\.pem: No such file"),
        ({"ca_file": str(broken)}, r"truststore\.location: .*no usable PEM"),
        ({"client_certificate_file": str(broken)}, r"keystore\.location: .*no usable PEM"),
    ):
        with pytest.raises(RegistrySettingError, match=setting):
            SchemaRegistry(RegistrySettings(("https://127.0.0.1:1",), **changes))  # type: ignore[arg-type]


def test_a_process_has_one_client_of_a_registry() -> None:
    settings = RegistrySettings(("http://127.0.0.1:1",))
    assert shared_registry(settings) is shared_registry(replace(settings))
