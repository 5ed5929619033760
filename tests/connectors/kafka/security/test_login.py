"""What a mechanism is made of follows the properties; other clients of the process are left alone."""

from __future__ import annotations

import logging
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from kafka.net.sasl import get_sasl_mechanism

from connectors.kafka.errors import SettingError, TokenRequestFailed, UnreadableCommandConfig
from connectors.kafka.security.login import Login

SECRET = "correct-horse"


class Source:
    """Settings that a test changes."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.broken = False

    def __call__(self) -> dict[str, Any]:
        if self.broken:
            raise UnreadableCommandConfig("/etc/client.properties", "no such file")
        return dict(self.settings)


def plain(password: str) -> dict[str, str]:
    return {"sasl_mechanism": "PLAIN", "sasl_plain_username": "u", "sasl_plain_password": password}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_mechanism_takes_the_login_of_its_moment(mechanism: str) -> None:
    source = Source(**{**plain("first"), "sasl_mechanism": mechanism})
    arguments = Login(source, "h").arguments()
    source.settings |= {"sasl_plain_username": "v", "sasl_plain_password": "second"}
    made = get_sasl_mechanism(mechanism)(**arguments, security_protocol="SASL_SSL", host="h")
    if mechanism == "PLAIN":
        assert made.auth_bytes() == b"v\0v\0second"
    else:
        assert b"n=v," in made.auth_bytes()
        assert made._scram_client.password == b"second"


def test_clients_of_others_are_served_as_before() -> None:
    arguments = {"security_protocol": "SASL_SSL", "host": "h", **plain(SECRET)}
    assert get_sasl_mechanism("PLAIN")(**arguments).auth_bytes() == f"u\0u\0{SECRET}".encode()


def test_a_file_that_is_gone_leaves_the_login_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    source = Source(**plain(SECRET))
    login = Login(source, "h")
    login.arguments()
    source.broken = True
    with caplog.at_level(logging.WARNING):
        assert login.settings()["sasl_plain_password"] == SECRET
    assert "/etc/client.properties" in caplog.text
    assert SECRET not in caplog.text
    with pytest.raises(SettingError):
        Login(source, "h").settings()


def test_a_token_is_asked_for_before_a_client_is_made() -> None:
    source = Source(sasl_mechanism="OAUTHBEARER", oauth_token_url="file:///nonexistent/token")
    with pytest.raises(TokenRequestFailed, match="/nonexistent/token"):
        Login(source, "h").arguments()


def test_a_login_hides_what_it_holds() -> None:
    login = Login(Source(**plain(SECRET)), "h")
    assert SECRET not in repr(login.arguments())


def test_aws_credentials_as_an_oauth_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSYNTHETIC")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    source = Source(sasl_mechanism="OAUTHBEARER", iam_over_oauth=True)
    host = "boot-x.c1.kafka-serverless.us-east-2.amazonaws.com"
    arguments = Login(source, host).arguments()
    made = get_sasl_mechanism("OAUTHBEARER")(**arguments, security_protocol="SASL_SSL", host=host)
    token = made.auth_bytes().removeprefix(b"n,,\x01auth=Bearer ").removesuffix(b"\x01\x01")
    url = urlsafe_b64decode(token + b"=" * (-len(token) % 4)).decode()
    assert url.startswith("https://kafka.us-east-2.amazonaws.com/?Action=kafka-cluster%3AConnect&")


def test_logins_that_are_never_accepted_are_worth_a_sentence_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    login = Login(Source(**plain(SECRET)), "h", lambda: now[0])
    arguments = {**login.arguments(), "security_protocol": "SASL_SSL", "host": "h"}

    def log_in(times: int) -> Any:
        return [get_sasl_mechanism("PLAIN")(**arguments) for _ in range(times)][-1]

    with caplog.at_level(logging.WARNING, "connectors"):
        made = log_in(9)
        made.receive(b"")
        made.auth_details()  # accepted
        log_in(9)
        assert not caplog.records
        log_in(20)
        now[0] = 61.0
        log_in(1)
    assert [record.getMessage()[:60] for record in caplog.records] == [
        "Kafka has not accepted the last 10 logins (PLAIN, user 'u');",
        "Kafka has not accepted the last 30 logins (PLAIN, user 'u');",
    ]
    assert SECRET not in caplog.text
