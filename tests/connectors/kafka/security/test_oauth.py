"""Tokens from an endpoint and from a file: one for all, replaced before its end, and every failure told."""

from __future__ import annotations

import json
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.kafka.errors import TokenRequestFailed
from connectors.kafka.security.oauth import TokenProvider, fetch_token
from connectors.kafka.security.tokens import Token
from tests.fakes.http_server import Answer, LocalHttp

SECRET = "correct-horse"


def settings(url: str, **more: Any) -> dict[str, Any]:
    return {"oauth_token_url": url, "oauth_client_id": "c", "oauth_client_secret": SECRET, **more}


def answers(*script: tuple[int, object]) -> Answer:
    left = list(script)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_a_token_is_fetched() -> None:
    with LocalHttp(answers((200, {"access_token": "t1", "expires_in": 60}))) as server:
        token = fetch_token(settings(f"{server.url}/token", oauth_scope="kafka"), 1_000)
    assert (token.value, token.expires_at) == ("t1", 1_060)
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/token")


def test_a_server_that_recovers_is_asked_again() -> None:
    answer = answers((503, "busy"), (429, "busy"), (200, {"access_token": "t1", "expires_in": 60}))
    with LocalHttp(answer) as server:
        assert fetch_token(settings(server.url), 0).value == "t1"


@pytest.mark.parametrize(
    ("answer", "problem", "retryable", "requests"),
    [
        (
            (401, {"error": "invalid_client", "error_description": SECRET}),
            r"HTTP 401 \(invalid_client\)",
            False,
            1,
        ),
        ((400, {"error": "invalid_scope"}), r"HTTP 400 \(invalid_scope\)", False, 1),
        ((302, SECRET), "it redirects", False, 1),
        ((503, SECRET), "HTTP 503", True, 3),
        ((200, SECRET), "not JSON", False, 1),
        ((200, {"token": SECRET}), "no access_token", False, 1),
    ],
)
def test_a_refusal_is_told(answer: tuple[int, object], problem: str, retryable: bool, requests: int) -> None:
    with LocalHttp(answers(answer)) as server, pytest.raises(TokenRequestFailed, match=problem) as caught:
        fetch_token(settings(f"{server.url}/token?key={SECRET}"), 0)
    assert caught.value.retryable is retryable
    assert len(server.requests) == requests
    assert SECRET not in str(caught.value)
    assert f"{server.url}/token " in str(caught.value)


def test_nobody_answers() -> None:
    with LocalHttp(answers((200, ""))) as server:
        url = server.url
    with pytest.raises(TokenRequestFailed, match="Connection refused") as caught:
        fetch_token(settings(url), 0)
    assert caught.value.retryable
    slow = threading.Event()

    def never(_: Any) -> tuple[int, object]:
        slow.wait(5)
        return 200, ""

    with LocalHttp(never) as server:
        began = time.monotonic()
        with pytest.raises(TokenRequestFailed, match="did not answer in time"):
            fetch_token(settings(server.url, oauth_read_timeout_ms=100), 0)
        assert time.monotonic() - began < 5
        slow.set()


def test_an_untrusted_endpoint_and_its_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    with LocalHttp(answers((200, {"access_token": "t1", "expires_in": 60}))) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        assert server._server is not None
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        with pytest.raises(TokenRequestFailed, match=r"not trusted .*ssl\.truststore\.location"):
            fetch_token(settings(url), 0)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        assert fetch_token(settings(url, oauth_cafile=str(tmp_path / "ca.pem")), 0).value == "t1"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), (b"", "empty"), (b"a b", "one line"), (b"\xff", "not text")],
)
def test_a_token_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "a token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TokenRequestFailed, match=problem) as caught:
        fetch_token({"oauth_token_url": path.as_uri()}, 0)
    assert str(path) in str(caught.value)


# The provider


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Endpoint:
    """Gives tokens t1, t2 ... of 100 s; or fails."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.given = 0
        self.failing = False
        self.asked = threading.Event()

    def __call__(self, _: Any, now: float) -> Token:
        self.asked.set()
        if self.failing:
            raise TokenRequestFailed("https://idp/t", "HTTP 503", retryable=True)
        self.given += 1
        return Token(f"t{self.given}", now, now + 100)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def endpoint(clock: Clock) -> Endpoint:
    return Endpoint(clock)


@pytest.fixture
def provider(clock: Clock, endpoint: Endpoint) -> TokenProvider:
    return TokenProvider(lambda: {"oauth_extensions": "a=1\nb=2"}, endpoint, clock)


def settled(provider: TokenProvider) -> None:
    deadline = time.monotonic() + 5
    while provider._refreshing and time.monotonic() < deadline:
        time.sleep(0.005)


def test_one_token_serves_many_logins(provider: TokenProvider, endpoint: Endpoint, clock: Clock) -> None:
    assert [provider.token() for _ in range(3)] == ["t1"] * 3
    clock.now += 79
    assert provider.token() == "t1"
    assert endpoint.given == 1


def test_a_token_is_replaced_in_the_background(
    provider: TokenProvider, endpoint: Endpoint, clock: Clock
) -> None:
    provider.token()
    clock.now += 85
    assert provider.token() == "t1"  # still good; nobody waits
    settled(provider)
    assert provider.token() == "t2"


def test_a_failed_replacement_leaves_the_token_until_its_end(
    provider: TokenProvider, endpoint: Endpoint, clock: Clock
) -> None:
    provider.token()
    endpoint.failing = True
    clock.now += 85
    assert provider.token() == "t1"
    settled(provider)
    assert provider.token() == "t1"
    settled(provider)
    clock.now += 20
    with pytest.raises(TokenRequestFailed, match="503"):
        provider.token()
    endpoint.failing = False
    assert provider.token() == "t2"


def test_a_refused_token_is_not_used_again(provider: TokenProvider) -> None:
    assert provider.token() == "t1"
    provider.forget()
    assert provider.token() == "t2"


def test_extensions(provider: TokenProvider) -> None:
    assert provider.extensions() == {"a": "1", "b": "2"}
    assert repr(provider) == "TokenProvider()"


def test_a_token_file_is_read_at_each_login(tmp_path: Path) -> None:
    path = tmp_path / "token"
    provider = TokenProvider(lambda: {"oauth_token_url": path.as_uri()})
    for number in (1, 2):
        path.write_text(json.dumps(f"opaque-{number}"))
        assert provider.token() == f'"opaque-{number}"'
