"""SASL logins that follow their credentials: user and password, OAuth tokens and AWS credentials.

kafka-python makes a mechanism object for every login, also for those within a connection (KIP-368), and
hands it the client's arguments. Here the `sasl_plain_password` of a client is a `Login`; the mechanisms
registered below ask it for what holds at that moment. Clients of others in this process, whose password is
text, are served as before.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka.net.sasl import register_sasl_mechanism
from kafka.net.sasl.msk import SaslMechanismAwsMskIam
from kafka.net.sasl.oauth import AbstractTokenProvider, SaslMechanismOAuth
from kafka.net.sasl.plain import SaslMechanismPlain
from kafka.net.sasl.scram import SaslMechanismScram

from connectors.kafka.configuration.properties import Value
from connectors.kafka.errors import SettingError
from connectors.kafka.security.msk_iam import IamSigner
from connectors.kafka.security.oauth import TokenProvider

_LOG = logging.getLogger(__name__)

_WARN_AFTER_LOGINS = 10
_WARN_SECONDS = 60.0

Settings = Mapping[str, Value]


class Login:
    """What one configuration logs in with, as it is now. Shared by the clients of a process; thread-safe."""

    def __init__(
        self, load: Callable[[], Settings], first_host: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`load` reads the settings anew; `first_host` names the cluster's region, if it is Amazon's."""
        self._clock = clock
        self._unanswered = 0
        self._warned_at = float("-inf")
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

    def begun(self) -> None:
        """A login begins. Many in a row without success are worth a sentence: the library's clients try for
        ever, and mostly log no more than a lost connection.
        """
        with self._lock:
            self._unanswered += 1
            unanswered, now = self._unanswered, self._clock()
            if unanswered < _WARN_AFTER_LOGINS or now - self._warned_at < _WARN_SECONDS:
                return
            self._warned_at = now
            settings = self._last or {}
        _LOG.warning(
            "Kafka has not accepted the last %d logins (%s%s); correct sasl.jaas.config in --command-config, "
            "or what it refers to: the next attempt uses it",
            *(unanswered, settings.get("sasl_mechanism")),
            f", user {settings['sasl_plain_username']!r}" if "sasl_plain_username" in settings else "",
        )

    def succeeded(self) -> None:
        """A login was accepted."""
        with self._lock:
            self._unanswered = 0

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


class _Told:
    """Tells the Login of a client how its logins go; kafka-python asks for the details of each success."""

    def __init__(self, **config: Any) -> None:
        login = config.get("sasl_plain_password")
        self._login = login if isinstance(login, Login) else None
        if self._login is not None:
            self._login.begun()
            config = config | _user_and_password(self._login.settings())
        super().__init__(**config)

    def auth_details(self) -> str:
        if self._login is not None:
            self._login.succeeded()
        return str(super().auth_details())  # type: ignore[misc]


def _user_and_password(settings: Settings) -> dict[str, str]:
    return {name: str(settings.get(name) or "") for name in ("sasl_plain_username", "sasl_plain_password")}


class _Plain(_Told, SaslMechanismPlain):  # type: ignore[misc]
    pass


class _Scram(_Told, SaslMechanismScram):  # type: ignore[misc]
    pass


class _OAuth(_Told, SaslMechanismOAuth):  # type: ignore[misc]
    def receive(self, auth_bytes: bytes) -> None:
        if auth_bytes and self._login is not None:
            self._login.refused()
        super().receive(auth_bytes)


class _MskIam(_Told, SaslMechanismAwsMskIam):  # type: ignore[misc]
    """The library's own knows no profile, no role and no region but AWS_DEFAULT_REGION."""

    def auth_bytes(self) -> bytes:
        if self._login is not None:
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
