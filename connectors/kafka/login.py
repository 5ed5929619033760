"""SASL logins that follow their credentials: user and password, OAuth tokens and AWS credentials.

kafka-python makes a mechanism object for every login, also for those within a connection (KIP-368), and
hands it the client's arguments. Here the `sasl_plain_password` of a client is a `Login`; the mechanisms
registered below ask it for what holds at that moment. Clients of others in this process, whose password is
text, are served as before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kafka.net.sasl import register_sasl_mechanism
from kafka.net.sasl.msk import SaslMechanismAwsMskIam
from kafka.net.sasl.oauth import AbstractTokenProvider, SaslMechanismOAuth
from kafka.net.sasl.plain import SaslMechanismPlain
from kafka.net.sasl.scram import SaslMechanismScram

from connectors.kafka.errors import SettingError
from connectors.kafka.msk_iam import IamSigner
from connectors.kafka.oauth import TokenProvider
from connectors.kafka.properties import Value

_LOG = logging.getLogger(__name__)

Settings = Mapping[str, Value]


class Login:
    """What one configuration logs in with, as it is now. Shared by the clients of a process; thread-safe."""

    def __init__(self, load: Callable[[], Settings], first_host: str) -> None:
        """`load` reads the settings anew; `first_host` names the cluster's region, if it is Amazon's."""
        self._load = load
        self._lock = threading.Lock()
        self._last: Settings | None = None
        self.signer = IamSigner(self.settings)
        self.tokens = TokenProvider(self.settings)
        self._first_host = first_host

    def __repr__(self) -> str:
        return "Login()"

    def settings(self) -> Settings:
        """As they are now; as they were when they cannot be read any more, with a warning."""
        try:
            found = self._load()
        except SettingError as error:
            with self._lock:
                if self._last is None:
                    raise
                _LOG.warning("Going on with the Kafka login as it was: %s", error)
                return self._last
        with self._lock:
            self._last = found
        return found

    def arguments(self) -> dict[str, Any]:
        """The SASL arguments of a client. Raises SettingError when there is nothing to log in with."""
        settings = self.settings()
        arguments: dict[str, Any] = {
            "sasl_mechanism": settings["sasl_mechanism"],
            "sasl_plain_password": self,
        }
        if settings["sasl_mechanism"] == "OAUTHBEARER":
            provider: Any = self.tokens
            if settings.get("iam_over_oauth"):
                provider = _IamTokenProvider(self.signer, self._first_host)
            provider.token()  # here, where a failure has somebody to be told, not in the network thread
            arguments["sasl_oauth_token_provider"] = provider
        elif settings["sasl_mechanism"] == "AWS_MSK_IAM":
            self.signer.payload(self._first_host)
        else:
            arguments["sasl_plain_username"] = settings["sasl_plain_username"]
        return arguments

    def refused(self) -> None:
        """The broker refused the login: what was fetched is fetched anew."""
        self.tokens.forget()
        self.signer.forget()


class _IamTokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, signer: IamSigner, host: str) -> None:
        super().__init__()
        self._signer = signer
        self._host = host

    def token(self) -> str:
        return self._signer.oauth_token(self._host)


def _as_now(config: dict[str, Any]) -> dict[str, Any]:
    login = config.get("sasl_plain_password")
    if not isinstance(login, Login):
        return config
    settings = login.settings()
    names = ("sasl_plain_username", "sasl_plain_password")
    return config | {name: str(settings.get(name) or "") for name in names}


class _Plain(SaslMechanismPlain):  # type: ignore[misc]
    def __init__(self, **config: Any) -> None:
        super().__init__(**_as_now(config))


class _Scram(SaslMechanismScram):  # type: ignore[misc]
    def __init__(self, **config: Any) -> None:
        super().__init__(**_as_now(config))


class _OAuth(SaslMechanismOAuth):  # type: ignore[misc]
    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._login = config.get("sasl_plain_password")

    def receive(self, auth_bytes: bytes) -> None:
        if auth_bytes and isinstance(self._login, Login):
            self._login.refused()
        super().receive(auth_bytes)


class _MskIam(SaslMechanismAwsMskIam):  # type: ignore[misc]
    """The library's own knows no profile, no role and no region but AWS_DEFAULT_REGION."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._login = config.get("sasl_plain_password")

    def auth_bytes(self) -> bytes:
        if isinstance(self._login, Login):
            return self._login.signer.payload(self.host)
        return bytes(super().auth_bytes())


for _name, _mechanism in (
    ("PLAIN", _Plain),
    ("SCRAM-SHA-256", _Scram),
    ("SCRAM-SHA-512", _Scram),
    ("OAUTHBEARER", _OAuth),
    ("AWS_MSK_IAM", _MskIam),
):
    register_sasl_mechanism(_name, _mechanism, overwrite=True)
