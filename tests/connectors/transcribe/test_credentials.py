"""The credential chain with real botocore on files and variables of the test's own."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from connectors.transcribe.credentials import (
    CredentialsSource,
    check_region,
    is_known_region,
    known_regions,
    load_credentials,
    resolve_region,
)
from connectors.transcribe.errors import (
    CredentialsNotFoundError,
    RegionNotFoundError,
    UnknownRegionError,
)
from connectors.transcribe.sigv4 import Credentials


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, region or profile from the machine the test runs on."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def test_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSYNTHETIC")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "synthetic-secret")
    assert load_credentials() == Credentials("AKIDSYNTHETIC", "synthetic-secret", None)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "synthetic-token")
    assert load_credentials().session_token == "synthetic-token"


def test_from_a_profile(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[clinic]\naws_access_key_id=AKIDPROFILE\naws_secret_access_key=synthetic\n"
    )
    assert load_credentials("clinic").access_key_id == "AKIDPROFILE"


def test_missing_credentials_say_what_to_set() -> None:
    with pytest.raises(CredentialsNotFoundError, match="AWS_ACCESS_KEY_ID") as caught:
        load_credentials()
    assert not caught.value.retryable


def test_half_a_key_and_an_unknown_profile_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSYNTHETIC")
    with pytest.raises(CredentialsNotFoundError, match="AWS_SECRET_ACCESS_KEY"):
        load_credentials()
    with pytest.raises(CredentialsNotFoundError, match="clinic"):
        load_credentials("clinic")


def test_a_source_keeps_its_answer_until_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDFIRST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "synthetic")
    source = CredentialsSource()
    assert source.current().access_key_id == "AKIDFIRST"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSECOND")
    assert source.current().access_key_id == "AKIDFIRST"
    source.reload()
    assert source.current().access_key_id == "AKIDSECOND"


def test_credentials_that_expire_are_renewed_and_a_failed_renewal_is_told(tmp_path: Path) -> None:
    program, count = tmp_path / "provider", tmp_path / "count"
    program.write_text(
        f"""#!/bin/sh
echo x >> {count}
[ "$(wc -l < {count})" -gt 2 ] && exit 1
expiration=$(date -u -d '+5 seconds' +%Y-%m-%dT%H:%M:%SZ)
cat <<END
{{"Version": 1, "AccessKeyId": "AKID$(wc -l < {count} | tr -d ' ')", "SecretAccessKey": "synthetic",
 "SessionToken": "t", "Expiration": "$expiration"}}
END
"""
    )
    program.chmod(0o700)
    (tmp_path / "config").write_text(f"[profile clinic]\ncredential_process={program}\n")
    source = CredentialsSource("clinic")
    assert (
        source.current().access_key_id == "AKID2"
    )  # five seconds is too short for botocore: renewed at once
    with pytest.raises(CredentialsNotFoundError, match="refreshed"):
        source.current()


def test_region_from_argument_variables_and_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile clinic]\nregion = eu-west-1\n")
    assert resolve_region(None, "clinic") == "eu-west-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert resolve_region() == "us-west-2"
    monkeypatch.setenv("AWS_REGION", "us-east-2")
    assert resolve_region() == "us-east-2"
    assert resolve_region("us-east-1") == "us-east-1"


def test_a_missing_region_says_what_to_set() -> None:
    with pytest.raises(RegionNotFoundError, match="AWS_REGION"):
        resolve_region()
    with pytest.raises(RegionNotFoundError, match="nobody"):
        resolve_region(None, "nobody")


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "ap-southeast-2"])
def test_known_regions(region: str) -> None:
    assert is_known_region(region)
    check_region(region)


def test_pseudo_regions_are_not_regions() -> None:
    assert not any(name.startswith("fips-") or name.endswith("-fips") for name in known_regions())


def test_a_misspelt_region_names_the_nearest() -> None:
    with pytest.raises(UnknownRegionError, match=r"--region 'us-east1'.*us-east-1"):
        check_region("us-east1")
    with pytest.raises(UnknownRegionError, match="for example us-east-1"):
        check_region("atlantis")


def test_a_region_without_such_an_endpoint_names_those_that_have_one() -> None:
    check_region("us-east-1", use_fips=True, use_dualstack=True)
    check_region("eu-west-1", use_dualstack=True)
    with pytest.raises(UnknownRegionError, match=r"--use-fips-endpoint: .* in eu-west-1; .*us-east-1"):
        check_region("eu-west-1", use_fips=True)
    with pytest.raises(UnknownRegionError, match="--use-dualstack-endpoint with --use-fips-endpoint: "):
        check_region("eu-west-1", use_fips=True, use_dualstack=True)


def test_botocore_does_not_log_below_info(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    assert not logging.getLogger("botocore.credentials").isEnabledFor(logging.DEBUG)
