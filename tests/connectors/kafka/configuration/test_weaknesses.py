"""What is told of settings that work: who could read along, and whether the brokers know the client."""

from __future__ import annotations

import re

import pytest

from connectors.kafka.configuration.weaknesses import weak_authentication, weak_encryption

TLS = {"security_protocol": "SSL"}
LOGIN = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "patient data goes .*PLAINTEXT"),
        ({"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}, "and the password go"),
        ({"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}, "and the token go"),
        ({"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512"}, "patient data goes"),
        ({**LOGIN, "ssl_check_hostname": False}, "may pass for the broker"),
    ],
)
def test_who_could_read_along(settings: dict[str, str | bool], told: str) -> None:
    assert re.match(f".*{told}", weak_encryption(settings) or "")


def test_tls_is_enough_to_be_alone_and_a_login_or_a_certificate_to_be_known() -> None:
    assert weak_encryption(LOGIN) is weak_encryption(TLS) is None
    assert weak_authentication(LOGIN) is None
    assert weak_authentication({**TLS, "ssl_certfile": "client.pem"}) is None
    assert weak_authentication({**TLS, "ssl_certdata": "PEM", "ssl_keydata": "PEM"}) is None
    for settings in (TLS, {}):
        assert "neither a login nor a client certificate" in (weak_authentication(settings) or "")
