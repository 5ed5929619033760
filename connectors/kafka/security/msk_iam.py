"""Logins to Amazon MSK with AWS credentials: a presigned request that the broker replays to IAM.

The request is `GET https://HOST/?Action=kafka-cluster:Connect`, signed by botocore (Signature Version 4, in
the query, service `kafka-cluster`, good for 15 minutes). Mechanism AWS_MSK_IAM sends its parameters as JSON;
OAUTHBEARER sends its URL in base64 as the token. Sources: AWS's aws-msk-iam-auth (Java) and
aws-msk-iam-sasl-signer-python.

Credentials come from botocore's chain. Those that expire are renewed by botocore; of others the chain is
walked again for each login, so that a changed profile or environment counts.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.session
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    DeferredRefreshableCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError

from connectors.kafka.configuration.properties import Value
from connectors.kafka.errors import AwsCredentialsNotFound
from schemas.library_logs import pin

pin("botocore", "urllib3")  # at DEBUG it logs what it signs, session tokens among it

logging.getLogger("botocore").setLevel(logging.INFO)  # at DEBUG it writes what providers answer

_SERVICE = "kafka-cluster"
_ACTION = "kafka-cluster:Connect"
_VERSION = "2020_10_22"
_USER_AGENT = "medstream"
_EXPIRES_SECONDS = 900
_SESSION_NAME = "medstream"
_HOST = re.compile(r"(?:.*\.)?kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?\.?")

Settings = Mapping[str, Value]


def region_of(host: str) -> str | None:
    """The region in the name of an MSK broker; None for any other name (a private alias, a tunnel)."""
    match = _HOST.fullmatch(host.lower())
    return match[1] if match else None


class IamSigner:
    """Signs logins with the chain's credentials. Thread-safe."""

    def __init__(self, load: Callable[[], Settings]) -> None:
        """`load` returns the settings as they are now (`iam_...`)."""
        self._load = load
        self._lock = threading.Lock()
        self._chosen: Any = None
        self._credentials: Any = None

    def payload(self, host: str) -> bytes:
        """What AWS_MSK_IAM sends to the broker `host`. Raises AwsCredentialsNotFound."""
        query = parse_qsl(urlsplit(self._presigned(host, host)).query)
        fields = {name.lower(): value for name, value in query}
        fields = {"version": _VERSION, "host": host, "user-agent": _USER_AGENT, **fields}
        return json.dumps(fields, separators=(",", ":")).encode()

    def oauth_token(self, host: str) -> str:
        """What OAUTHBEARER sends; `host` tells the region only. Raises AwsCredentialsNotFound."""
        region = self._region(host)
        url = f"{self._presigned(host, f'kafka.{region}.amazonaws.com')}&User-Agent={_USER_AGENT}"
        return urlsafe_b64encode(url.encode()).decode().rstrip("=")

    def forget(self) -> None:
        """The broker refused the login: look for other credentials next time."""
        with self._lock:
            self._credentials = None

    def _presigned(self, broker: str, signed_host: str) -> str:
        region = self._region(broker)
        request = AWSRequest("GET", f"https://{signed_host}/", params={"Action": _ACTION})
        SigV4QueryAuth(self._frozen(region), _SERVICE, region, expires=_EXPIRES_SECONDS).add_auth(request)
        return str(request.url)

    def _region(self, host: str) -> str:
        settings = self._load()
        found = settings.get("iam_region") or region_of(host) or _configured_region(settings)
        if not found:
            raise AwsCredentialsNotFound(f"no AWS region: the name {host} tells none, nor does AWS_REGION")
        return str(found)

    def _frozen(self, region: str) -> Any:
        settings = self._load()
        chosen = tuple(sorted((name, value) for name, value in settings.items() if name.startswith("iam_")))
        with self._lock:
            try:
                if self._chosen != chosen or not isinstance(self._credentials, RefreshableCredentials):
                    self._credentials, self._chosen = _find(settings, region), chosen
                if self._credentials is None:
                    raise AwsCredentialsNotFound("there are no AWS credentials")
                return self._credentials.get_frozen_credentials()
            except (BotoCoreError, ClientError) as error:
                raise AwsCredentialsNotFound(_words(error)) from None
            except OSError as error:
                raise AwsCredentialsNotFound(f"a provider failed with {type(error).__name__}") from None


def _session(settings: Settings) -> Any:
    return botocore.session.Session(profile=settings.get("iam_profile_name"))


def _configured_region(settings: Settings) -> str | None:
    """Of AWS_REGION, as in AWS's other SDKs, AWS_DEFAULT_REGION or the profile."""
    try:
        session = _session(settings)
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
    except BotoCoreError as error:
        raise AwsCredentialsNotFound(_words(error)) from None
    return str(region) if region else None


def _words(error: Exception) -> str:
    """botocore's own, which name no secret."""
    return " ".join(str(error).split())[:300].rstrip(".")


def _find(settings: Settings, region: str) -> Any:
    """The chain's credentials, or those of a role; the cluster's region is STS's too, unless one is named."""
    session = _session(settings)
    source = session.get_credentials()
    role = settings.get("iam_role_arn")
    if role is None or source is None:
        return source
    extra = {"RoleSessionName": str(settings.get("iam_role_session_name") or _SESSION_NAME)}
    if settings.get("iam_role_external_id"):
        extra["ExternalId"] = str(settings["iam_role_external_id"])
    fetcher = AssumeRoleCredentialFetcher(
        partial(session.create_client, region_name=settings.get("iam_sts_region") or region),
        source,
        str(role),
        extra_args=extra,
    )
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
