"""What counts as this machine."""

from __future__ import annotations

import pytest

from schemas.loopback import is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("LOCALHOST", True),
        ("api.localhost", True),
        ("10.0.0.1", False),
        ("::", False),
        ("0.0.0.0", False),  # noqa: S104 - no address to bind to
        ("localhost.example", False),
        ("", False),
        ("notlocalhost", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
