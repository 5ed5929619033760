"""The providers of botocore's chain that ask somebody, on loopback: container, instance, web identity, SSO.

Each test sets what a platform sets and answers as it answers. The keys and tokens are synthetic.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.transcribe.credentials import CredentialsSource, load_credentials
from connectors.transcribe.errors import CredentialsNotFoundError
from connectors.transcribe.eventstream import decode_message
from connectors.transcribe.http2_protocol import Http2StreamProtocol
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import (
    Credentials,
    derive_signing_key,
    event_signature,
    parse_authorization,
    parse_signed_event,
)
from tests.fakes.http_server import LocalHttp, Received

NOW_MS = 1_795_453_475_575
ROLE = "arn:aws:iam::123456789012:role/synthetic"
WEB_TOKEN = "synthetic-web-identity-token"
SSO_TOKEN = "synthetic-sso-access-token"
CONTAINER_TOKEN = "synthetic-container-token"


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine the test runs on, and nobody asked twice."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def when(seconds: float) -> str:
    """A moment from now on, as AWS writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def keys(number: int = 1, *, lifetime_seconds: float = 3600) -> dict[str, str]:
    return {
        "AccessKeyId": f"AKID{number}",
        "SecretAccessKey": f"synthetic-secret-{number}",
        "Token": f"synthetic-token-{number}",
        "Expiration": when(lifetime_seconds),
    }


def credentials(number: int = 1) -> Credentials:
    return Credentials(f"AKID{number}", f"synthetic-secret-{number}", f"synthetic-token-{number}")


def refused(call: Callable[[], object] = load_credentials) -> str:
    """The one sentence of a chain that found nothing."""
    with pytest.raises(CredentialsNotFoundError) as caught:
        call()
    message = str(caught.value)
    assert caught.value.__cause__ is None
    assert message.isprintable()  # no second line
    assert len(message) < 600
    for secret in ("synthetic-secret", "synthetic-token", WEB_TOKEN, SSO_TOKEN, CONTAINER_TOKEN):
        assert secret not in message
    return message


# Container: ECS, EKS Pod Identity


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHttp]:
    """The agent of a container; it hands out new keys each time, good for an hour."""
    with LocalHttp(lambda _request: (200, keys(len(server.requests)))) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN)
        yield server


def test_from_a_container_s_agent(container: LocalHttp) -> None:
    assert load_credentials() == credentials()
    (request,) = container.requests
    assert (request.method, request.path) == ("GET", "/v1/credentials")
    assert request.headers["authorization"] == CONTAINER_TOKEN


def test_a_container_s_token_may_be_in_a_file_that_changes(
    container: LocalHttp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(CONTAINER_TOKEN)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    source = CredentialsSource()
    source.current()
    token.write_text("another-token")
    source.reload()
    source.current()
    assert [request.headers["authorization"] for request in container.requests] == [
        CONTAINER_TOKEN,
        "another-token",
    ]


def test_credentials_with_time_left_are_not_asked_for_again(container: LocalHttp) -> None:
    source = CredentialsSource()
    assert [source.current() for _ in range(3)] == [credentials()] * 3
    assert len(container.requests) == 1
    source.reload()
    assert source.current() == credentials(2)


def test_credentials_near_their_end_are_renewed_for_the_next_stream(container: LocalHttp) -> None:
    container.answer = lambda _request: (200, keys(len(container.requests), lifetime_seconds=300))
    source = CredentialsSource()
    first, second = source.current(), source.current()
    assert first != second
    assert (first.access_key_id, second.access_key_id) == ("AKID2", "AKID3")  # renewed before each stream


def test_a_stream_keeps_what_it_began_with_while_the_source_renews(container: LocalHttp) -> None:
    container.answer = lambda _request: (200, keys(len(container.requests), lifetime_seconds=300))
    source = CredentialsSource()
    first = source.current()
    stream = Http2StreamProtocol(
        StartMedicalStreamTranscriptionRequest(), first, authority="example.test", region="us-east-1"
    )
    authorization = parse_authorization(dict(stream.start(NOW_MS))["authorization"])
    key = derive_signing_key(first.secret_access_key, authorization.scope.date, "us-east-1")
    prior = authorization.signature
    for number in range(3):
        assert source.current() != first
        event = parse_signed_event(decode_message(stream.send_audio(b"synthetic", NOW_MS + number)))
        expected = event_signature(key, authorization.scope, prior, event.date_ms, event.payload)
        assert event.signature == expected
        prior = expected.hex()


def test_expired_credentials_are_renewed_at_once(container: LocalHttp) -> None:
    lifetimes = iter([-60, 3600])
    container.answer = lambda _request: (
        200,
        keys(len(container.requests), lifetime_seconds=next(lifetimes)),
    )
    assert load_credentials() == credentials(2)


def test_credentials_that_are_always_expired_are_an_error(container: LocalHttp) -> None:
    container.answer = lambda _request: (200, keys(lifetime_seconds=-60))
    assert "could not be refreshed" in refused()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, {"message": "not this pod"}, "not this pod"),
        (200, "no JSON", "JSON"),
        (200, {"AccessKeyId": "AKID1", "SecretAccessKey": "synthetic-secret-1"}, "KeyError"),
        (200, [], "TypeError"),
        (200, keys() | {"Expiration": "synthetic-secret: no date"}, "ParserError"),
    ],
)
def test_an_agent_that_gives_none(container: LocalHttp, status: int, body: object, said: str) -> None:
    container.answer = lambda _request: (status, body)
    assert said in refused()


