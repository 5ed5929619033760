"""Tokens as values: requests, answers, and when one is due."""

from __future__ import annotations

import contextlib
import json
from base64 import b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.security.tokens import (
    Token,
    TokenFormatError,
    jwt_expiry,
    read_answer,
    read_error,
    read_token_file,
    token_request,
)

SECRET = "p:ä ss%"


def jwt(**claims: object) -> str:
    return ".".join(
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims, "")
    )


def test_the_request_is_that_of_client_credentials() -> None:
    headers, body = token_request("c", SECRET, "a b")
    assert b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == f"c:{SECRET}"
    assert body == b"grant_type=client_credentials&scope=a+b"
    headers, body = token_request("c d", SECRET, None, url_encode=True)
    assert b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == "c+d:p%3A%C3%A4+ss%25"
    assert body == b"grant_type=client_credentials"


def test_an_answer_tells_the_earlier_of_two_ends() -> None:
    for lifetime, exp, expected in ((60, 2_000, 1_060), (6_000, 2_000, 2_000), (None, 2_000, 2_000)):
        token = read_answer(
            json.dumps({"access_token": jwt(exp=exp), "expires_in": lifetime}).encode(), 1_000
        )
        assert token.expires_at == expected
    opaque = read_answer(b'{"access_token": "opaque"}', 1_000)
    assert opaque.expires_at is None
    assert opaque.due(1_000)


def test_a_token_is_due_before_it_expires() -> None:
    token = Token("t", 1_000, 1_100)
    assert [token.due(now) for now in (1_000, 1_079, 1_080, 1_100)] == [False, False, True, True]
    assert [token.expired(now) for now in (1_080, 1_099, 1_100)] == [False, False, True]
    assert "t" not in repr(token).removeprefix("Token(received_at").replace("expires_at", "")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"access_token": 5}', b'{"access_token": "a b"}'])
def test_an_answer_without_a_token(body: bytes) -> None:
    with pytest.raises(TokenFormatError):
        read_answer(body, 0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": "invalid_client"}', "invalid_client"),
        (b"<html>", None),
        (b'{"error": "a long story"}', None),
    ],
)
def test_the_code_of_a_refusal(body: bytes, code: str | None) -> None:
    assert read_error(body) == code


def test_a_token_file() -> None:
    assert read_token_file(f"\n{jwt(exp=5.5)}\n", 0).expires_at == 5.5
    for content in ("", "two\nlines", "tab\there"):
        with pytest.raises(TokenFormatError):
            read_token_file(content, 0)


@given(st.text(max_size=60), st.binary(max_size=60))
def test_nothing_but_format_errors(text: str, body: bytes) -> None:
    jwt_expiry(text)
    jwt_expiry(f"a.{text}.b")
    read_error(body)
    for read in (lambda: read_answer(body, 0), lambda: read_token_file(text, 0)):
        with contextlib.suppress(TokenFormatError):
            read()
