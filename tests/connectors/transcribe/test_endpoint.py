"""Endpoints: host names by region, URLs, and refusals that name the setting."""

from __future__ import annotations

import pytest

from connectors.transcribe.endpoint import Endpoint, is_loopback, regional_host, resolve_endpoint
from connectors.transcribe.errors import EndpointError


@pytest.mark.parametrize(
    ("region", "fips", "dualstack", "host"),
    [
        ("us-east-1", False, False, "transcribestreaming.us-east-1.amazonaws.com"),
        ("us-east-1", True, False, "transcribestreaming-fips.us-east-1.amazonaws.com"),
        ("eu-west-1", False, True, "transcribestreaming.eu-west-1.api.aws"),
        ("us-west-2", True, True, "transcribestreaming-fips.us-west-2.api.aws"),
        ("cn-north-1", False, False, "transcribestreaming.cn-north-1.amazonaws.com.cn"),
        ("cn-north-1", False, True, "transcribestreaming.cn-north-1.api.amazonwebservices.com.cn"),
    ],
)
def test_regional_hosts(region: str, fips: bool, dualstack: bool, host: str) -> None:
    assert regional_host(region, fips, dualstack) == host
    endpoint = resolve_endpoint(region, use_fips=fips, use_dualstack=dualstack)
    assert endpoint == Endpoint("https", host, 443, region)
    assert endpoint.authority == host


@pytest.mark.parametrize(
    ("url", "endpoint", "authority"),
    [
        ("https://example.test", Endpoint("https", "example.test", 443, "r"), "example.test"),
        ("https://Example.test:443/", Endpoint("https", "example.test", 443, "r"), "example.test"),
        ("https://example.test:8443", Endpoint("https", "example.test", 8443, "r"), "example.test:8443"),
        ("http://127.0.0.1:9000/", Endpoint("http", "127.0.0.1", 9000, "r"), "127.0.0.1:9000"),
        ("http://localhost", Endpoint("http", "localhost", 80, "r"), "localhost"),
        ("http://[::1]:9000", Endpoint("http", "::1", 9000, "r"), "[::1]:9000"),
    ],
)
def test_urls(url: str, endpoint: Endpoint, authority: str) -> None:
    resolved = resolve_endpoint("r", url)
    assert resolved == endpoint
    assert resolved.authority == authority
    assert resolved.uses_tls == url.startswith("https")
    assert resolve_endpoint("r", resolved.url) == resolved


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9000",
        "localhost",
        "ftp://localhost",
        "http://",
        "https://host:port",
        "https://host:99999",
        "http://[::1",
        "https://host/path",
        "https://host/?q=1",
        "http://192.0.2.7:9000",
        "http://example.test",
    ],
)
def test_unusable_urls_are_refused_by_the_setting_s_name(url: str) -> None:
    with pytest.raises(EndpointError, match="--endpoint-url") as caught:
        resolve_endpoint("us-east-1", url)
    assert not caught.value.retryable


def test_cleartext_to_another_host_can_be_insisted_on() -> None:
    assert not resolve_endpoint("r", "http://192.0.2.7:9000", allow_cleartext=True).uses_tls


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(EndpointError) as caught:
        resolve_endpoint("r", "https://user:hunter2@example.test")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(EndpointError) as caught:
        resolve_endpoint("r", "ftp://user:hunter2@example.test")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("option", [{"use_fips": True}, {"use_dualstack": True}])
def test_a_url_excludes_fips_and_dualstack(option: dict[str, bool]) -> None:
    with pytest.raises(EndpointError, match="--use-fips-endpoint"):
        resolve_endpoint("us-east-1", "https://example.test", **option)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.8.8.8", True),
        ("::1", True),
        ("api.localhost", True),
        ("10.0.0.1", False),
        ("notlocalhost", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
