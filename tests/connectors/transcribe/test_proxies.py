"""Which proxy the environment names, and what is refused before anything is connected."""

from __future__ import annotations

import os

import pytest

from connectors.transcribe.endpoint import resolve_endpoint
from connectors.transcribe.errors import ConfigurationError
from connectors.transcribe.proxies import Proxy, proxy_for

SECURE = resolve_endpoint("us-east-1", "https://transcribe.test:8443")
CLEAR = resolve_endpoint("us-east-1", "http://transcribe.test:8080", allow_cleartext=True)


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_the_variables_of_a_secure_endpoint(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://proxy.test:3128")
    assert proxy_for(SECURE) == Proxy(variable, "http", "proxy.test", 3128)
    assert (proxy_for(CLEAR) is None) is variable.lower().startswith("https")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_the_variables_of_a_cleartext_endpoint(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://proxy.test:3128")
    assert proxy_for(CLEAR) == Proxy(variable, "http", "proxy.test", 3128)
    assert proxy_for(SECURE) is None


def test_the_scheme_s_own_variable_comes_first_and_lower_case_before_upper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.test:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://upper.test:2")
    assert proxy_for(SECURE) == Proxy("HTTPS_PROXY", "http", "upper.test", 2)
    monkeypatch.setenv("https_proxy", "http://lower.test:3")
    assert proxy_for(SECURE) == Proxy("https_proxy", "http", "lower.test", 3)
    assert proxy_for(CLEAR) == Proxy("ALL_PROXY", "http", "all.test", 1)


def test_no_variable_or_an_empty_one_is_a_direct_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for(SECURE) is None
    monkeypatch.setenv("HTTPS_PROXY", "")
    assert proxy_for(SECURE) is None


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "https://localhost:1", "http://[::1]:1"])
def test_this_machine_is_reached_directly(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "ftp://not even checked")
    assert proxy_for(resolve_endpoint("us-east-1", url)) is None


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("transcribe.test", True),
        ("TRANSCRIBE.test", True),
        ("test", True),
        (".test", True),
        ("other.example, transcribe.test:8443", True),
        ("transcribe.test:443", False),
        ("be.test", False),
        ("other.example", False),
        ("*", True),
        ("", False),
    ],
)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_hosts_that_need_no_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str, no_proxy: str, direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv(variable, no_proxy)
    assert (proxy_for(SECURE) is None) is direct


def test_an_ipv6_address_may_need_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = resolve_endpoint("us-east-1", "https://[2001:db8::7]:8443")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    assert proxy_for(endpoint) is not None
    monkeypatch.setenv("NO_PROXY", "2001:db8::7")
    assert proxy_for(endpoint) is None


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("proxy.test", Proxy("HTTPS_PROXY", "http", "proxy.test", 80)),
        ("proxy.test:3128", Proxy("HTTPS_PROXY", "http", "proxy.test", 3128)),
        ("http://proxy.test:3128/", Proxy("HTTPS_PROXY", "http", "proxy.test", 3128)),
        ("HTTP://proxy.test:0", Proxy("HTTPS_PROXY", "http", "proxy.test", 0)),
        ("http://[2001:db8::1]:3128", Proxy("HTTPS_PROXY", "http", "2001:db8::1", 3128)),
        ("socks5://proxy.test", Proxy("HTTPS_PROXY", "socks5", "proxy.test", 1080)),
        ("socks5h://proxy.test:9", Proxy("HTTPS_PROXY", "socks5h", "proxy.test", 9)),
        ("socks4a://proxy.test", Proxy("HTTPS_PROXY", "socks4a", "proxy.test", 1080)),
        ("http://u:p@proxy.test", Proxy("HTTPS_PROXY", "http", "proxy.test", 80, "u", "p")),
        ("u:p@proxy.test:9", Proxy("HTTPS_PROXY", "http", "proxy.test", 9, "u", "p")),
        ("http://u@proxy.test", Proxy("HTTPS_PROXY", "http", "proxy.test", 80, "u")),
        ("http://u%40b:p%3A%2f@proxy.test", Proxy("HTTPS_PROXY", "http", "proxy.test", 80, "u@b", "p:/")),
    ],
)
def test_urls(monkeypatch: pytest.MonkeyPatch, url: str, proxy: Proxy) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert proxy_for(SECURE) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@proxy.test:3128",
        "ftp://user:hunter2@proxy.test:3128",
        "http://user:hunter2@proxy.test:port",
        "http://user:hunter2/slash@proxy.test:3128",
        "http://user:hunter2@proxy.test:99999",
        "http://user:hunter2@:3128",
        "http://user:hunter2@[::1",
        "http://us%3Aer:hunter2@proxy.test:3128",
        "socks5://user:hunter2%C3%BC@proxy.test:3128",
        f"socks5://user:hunter2{'x' * 256}@proxy.test:3128",
        "socks5://:hunter2@proxy.test:3128",
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(ConfigurationError, match=variable) as caught:
        proxy_for(SECURE)
    assert caught.value.fatal
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_schemes_that_can_be_used_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "https://proxy.test:3128")
    with pytest.raises(ConfigurationError, match="http, socks4, socks4a, socks5, socks5h, not 'https'"):
        proxy_for(SECURE)


def test_user_and_password_do_not_show() -> None:
    proxy = Proxy("HTTPS_PROXY", "http", "2001:db8::1", 3128, "user-name", "hunter2")
    assert str(proxy) == "the proxy http://[2001:db8::1]:3128 (HTTPS_PROXY)"
    for shown in (str(proxy), repr(proxy)):
        assert "hunter2" not in shown
        assert "user-name" not in shown
