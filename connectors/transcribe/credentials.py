"""Credentials and region from botocore's default chain, and the regions the service is offered in.

A stream's event signatures form a chain, so each stream gets credentials frozen when it opens.
`CredentialsSource` keeps what the default chain found and lets botocore refresh it before it expires; ask it
once per stream. The chain may read files, start a process or ask an instance's metadata service: call it
outside an event loop.

botocore logs requests and answers of its credential providers at DEBUG; its logger is pinned at INFO.
"""

from __future__ import annotations

import difflib
import os
from functools import cache
from threading import Lock
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from connectors.transcribe.errors import (
    CredentialsNotFoundError,
    RegionNotFoundError,
    UnknownRegionError,
    bounded,
)
from connectors.transcribe.sigv4 import Credentials
from schemas.library_logs import pin

pin("botocore", "urllib3")  # botocore's HTTP client names the addresses it asks

ENDPOINT_PREFIX = "transcribestreaming"


class CredentialsSource:
    """The default chain for one profile; safe to use from several threads."""

    def __init__(self, profile_name: str | None = None) -> None:
        self._profile_name = profile_name
        self._lock = Lock()
        self._found: Any = None

    def current(self) -> Credentials:
        """Credentials for the next stream, frozen; raises `CredentialsNotFoundError`."""
        with self._lock:
            if self._found is None:
                self._found = _find(self._profile_name)
            return _freeze(self._found)

    def reload(self) -> None:
        """Walk the chain again next time, for instance after the service said the token has expired."""
        with self._lock:
            self._found = None


def load_credentials(profile_name: str | None = None) -> Credentials:
    """The chain's credentials now, frozen; raises `CredentialsNotFoundError`."""
    return CredentialsSource(profile_name).current()


def resolve_region(region: str | None = None, profile_name: str | None = None) -> str:
    """`region`, or what AWS_REGION, AWS_DEFAULT_REGION or the profile say; raises `RegionNotFoundError`."""
    found = region or os.environ.get("AWS_REGION") or _configured_region(profile_name)
    if not found:
        raise RegionNotFoundError("no AWS region: pass --region, or set AWS_REGION or the profile's region")
    return found


def known_regions() -> frozenset[str]:
    """Regions with Transcribe streaming, in every partition, by botocore's endpoint data."""
    return frozenset(_endpoint_variants())


def is_known_region(region: str) -> bool:
    """True when botocore's endpoint data lists Transcribe streaming in `region`."""
    return region in _endpoint_variants()


def check_region(region: str, *, use_fips: bool = False, use_dualstack: bool = False) -> None:
    """Raise `UnknownRegionError`, with the nearest names, unless `region` has such an endpoint."""
    if is_known_region(region):
        _check_variant(region, use_fips, use_dualstack)
        return
    near = difflib.get_close_matches(region, sorted(_endpoint_variants()), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; for example us-east-1"
    shown = bounded(repr(region), 60)
    raise UnknownRegionError(f"--region {shown}: Amazon Transcribe streaming is not offered there{hint}")


def _check_variant(region: str, use_fips: bool, use_dualstack: bool) -> None:
    wanted = {"fips": use_fips, "dualstack": use_dualstack}
    tags = frozenset(tag for tag, is_wanted in wanted.items() if is_wanted)
    if not tags or tags in _endpoint_variants()[region]:
        return
    options = " with ".join(f"--use-{tag}-endpoint" for tag in sorted(tags))
    having = ", ".join(sorted(name for name, variants in _endpoint_variants().items() if tags in variants))
    raise UnknownRegionError(
        f"{options}: Amazon Transcribe streaming has no such endpoint in {region}; it has one in {having}"
    )


@cache
def _endpoint_variants() -> dict[str, frozenset[frozenset[str]]]:
    """The regions of the service, and the tags (fips, dualstack) of each further endpoint there."""
    # Not get_available_regions: it wants a service model, and botocore has none for streaming.
    data = botocore.session.Session().get_data("endpoints")
    return {
        name: frozenset(frozenset(variant["tags"]) for variant in endpoint.get("variants", ()))
        for partition in data["partitions"]
        for name, endpoint in partition["services"].get(ENDPOINT_PREFIX, {}).get("endpoints", {}).items()
        if name in partition["regions"]  # the others are pseudo-regions such as fips-us-east-1
    }


def _configured_region(profile_name: str | None) -> str | None:
    try:
        region = botocore.session.Session(profile=profile_name).get_config_variable("region")
    except BotoCoreError as error:
        raise RegionNotFoundError(f"no AWS region: {bounded(str(error))}") from None
    return str(region) if region else None


def _find(profile_name: str | None) -> Any:
    try:
        found = botocore.session.Session(profile=profile_name).get_credentials()
    except Exception as error:  # a provider may raise anything: what it reads is outside of our hands
        raise CredentialsNotFoundError(f"no AWS credentials: {_reason(error)}") from None
    if found is None:
        raise CredentialsNotFoundError(
            "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
            "or run with a role"
        )
    return found


def _freeze(found: Any) -> Credentials:
    try:
        frozen = found.get_frozen_credentials()
    except Exception as error:
        raise CredentialsNotFoundError(
            f"the AWS credentials could not be refreshed: {_reason(error)}"
        ) from None
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def _reason(error: Exception) -> str:
    """In botocore's words; of any other error only the kind, since its text may quote a secret."""
    if isinstance(error, BotoCoreError | ClientError):
        return bounded(str(error))
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror or type(error).__name__}: {bounded(str(error.filename), 200)}"
    return f"a provider failed with {type(error).__name__}"
