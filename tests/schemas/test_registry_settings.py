"""A registry's settings: names as Java has them, each mistake one sentence, no secret in sight."""

from __future__ import annotations

import pickle

import pytest

from schemas.errors import RegistrySettingError
from schemas.registry_settings import RegistrySettings, registry_settings
from schemas.subjects import TOPIC_RECORD_NAME

SECRET = "SYNTHETIC-SECRET"
ORIGIN = "registry.properties (--schema-registry-config)"
URL = "https://registry.example:8085/base/"
WHOLE = {
    "schema.registry.url": URL,
    "basic.auth.credentials.source": "USER_INFO",
    "basic.auth.user.info": f"reader:{SECRET}:with:colons",
    "schema.registry.ssl.truststore.type": "PEM",
    "schema.registry.ssl.truststore.location": "/ca.pem",
    "ssl.keystore.location": "/client.pem",
    "ssl.key.password": SECRET,
    "http.read.timeout.ms": "1500",
    "value.subject.name.strategy": "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy",
    "auto.register.schemas": "TRUE",
}


def test_a_whole_file() -> None:
    read = registry_settings(WHOLE, ORIGIN)
    assert read.subject_name_strategy == TOPIC_RECORD_NAME
    assert read.auto_register is True
    assert read.registry == RegistrySettings(
        ("https://registry.example:8085/base",),
        user="reader",
        password=f"{SECRET}:with:colons",
        ca_file="/ca.pem",
        client_certificate_file="/client.pem",
        key_password=SECRET,
        timeout_seconds=1.5,
    )


def test_settings_travel_and_show_no_secret() -> None:
    registry = registry_settings(WHOLE, ORIGIN).registry
    assert pickle.loads(pickle.dumps(registry)) == registry  # noqa: S301 - our own bytes
    assert hash(registry) == hash(registry_settings(WHOLE, ORIGIN).registry)
    assert SECRET not in repr(registry)


def test_a_token_is_not_shown() -> None:
    registry = registry_settings({"schema.registry.url": URL, "bearer.auth.token": SECRET}, ORIGIN).registry
    assert registry.bearer_token == SECRET
    assert SECRET not in repr(registry)


def test_the_option_s_address_wins_and_may_be_several() -> None:
    read = registry_settings(WHOLE, ORIGIN, url="https://a:1, https://b:2")
    assert read.registry.urls == ("https://a:1", "https://b:2")


def test_what_a_file_does_not_say_is_left_open() -> None:
    read = registry_settings({}, ORIGIN, url="http://127.0.0.1:8081")
    assert (read.subject_name_strategy, read.auto_register) == (None, None)
    assert read.registry == RegistrySettings(("http://127.0.0.1:8081",))


WRONG = [
    ({"schema.registry.ulr": URL}, "did you mean 'schema.registry.url'?"),
    ({"schema.registry.bearer.auth.tokn": SECRET}, "unknown schema registry property"),
    ({"basic.auth.user.info": SECRET}, "user:password"),
    ({"basic.auth.credentials.source": "URL"}, "USER_INFO"),
    ({"basic.auth.credentials.source": "SASL_INHERIT"}, "basic.auth.user.info"),
    ({"bearer.auth.credentials.source": "OAUTHBEARER"}, "bearer.auth.token"),
    ({"bearer.auth.token": f"{SECRET}\nX: y"}, "without blanks"),
    ({"basic.auth.user.info": "u:p", "bearer.auth.token": SECRET}, "exclude each other"),
    ({"ssl.truststore.type": "JKS"}, "PEM"),
    ({"ssl.endpoint.identification.algorithm": "none"}, "https"),
    ({"http.read.timeout.ms": "0"}, "milliseconds"),
    ({"auto.register.schemas": "yes"}, "true or false"),
    ({"value.subject.name.strategy": "RecordNameStrategy"}, "TopicNameStrategy"),
]


@pytest.mark.parametrize(("properties", "told"), WRONG)
def test_each_mistake_is_one_sentence_without_the_value(properties: dict[str, str], told: str) -> None:
    with pytest.raises(RegistrySettingError) as caught:
        registry_settings({"schema.registry.url": URL, **properties}, ORIGIN)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"https://user:{SECRET}@registry.example", "basic.auth.user.info"),
        ("http://registry.example:8081", "--insecure"),
        ("ftp://registry.example", "expected http"),
        ("registry.example:8081", "expected http"),
        ("https://registry.example:port", "expected http"),
        ("https://registry.example/?x=1", "expected http"),
        (" , ", "no address"),
    ],
)
def test_an_address_that_cannot_work_is_refused(url: str, told: str) -> None:
    with pytest.raises(RegistrySettingError, match="--schema-registry-url") as caught:
        registry_settings({}, ORIGIN, url=url)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)


def test_without_any_address_the_options_are_named() -> None:
    with pytest.raises(RegistrySettingError, match=r"schema\.registry\.url"):
        registry_settings({}, ORIGIN)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"])
def test_this_machine_may_be_asked_in_the_clear(url: str) -> None:
    assert registry_settings({}, ORIGIN, url=url).registry.urls == (url,)


def test_others_only_when_that_is_accepted() -> None:
    read = registry_settings({}, ORIGIN, url="http://registry.example", insecure=True)
    assert read.registry.urls == ("http://registry.example",)
