"""Endpoints: host names by region, URLs, and refusals that name the setting."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.regions import EndpointResolver

from connectors.transcribe.credentials import known_regions
from connectors.transcribe.endpoint import (
    HTTP2,
    WEBSOCKET,
    Endpoint,
    regional_host,
    resolve_endpoint,
)
from connectors.transcribe.errors import EndpointError


@pytest.mark.parametrize(
    ("region", "fips", "dualstack", "host"),
    [
        ("us-east-1", False, False, "transcribestreaming.us-east-1.amazonaws.com"),
        ("us-east-1", True, False, "transcribestreaming-fips.us-east-1.amazonaws.com"),
        ("eu-west-1", False, True, "transcribestreaming.eu-west-1.api.aws"),
        ("us-west-2", True, True, "transcribestreaming-fips.us-west-2.api.aws"),
        ("cn-north-1", False, False, "transcribestreaming.cn-north-1.amazonaws.com.cn"),
        ("cn-north-1", True, False, "transcribestreaming-fips.cn-north-1.amazonaws.com.cn"),
        ("cn-north-1", False, True, "transcribestreaming.cn-north-1.api.amazonwebservices.com.cn"),
        ("us-gov-west-1", True, False, "transcribestreaming-fips.us-gov-west-1.amazonaws.com"),
        ("eusc-de-east-1", False, False, "transcribestreaming.eusc-de-east-1.amazonaws.eu"),
        ("us-iso-east-1", True, False, "transcribestreaming-fips.us-iso-east-1.c2s.ic.gov"),
    ],
)
def test_regional_hosts(region: str, fips: bool, dualstack: bool, host: str) -> None:
    assert regional_host(region, fips, dualstack) == host
    endpoint = resolve_endpoint(region, use_fips=fips, use_dualstack=dualstack)
    assert endpoint == Endpoint("https", host, 443, region)
    assert endpoint.authority == host
    websocket = resolve_endpoint(region, transport=WEBSOCKET, use_fips=fips, use_dualstack=dualstack)
    assert websocket == Endpoint("https", host, 8443, region)
    assert websocket.authority == f"{host}:8443"  # as it has to be signed


@pytest.mark.parametrize("fips", [False, True])
@pytest.mark.parametrize("region", sorted(known_regions()))
def test_hosts_are_those_of_botocore_s_endpoint_data(region: str, fips: bool) -> None:
    resolver = EndpointResolver(botocore.session.Session().get_data("endpoints"))
    found = resolver.construct_endpoint("transcribestreaming", region, use_fips_endpoint=fips)
    assert regional_host(region, fips) == found["hostname"]


@pytest.mark.parametrize("region", sorted(known_regions()))
def test_dualstack_hosts_are_botocore_s_or_refused(region: str) -> None:
    resolver = EndpointResolver(botocore.session.Session().get_data("endpoints"))
    if "iso" in region:  # botocore has none either, and says so in two ways
        with pytest.raises(EndpointError, match=f"dual-stack endpoint in {region}"):
            regional_host(region, use_dualstack=True)
    else:
        found = resolver.construct_endpoint("transcribestreaming", region, use_dualstack_endpoint=True)
        assert regional_host(region, use_dualstack=True) == found["hostname"]


@pytest.mark.parametrize("transport", ["", "HTTP2", "grpc"])
def test_an_unknown_transport_is_named_with_the_known_ones(transport: str) -> None:
    for url in (None, "https://example.test"):
        with pytest.raises(EndpointError, match=r"--transport .* is not one of http2, websocket"):
            resolve_endpoint("us-east-1", url, transport=transport)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("wss://example.test", "https://example.test"),
        ("WSS://example.test:8443/", "https://example.test:8443"),
        ("ws://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("ws://localhost", "http://localhost"),
    ],
)
@pytest.mark.parametrize("transport", [HTTP2, WEBSOCKET])
def test_a_websocket_s_spelling_means_the_same_endpoint(url: str, same: str, transport: str) -> None:
    expected = resolve_endpoint("r", same)
    assert resolve_endpoint("r", url, transport=transport) == expected


def test_a_url_s_port_serves_either_transport() -> None:
    urls = [resolve_endpoint("r", "https://example.test:9", transport=one).url for one in (HTTP2, WEBSOCKET)]
    assert urls == ["https://example.test:9"] * 2


@pytest.mark.parametrize(
    ("url", "endpoint", "authority"),
    [
        ("https://example.test", Endpoint("https", "example.test", 443, "r"), "example.test"),
        ("https://Example.test:443/", Endpoint("https", "example.test", 443, "r"), "example.test"),
        ("https://example.test:8443", Endpoint("https", "example.test", 8443, "r"), "example.test:8443"),
        ("http://127.0.0.1:9000/", Endpoint("http", "127.0.0.1", 9000, "r"), "127.0.0.1:9000"),
        ("http://localhost", Endpoint("http", "localhost", 80, "r"), "localhost"),
        ("http://[::1]:9000", Endpoint("http", "::1", 9000, "r"), "[::1]:9000"),
        ("https://bücher.test", Endpoint("https", "xn--bcher-kva.test", 443, "r"), "xn--bcher-kva.test"),
        ("https://my_service:9", Endpoint("https", "my_service", 9, "r"), "my_service:9"),
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
        "https://host:0",
        "https://host..test",
        f"https://{'a' * 64}.test",
        "https://a host.test",
        "http://192.0.2.7:9000",
        "http://example.test",
        "ws://example.test",
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
    with pytest.raises(EndpointError) as caught:
        resolve_endpoint("r", "https://user:hunter2/slash@example.test")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("option", [{"use_fips": True}, {"use_dualstack": True}])
def test_a_url_excludes_fips_and_dualstack(option: dict[str, bool]) -> None:
    with pytest.raises(EndpointError, match="--use-fips-endpoint"):
        resolve_endpoint("us-east-1", "https://example.test", **option)
