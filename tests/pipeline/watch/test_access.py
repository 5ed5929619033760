"""Names, origins and the token of the page's server."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.watch.access import LOOPBACK_NAMES, Access, is_loopback, page_url, server_names

ACCESS = Access("right-token", frozenset({*LOOPBACK_NAMES, "wards.example"}))


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8000", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("[::1]:8000", True),
        ("wards.example:443", True),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example#127.0.0.1", False),
        ("127.0.0.1@evil.example", False),
        ("", False),
        ("[::1", False),
        ("127.0.0.2:8000", False),
    ],
)
def test_only_its_own_names_are_known(host: str, known: bool) -> None:
    assert ACCESS.knows_host(host) is known


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        (None, True),
        ("http://127.0.0.1:8000", True),
        ("https://127.0.0.1:8000", True),
        ("http://127.0.0.1:8001", False),
        ("http://evil.example", False),
        ("null", False),
    ],
)
def test_only_its_own_pages_are_known(origin: str | None, known: bool) -> None:
    assert ACCESS.knows_origin(origin, "127.0.0.1:8000") is known


@pytest.mark.parametrize(
    ("header", "admitted"),
    [
        ("Bearer right-token", True),
        ("bearer right-token", True),
        ("Bearer right-token ", False),
        ("Bearer wrong", False),
        ("Bearer ", False),
        ("right-token", False),
        ("Basic right-token", False),
        ("", False),
        ("Bearer \u00fc\u20ac", False),
    ],
)
def test_only_the_token_admits(header: str, admitted: bool) -> None:
    assert ACCESS.admits(header) is admitted
    assert "right-token" not in repr(ACCESS)


def test_beyond_this_machine_there_is_encryption_or_somebody_said_there_need_not_be() -> None:
    assert server_names("127.0.0.1", (), encrypted=False, insecure=False) == set(LOOPBACK_NAMES)
    assert "127.0.0.9" in server_names("127.0.0.9", (), encrypted=False, insecure=False)
    for host in ("10.0.0.5", "0.0.0.0", "::", "wards.example"):
        with pytest.raises(SettingsError, match="--web-certificate"):
            server_names(host, ("wards.example",), encrypted=False, insecure=False)
    assert server_names("10.0.0.5", (), encrypted=False, insecure=True) == {"10.0.0.5"}
    assert server_names("0.0.0.0", ["Wards.example"], encrypted=True, insecure=False) == {"wards.example"}
    with pytest.raises(SettingsError, match="--web-name"):
        server_names("0.0.0.0", (), encrypted=True, insecure=False)


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost", "Localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.5", "localhost.example", "")))


def test_the_address_has_the_token_where_no_browser_sends_it() -> None:
    assert page_url("127.0.0.1", 80, (), "t", encrypted=False) == "http://127.0.0.1:80/#t"
    assert page_url("::1", 80, (), "t", encrypted=False) == "http://[::1]:80/#t"
    assert page_url("0.0.0.0", 80, ("wards.example",), "t", encrypted=True) == "https://wards.example:80/#t"
