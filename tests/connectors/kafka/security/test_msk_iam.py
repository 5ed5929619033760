"""Logins with AWS credentials: the signature against two other implementations, credentials that change."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from kafka.net.sasl.msk import AwsMskIamClient

from connectors.kafka.errors import AwsCredentialsNotFound
from connectors.kafka.security.msk_iam import IamSigner, region_of
from connectors.transcribe.sigv4 import (
    CredentialScope,
    canonical_request,
    derive_signing_key,
    request_signature,
)
from tests.fakes.http_server import LocalHttp, Received

HOST = "b-1.cluster.abc123.c2.kafka.eu-west-1.amazonaws.com"
KEY, SECRET, SESSION = "AKIDSYNTHETIC", "synthetic/secret+key", "synthetic/session=token"
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A synthetic key, and nothing of this machine's."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def signer(**settings: Any) -> IamSigner:
    return IamSigner(lambda: settings)


def expected_signature(host: str, query: dict[str, str], secret: str = SECRET) -> str:
    """By our own Signature Version 4, which the streaming client's tests hold against AWS's vectors."""
    signed = {name: value for name, value in query.items() if name not in ("X-Amz-Signature", "User-Agent")}
    date, region, service = signed["X-Amz-Credential"].split("/")[1:4]
    scope = CredentialScope(date, region, service)
    canonical = canonical_request("GET", "/", signed.items(), [("host", host)], EMPTY_SHA256)
    key = derive_signing_key(secret, date, region, service)
    return request_signature(key, canonical, signed["X-Amz-Date"], scope)


NAMES = (
    "Action",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)


def test_the_payload_is_signed_as_aws_documents_it() -> None:
    payload = json.loads(signer().payload(HOST))
    query = {name: payload[name.lower()] for name in (*NAMES, "X-Amz-Security-Token")}
    assert payload.pop("x-amz-signature") == expected_signature(HOST, query)
    date = payload["x-amz-date"][:8]
    assert payload == {
        "version": "2020_10_22",
        "host": HOST,
        "user-agent": "medstream",
        "action": "kafka-cluster:Connect",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{KEY}/{date}/eu-west-1/kafka-cluster/aws4_request",
        "x-amz-date": payload["x-amz-date"],
        "x-amz-security-token": SESSION,
        "x-amz-signedheaders": "host",
        "x-amz-expires": "900",
    }


def test_the_payload_is_that_of_the_library() -> None:
    payload = json.loads(signer().payload(HOST))
    library = AwsMskIamClient(HOST, KEY, SECRET, "eu-west-1", SESSION)
    library.timestamp, library.datestamp = payload["x-amz-date"], payload["x-amz-date"][:8]
    assert payload == json.loads(library.first_message()) | {"user-agent": "medstream"}


def test_the_oauth_token_is_a_presigned_url() -> None:
    token = signer().oauth_token(HOST)
    url = urlsplit(urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    query = dict(parse_qsl(url.query))
    assert (url.scheme, url.netloc, url.path) == ("https", "kafka.eu-west-1.amazonaws.com", "/")
    assert query["User-Agent"] == "medstream"
    assert query["X-Amz-Signature"] == expected_signature(url.netloc, query)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (HOST, "eu-west-1"),
        ("boot-abc.c1.kafka-serverless.us-east-2.amazonaws.com", "us-east-2"),
        ("b-1.c.abc.c1.kafka.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("B-1.C.ABC.C1.KAFKA.US-GOV-WEST-1.AMAZONAWS.COM.", "us-gov-west-1"),
        ("kafka.example", None),
        ("b-1.kafka.us-east-1.amazonaws.com.evil.example", None),
        ("127.0.0.1", None),
    ],
)
def test_the_region_in_a_broker_s_name(host: str, region: str | None) -> None:
    assert region_of(host) == region


def credential(payload: bytes) -> str:
    return str(json.loads(payload)["x-amz-credential"])


def test_the_region_of_a_private_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AwsCredentialsNotFound, match=r"no AWS region: the name kafka\.example"):
        signer().payload("kafka.example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-1")
    assert "/us-west-1/" in credential(signer().payload("kafka.example"))
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert "/us-west-2/" in credential(signer().payload("kafka.example"))
    assert "/ap-south-1/" in credential(signer(iam_region="ap-south-1").payload(HOST))


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(AwsCredentialsNotFound, match="AWS_ACCESS_KEY_ID"):
        signer().payload(HOST)
    with pytest.raises(AwsCredentialsNotFound, match=r"profile \(nobody\)"):
        signer(iam_profile_name="nobody").payload(HOST)


def test_a_profile_whose_key_is_rotated(tmp_path: Path) -> None:
    file, one = tmp_path / "credentials", signer(iam_profile_name="kafka")
    for key in ("AKIDFIRST", "AKIDSECOND"):
        file.write_text(f"[kafka]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n")
        assert credential(one.payload(HOST)).startswith(f"{key}/")


def assume_role_answer(number: int, seconds: int) -> str:
    from datetime import UTC, datetime, timedelta

    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
      <Credentials><AccessKeyId>ASIAROLE{number}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
      <SessionToken>t{number}</SessionToken><Expiration>{expires}</Expiration></Credentials>
      <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>x</AssumedRoleId></AssumedRoleUser>
      </AssumeRoleResult></AssumeRoleResponse>"""


@pytest.mark.parametrize(("seconds", "requests"), [(3600, 1), (60, 2)])
def test_a_role_is_assumed_and_renewed_before_it_expires(
    monkeypatch: pytest.MonkeyPatch, seconds: int, requests: int
) -> None:
    """Credentials that end within minutes are renewed by botocore at the next login."""
    sts = LocalHttp(lambda _: (200, assume_role_answer(len(sts.requests), seconds)))
    with sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        one = signer(
            iam_role_arn="arn:aws:iam::1:role/r", iam_role_external_id="x-1", iam_sts_region="eu-west-1"
        )
        keys = [credential(one.payload(HOST)).split("/")[0] for _ in range(2)]
    assert keys == ["ASIAROLE1", f"ASIAROLE{requests}"]
    assert len(sts.requests) == requests
    form = dict(parse_qsl(sts.requests[0].body))
    assert (form["RoleArn"], form["ExternalId"]) == ("arn:aws:iam::1:role/r", "x-1")
    assert form["RoleSessionName"] == "medstream"


def test_a_refused_role_is_told_in_the_service_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(_: Received) -> tuple[int, object]:
        error = "<Error><Code>AccessDenied</Code><Message>not you</Message></Error>"
        return 403, f"<ErrorResponse>{error}</ErrorResponse>"

    with LocalHttp(deny) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        with pytest.raises(AwsCredentialsNotFound, match=r"AccessDenied.*not you") as caught:
            signer(iam_role_arn="arn:aws:iam::1:role/r").payload(HOST)
    assert SECRET not in str(caught.value)
