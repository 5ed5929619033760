"""Settings of security that contradict each other are named before anything is connected."""

from __future__ import annotations

import pytest

from connectors.kafka.configuration.consistency import check_consistency
from connectors.kafka.configuration.properties import to_settings
from connectors.kafka.errors import InvalidProperty

PEM = "-----BEGIN CERTIFICATE-----"
PLAIN = 'PlainLoginModule required username="u" password="correct-horse";'
OAUTH = "OAuthBearerLoginModule required;"
IAM = "IAMLoginModule required;"
URL = "sasl.oauthbearer.token.endpoint.url"
IAM_HANDLER = "software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler"


def sasl(mechanism: str, jaas: str | None, protocol: str = "SASL_SSL", **more: str) -> dict[str, str]:
    properties = {"security.protocol": protocol, "sasl.mechanism": mechanism, **more}
    return properties | ({"sasl.jaas.config": jaas} if jaas is not None else {})


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"security.protocol": "SSL"},
        sasl("PLAIN", PLAIN),
        sasl("AWS_MSK_IAM", None),
        sasl("AWS_MSK_IAM", IAM),
        sasl("OAUTHBEARER", OAUTH, **{URL: "file:///run/token"}),
        sasl("OAUTHBEARER", IAM, **{"sasl.login.callback.handler.class": IAM_HANDLER}),
        sasl(
            "OAUTHBEARER",
            None,
            **{
                URL: "https://idp.example/token",
                "sasl.oauthbearer.client.credentials.client.id": "c",
                "sasl.oauthbearer.client.credentials.client.secret": "correct-horse",
            },
        ),
    ],
)
def test_what_fits_together(properties: dict[str, str]) -> None:
    check_consistency(to_settings(properties, "x"))


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"sasl.jaas.config": PLAIN}, "security.protocol"),
        (sasl("SCRAM-SHA-512", PLAIN), "sasl.jaas.config"),
        (sasl("PLAIN", None), "sasl.jaas.config"),
        (sasl("AWS_MSK_IAM", IAM, "SASL_PLAINTEXT"), "security.protocol"),
        (sasl("OAUTHBEARER", OAUTH), URL),
        (sasl("OAUTHBEARER", OAUTH, **{URL: "https://idp.example/token"}), "sasl.jaas.config"),
        (sasl("OAUTHBEARER", IAM, **{URL: "file:///run/token"}), "sasl.jaas.config"),
        ({"ssl.truststore.location": "/ca.pem"}, "security.protocol"),
        (
            {
                "security.protocol": "SSL",
                "ssl.truststore.location": "/ca.pem",
                "ssl.truststore.certificates": PEM,
            },
            "ssl.truststore.location",
        ),
        ({"security.protocol": "SSL", "ssl.keystore.certificate.chain": PEM}, "ssl.keystore.key"),
    ],
)
def test_contradictions_are_named(properties: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidProperty) as caught:
        check_consistency(to_settings(properties, "x"))
    assert caught.value.name == named
    assert "correct-horse" not in str(caught.value)