def test_a_renewal_that_fails_is_told_and_the_next_may_succeed(container: LocalHttp) -> None:
    answers = iter([(200, keys(1, lifetime_seconds=60)), (200, keys(2, lifetime_seconds=60)), (200, {})])
    container.answer = lambda _request: next(answers, (200, keys(9)))
    source = CredentialsSource()
    assert source.current() == credentials(2)
    assert "could not be refreshed" in refused(source.current)
    assert source.current() == credentials(9)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.test/credentials", "ValueError"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/", "127.0.0.1"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", f"{CONTAINER_TOKEN}\nnext: line", "ValueError"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nowhere/token", "No such file or directory: /nowhere"),
    ],
)
@pytest.mark.usefixtures("container")
def test_a_container_s_wrong_settings(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    assert said in refused()


# Instance: EC2


def instance(token: str, role: str = "synthetic-role") -> Callable[[Received], tuple[int, object]]:
    """The metadata service, version 2: a token by PUT, then the role's keys for who shows it."""

    def answer(request: Received) -> tuple[int, object]:
        if (request.method, request.path) == ("PUT", "/latest/api/token"):
            return 200, token
        if request.headers.get("x-aws-ec2-metadata-token") != token:
            return 401, ""
        *_, folder, name = request.path.split("/")
        if not folder.startswith("security-credentials"):
            return 404, ""
        return (200, role) if not name else (200, {"Code": "Success", **keys()})

    return answer


def test_from_an_instance_s_role(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalHttp(instance("synthetic-imds-token")) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        assert load_credentials() == credentials()
        put, *gets = server.requests
        assert put.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
        assert {get.headers["x-aws-ec2-metadata-token"] for get in gets} == {"synthetic-imds-token"}


@pytest.mark.parametrize("status", [404, 500])
def test_an_instance_without_a_role_is_no_credentials(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with LocalHttp(lambda _request: (status, "")) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        assert "AWS_ACCESS_KEY_ID" in refused()
        assert server.requests


# Web identity: IRSA


def assumed(number: int, *, lifetime_seconds: float = 3600) -> str:
    """The answer of STS, as XML."""
    return f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
 <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKID{number}</AccessKeyId>
 <SecretAccessKey>synthetic-secret-{number}</SecretAccessKey>
 <SessionToken>synthetic-token-{number}</SessionToken>
 <Expiration>{when(lifetime_seconds)}</Expiration></Credentials>
 <AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>synthetic</AssumedRoleId></AssumedRoleUser>
 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHttp]:
    """The token service, and a pod's variables; each call gives new keys, good for an hour."""
    (tmp_path / "web-token").write_text(WEB_TOKEN)
    with LocalHttp(lambda _request: (200, assumed(len(server.requests)))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "web-token"))
        yield server


def test_from_a_pod_s_web_identity(sts: LocalHttp) -> None:
    source = CredentialsSource()
    assert [source.current() for _ in range(3)] == [credentials()] * 3
    (request,) = sts.requests
    asked = parse_qs(request.body)
    assert asked["Action"] == ["AssumeRoleWithWebIdentity"]
    assert (asked["RoleArn"], asked["WebIdentityToken"]) == ([ROLE], [WEB_TOKEN])
    assert "authorization" not in request.headers  # the token is the proof


def test_a_web_identity_is_read_again_for_each_renewal(sts: LocalHttp, tmp_path: Path) -> None:
    sts.answer = lambda _request: (200, assumed(len(sts.requests), lifetime_seconds=300))
    source = CredentialsSource()
    source.current()
    (tmp_path / "web-token").write_text("rotated-token")
    source.current()
    assert [parse_qs(request.body)["WebIdentityToken"] for request in sts.requests] == [
        [WEB_TOKEN],
        ["rotated-token"],
    ]


def sts_error(code: str, message: str) -> str:
    return (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    )


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, sts_error("AccessDenied", "Not authorized to perform sts"), "AccessDenied.*Not authorized"),
        (400, sts_error("InvalidIdentityToken", "Incorrect\ntoken audience"), "Incorrect token audience"),
        (500, "", "500"),
        (200, "no XML", "refreshed"),
    ],
)
def test_a_token_service_that_refuses(sts: LocalHttp, status: int, body: str, said: str) -> None:
    sts.answer = lambda _request: (status, body)
    with pytest.raises(CredentialsNotFoundError, match=said):
        load_credentials()
    refused()


