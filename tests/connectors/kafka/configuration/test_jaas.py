"""sasl.jaas.config: the options of each login module, and every refusal without a secret in it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.configuration.jaas import read_jaas

SECRET = "correct-horse"


@pytest.mark.parametrize(
    ("value", "settings"),
    [
        (
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required\n"
            f"  clientId=\"c\" clientSecret='{SECRET}' scope=kafka.read\n"
            '  extension_logicalCluster="lkc-1" extension_identityPoolId="pool-2" '
            'ssl.truststore.location="/ca.pem" ssl.truststore.type=PEM;',
            {
                "login_module": "OAuthBearerLoginModule",
                "oauth_client_id": "c",
                "oauth_client_secret": SECRET,
                "oauth_scope": "kafka.read",
                "oauth_extensions": "logicalCluster=lkc-1\nidentityPoolId=pool-2",
                "oauth_cafile": "/ca.pem",
            },
        ),
        ("software.amazon.msk.auth.iam.IAMLoginModule required;", {"login_module": "IAMLoginModule"}),
        (
            'IAMLoginModule required awsProfileName="p" awsRoleArn="arn:aws:iam::1:role/r" '
            'awsDebugCreds="true" awsRegion="eu-west-1";',
            {
                "login_module": "IAMLoginModule",
                "iam_profile_name": "p",
                "iam_role_arn": "arn:aws:iam::1:role/r",
                "iam_region": "eu-west-1",
            },
        ),
    ],
)
def test_a_module_s_options(value: str, settings: dict[str, str]) -> None:
    assert read_jaas(value) == settings


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (SECRET, "must read"),
        (f'PlainLoginModule required username="u" passwort="{SECRET}";', "password missing"),
        (
            f'ScramLoginModule required username="u" password="{SECRET}" tokenauth="true";',
            "no option tokenauth",
        ),
        (
            f'OAuthBearerLoginModule required clientId="c" clientSecrt="{SECRET}";',
            "did you mean clientSecret",
        ),
        (f'PlainLoginModule required username="u" password="{SECRET};', "not `name"),
        (f'com.example.MyModule required password="{SECRET}";', "must be one of"),
        ("OAuthBearerLoginModule required ssl.truststore.type=JKS;", "PEM"),
    ],
)
def test_a_refusal_has_no_secret_in_it(value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        read_jaas(value)
    assert SECRET not in str(caught.value)


@given(st.text(max_size=80))
def test_nothing_but_value_errors(value: str) -> None:
    for text in (value, f"PlainLoginModule required {value};"):
        with contextlib.suppress(ValueError):
            read_jaas(text)
