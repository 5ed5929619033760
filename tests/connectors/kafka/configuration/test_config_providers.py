"""References to secrets that lie elsewhere: what is replaced, what stays, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.kafka.configuration.config_providers import resolve
from connectors.kafka.configuration.property_files import settings_of
from connectors.kafka.errors import InvalidProperty

SECRET = "correct-horse"
PACKAGE = "org.apache.kafka.common.config.provider"
PROVIDERS = {
    "config.providers": "file, dir,env",
    "config.providers.file.class": f"{PACKAGE}.FileConfigProvider",
    "config.providers.dir.class": f"{PACKAGE}.DirectoryConfigProvider",
    "config.providers.env.class": f"{PACKAGE}.EnvVarConfigProvider",
}


def told(provider: str, path: str, key: str) -> str:
    if key == "missing":
        raise ValueError(f"{path} has no {key}")
    return f"<{provider} {path} {key}>"


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("${file:/run/s.properties:password}", "<FileConfigProvider /run/s.properties password>"),
        (
            "a ${dir:/run/secrets:key} b ${env:KEY}",
            "a <DirectoryConfigProvider /run/secrets key> b <EnvVarConfigProvider  KEY>",
        ),
        ("${vault:secret:key} $plain ${unclosed", "${vault:secret:key} $plain ${unclosed"),
    ],
)
def test_references(value: str, resolved: str) -> None:
    assert resolve({**PROVIDERS, "client.id": value}, "x", told) == {"client.id": resolved}


@pytest.mark.parametrize(
    ("properties", "named", "problem"),
    [
        ({"client.id": "${file:/p:missing}"}, "client.id", "'file': /p has no missing"),
        (
            {"config.providers.file.class": "com.example.Vault"},
            "config.providers.file.class",
            "must be Kafka's",
        ),
        ({"config.providers.other.class": "x"}, "config.providers.other.class", "does not list it"),
        ({"config.providers.file.param.allowed.path": "/run"}, "allowed.path", "not a parameter"),
        (
            {"config.providers.file.param.allowed.paths": "/run,/etc", "client.id": "${file:/runaway:k}"},
            "client.id",
            "allowed.paths",
        ),
        (
            {"config.providers.file.param.allowed.paths": "/run", "client.id": "${file:/run/../etc/k:k}"},
            "client.id",
            "allowed.paths",
        ),
        (
            {"config.providers.env.param.allowlist.pattern": "KAFKA_.*", "client.id": "${env:HOME}"},
            "client.id",
            "allowlist.pattern",
        ),
    ],
)
def test_refusals(properties: dict[str, str], named: str, problem: str) -> None:
    with pytest.raises(InvalidProperty, match=problem) as caught:
        resolve({**PROVIDERS, **properties}, "x", told)
    assert named in str(caught.value)


def test_files_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.properties").write_text(f"password={SECRET}\n")
    (tmp_path / "id").write_text("from-a-file\n")
    monkeypatch.setenv("SYNTHETIC_RACK", "rack-7")
    settings = settings_of(
        {
            **PROVIDERS,
            "sasl.jaas.config": 'PlainLoginModule required username="u" '
            f'password="${{file:{tmp_path}/s.properties:password}}";',
            "client.id": f"${{dir:{tmp_path}:id}}",
        },
        "client.properties",
        {"client.rack": "${env:SYNTHETIC_RACK}"},
    )
    assert settings["sasl_plain_password"] == SECRET
    assert (settings["client_id"], settings["client_rack"]) == ("from-a-file", "rack-7")
    for reference in (
        f"${{file:{tmp_path}/none:k}}",
        f"${{file:{tmp_path}/s.properties:k}}",
        "${env:NO_SUCH}",
    ):
        with pytest.raises(InvalidProperty) as caught:
            settings_of({**PROVIDERS, "client.id": reference}, "client.properties", {})
        assert SECRET not in str(caught.value)
