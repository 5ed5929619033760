"""Java properties: the file format against a writer of our own, and every refusal by name."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.configuration.properties import NAMES, TABLE, parse_properties, to_settings
from connectors.kafka.configuration.refused_properties import SET_BY_MEDSTREAM
from connectors.kafka.errors import InvalidProperty, SettingError, UnknownProperty

SECRET = "correct-horse"
JAAS = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="{}" password="{}";'


def escaped(text: str, also: str = "") -> str:
    """`text` as java.util.Properties.store writes it, for both names and values."""
    special = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
    out = "".join(special.get(char, "\\" + char if char in also else char) for char in text)
    leading = len(out) - len(out.lstrip(" "))
    return "\\ " * leading + out[leading:]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters="\t\n\r\\"))


@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=5))
def test_what_java_writes_is_read(properties: dict[str, str]) -> None:
    lines = [f"{escaped(name, ' =:#!')}={escaped(value)}" for name, value in properties.items()]
    assert parse_properties("\n".join(lines)) == properties


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1\nb = 2\nc:3\nd 4\n e\t5", {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}),
        ("# comment\n! comment\n\n  # indented\na=b#c", {"a": "b#c"}),
        ("a=one \\\n   two", {"a": "one two"}),
        ("a=ends with \\\\\nb=2", {"a": "ends with \\", "b": "2"}),
        ("a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=\\u0041\\u00e9", {"a": "Aé"}),
        ("a=1\na=2", {"a": "2"}),
        ("a", {"a": ""}),
        ("a=b=c:d", {"a": "b=c:d"}),
    ],
)
def test_format(text: str, expected: dict[str, str]) -> None:
    assert parse_properties(text) == expected


@pytest.mark.parametrize(("text", "problem"), [("a=1\n=2", "line 2"), ("a=\\u12", "line 1")])
def test_broken_lines_are_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_properties(text)


def test_a_stock_client_file_with_scram_over_tls() -> None:
    text = f"""
        security.protocol=SASL_SSL
        sasl.mechanism=SCRAM-SHA-512
        sasl.jaas.config={JAAS.format("medstream", SECRET)}
        ssl.truststore.type=PEM
        ssl.truststore.location=/etc/kafka/ca.pem
        ssl.keystore.type=PEM
        ssl.keystore.location=/etc/kafka/client.pem
        ssl.endpoint.identification.algorithm=
        request.timeout.ms=20000
    """
    assert to_settings(parse_properties(text), "client.properties") == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "medstream",
        "sasl_plain_password": SECRET,
        "login_module": "ScramLoginModule",
        "ssl_cafile": "/etc/kafka/ca.pem",
        "ssl_certfile": "/etc/kafka/client.pem",
        "ssl_check_hostname": False,
        "request_timeout_ms": 20000,
    }


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_username_and_password_are_read_from_jaas(username: str, password: str) -> None:
    quoted = [re.sub(r'(["\\])', r"\\\1", text) for text in (username, password)]
    settings = to_settings({"sasl.jaas.config": JAAS.format(*quoted)}, "x")
    login = {"sasl_plain_username": username, "sasl_plain_password": password}
    assert settings == login | {"login_module": "ScramLoginModule"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("security.protocoll", "security.protocol"),
        ("ssl.trustore.location", "ssl.truststore.location"),
        ("request.timeout", "request.timeout.ms"),
        ("zzz", None),
    ],
)
def test_an_unknown_property_is_refused_with_the_nearest_name(name: str, nearest: str | None) -> None:
    with pytest.raises(UnknownProperty) as caught:
        to_settings({name: SECRET}, "--kafka-property")
    assert caught.value.nearest == nearest
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", SET_BY_MEDSTREAM)
def test_what_medstream_sets_itself_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InvalidProperty, match="is not taken here"):
        to_settings({name: "1"}, "x")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("request.timeout.ms", "soon", "whole number"),
        ("security.protocol", "TLS", "SASL_SSL"),
        ("sasl.mechanism", "GSSAPI", "OAUTHBEARER"),
        ("ssl.keystore.key", SECRET, "PEM text"),
        ("ssl.truststore.certificates", SECRET, "PEM text"),
        ("ssl.enabled.protocols", "TLSv1.1", "TLSv1.2"),
        ("sasl.oauthbearer.token.endpoint.url", "idp.example/token", "https://"),
        ("sasl.login.callback.handler.class", "com.example.MyHandler", "cannot be used"),
        ("ssl.truststore.password", SECRET, "no password"),
        ("sasl.kerberos.service.name", "kafka", "Kerberos"),
        ("partitioner.class", "com.example.P", "by key"),
        ("check.crcs", "perhaps", "true or false"),
        ("ssl.truststore.type", "JKS", "keytool"),
        ("ssl.keystore.password", SECRET, "ssl.key.password"),
        ("ssl.endpoint.identification.algorithm", "none", "https"),
        ("sasl.jaas.config", SECRET, "required"),
        ("sasl.jaas.config", f'Krb5LoginModule required keyTab="{SECRET}";', "ScramLoginModule"),
        ("sasl.jaas.config", f'PlainLoginModule required password="{SECRET}";', "username missing"),
    ],
)
def test_a_bad_value_names_the_property_and_the_problem(name: str, value: str, problem: str) -> None:
    with pytest.raises(InvalidProperty, match=problem) as caught:
        to_settings({name: value}, "client.properties (--command-config)")
    assert name in str(caught.value)
    assert "client.properties" in str(caught.value)
    assert SECRET not in str(caught.value)


@given(st.text(max_size=30), st.text(max_size=60))
def test_nothing_but_setting_errors(name: str, value: str) -> None:
    for key in (name, *NAMES):
        with contextlib.suppress(SettingError):
            to_settings({key: value}, "x")


def test_every_setting_is_one_of_the_library_or_our_own() -> None:
    import kafka

    clients = (kafka.KafkaConsumer, kafka.KafkaProducer, kafka.KafkaAdminClient)
    known = {name for client in clients for name in client.DEFAULT_CONFIG}
    own = ("oauth_", "iam_", "ssl_")
    foreign = {setting.argument for setting in TABLE.values() if not setting.argument.startswith(own)}
    assert foreign <= known | {""}
