"""What the tests of both transports share: a certificate authority, and a wire for each way of connecting."""

from __future__ import annotations

import pytest
import trustme

from tests.connectors.transcribe.harness import CARRIERS, Carrier, Wire, write_bundle


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_bundle(authority, tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    """HTTP/2, then WebSocket."""
    return CARRIERS[request.param]


@pytest.fixture(params=["http", "https"])
def wire(request: pytest.FixtureRequest, carrier: Carrier, authority: trustme.CA, ca_bundle: str) -> Wire:
    """A carrier in cleartext, then over TLS. A module with one carrier overrides `carrier`."""
    if request.param == "http":
        return Wire(carrier)
    return Wire(carrier, carrier.tls(authority), ca_bundle)