def test_a_web_identity_without_its_token(sts: LocalHttp, tmp_path: Path) -> None:
    (tmp_path / "web-token").unlink()
    assert str(tmp_path / "web-token") in refused()
    assert sts.requests == []


@pytest.mark.usefixtures("sts")
def test_a_web_identity_without_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ROLE_ARN")
    assert "AWS_ROLE_ARN" in refused()


@pytest.mark.usefixtures("sts")
def test_a_token_service_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    assert "http://127.0.0.1:1" in refused()


# SSO: IAM Identity Center

# botocore fixes the folder of its tokens when it is imported, so each test asks a new process.
ASK = """
from connectors.transcribe.credentials import load_credentials
from connectors.transcribe.errors import CredentialsNotFoundError
try:
    found = load_credentials("clinic")
    print(found.access_key_id, found.secret_access_key, found.session_token)
except CredentialsNotFoundError as error:
    print("refused:", error)
"""


def ask_with_home(home: Path) -> str:
    """What a process prints that takes credentials from the profile `clinic`."""
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def log_in(home: Path, *, lifetime_seconds: float) -> None:
    """Leave what `aws sso login` leaves."""
    folder = home / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True)
    name = hashlib.sha1(b"hospital", usedforsecurity=False).hexdigest()  # the session's name
    token = {"accessToken": SSO_TOKEN, "expiresAt": when(lifetime_seconds), "region": "us-east-1"}
    (folder / f"{name}.json").write_text(json.dumps(token))


@pytest.fixture
def sso(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHttp]:
    """The portal, and a profile that uses it."""

    def answer(_request: Received) -> tuple[int, object]:
        found = {
            "accessKeyId": "AKID1",
            "secretAccessKey": "synthetic-secret-1",
            "sessionToken": "synthetic-token-1",
            "expiration": int(datetime.now(UTC).timestamp() + 3600) * 1000,
        }
        return 200, {"roleCredentials": found}

    (tmp_path / "config").write_text(
        "[profile clinic]\nsso_session = hospital\nsso_account_id = 123456789012\nsso_role_name = reader\n"
        "[sso-session hospital]\nsso_region = us-east-1\nsso_start_url = https://hospital.test/start\n"
    )
    with LocalHttp(answer) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", server.url)
        yield server


def test_from_a_login_at_the_portal(sso: LocalHttp, tmp_path: Path) -> None:
    log_in(tmp_path, lifetime_seconds=3600)
    assert ask_with_home(tmp_path) == "AKID1 synthetic-secret-1 synthetic-token-1"
    (request,) = sso.requests
    assert urlsplit(request.path).path == "/federation/credentials"
    assert parse_qs(urlsplit(request.path).query) == {
        "role_name": ["reader"],
        "account_id": ["123456789012"],
    }
    assert request.headers["x-amz-sso_bearer_token"] == SSO_TOKEN


@pytest.mark.parametrize("lifetime_seconds", [None, -60])
def test_without_a_login_or_after_its_end(
    sso: LocalHttp, tmp_path: Path, lifetime_seconds: float | None
) -> None:
    if lifetime_seconds is not None:
        log_in(tmp_path, lifetime_seconds=lifetime_seconds)
    said = ask_with_home(tmp_path)
    assert said.startswith("refused: the AWS credentials could not be refreshed: ")
    assert "sso" in said.lower()
    assert SSO_TOKEN not in said
    assert sso.requests == []


def test_a_portal_that_refuses(sso: LocalHttp, tmp_path: Path) -> None:
    log_in(tmp_path, lifetime_seconds=3600)
    sso.answer = lambda _request: (403, {"__type": "ForbiddenException", "message": "No access"})
    said = ask_with_home(tmp_path)
    assert said.startswith("refused: ")
    assert "No access" in said
    assert SSO_TOKEN not in said


# Privacy


def test_what_the_providers_exchange_is_not_logged(
    container: LocalHttp, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([(200, keys(1, lifetime_seconds=60)), (200, keys(2, lifetime_seconds=60)), (200, {})])
    container.answer = lambda _request: next(answers)
    with caplog.at_level(logging.DEBUG):
        source = CredentialsSource()
        source.current()
        refused(source.current)
    assert caplog.records  # botocore warns of the failed renewal: capturing works
    for secret in ("synthetic-secret", "synthetic-token", CONTAINER_TOKEN):
        assert secret not in caplog.text
