"""OAuth tokens for SASL OAUTHBEARER: from a token endpoint by client credentials, or from a file.

A token of an endpoint is shared by all clients of a configuration. After 80 % of its life the next login
starts a thread that fetches another, while the old one is still used; so the network thread of a client
waits for the endpoint only when there is no valid token at all. A token file is read at each login: whoever
writes it (a sidecar, a mounted service account) rotates it.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from kafka.net.sasl.oauth import AbstractTokenProvider
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from connectors.kafka.configuration.properties import Value
from connectors.kafka.errors import TokenRequestFailed
from connectors.kafka.security import tls
from connectors.kafka.security.tokens import (
    Token,
    TokenFormatError,
    read_answer,
    read_error,
    read_token_file,
    token_request,
)

_TIMEOUT_MS = 4_000
"""For each wait on the endpoint; three attempts end within the 15 s that a wrong setting may take."""
_ATTEMPTS = 3
_MAX_ANSWER_BYTES = 1 << 20

Settings = Mapping[str, Value]


def fetch_token(settings: Settings, now: float) -> Token:
    """A token as the settings say, now. Raises TokenRequestFailed."""
    url = str(settings["oauth_token_url"])
    if url.startswith("file:"):
        return _read_file(url, now)
    attempts = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, TokenRequestFailed) and error.retryable),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.1, max=1),
        reraise=True,
    )
    token: Token = attempts(_request, settings, url, now)
    return token


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """What kafka-python asks for a token at each login. Thread-safe."""

    def __init__(
        self,
        load: Callable[[], Settings],
        fetch: Callable[[Settings, float], Token] = fetch_token,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`load` returns the settings as they are now."""
        super().__init__()
        self._load = load
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._refreshing = False

    def __repr__(self) -> str:
        return "TokenProvider()"

    def token(self) -> str:
        """A token that has not expired. Raises TokenRequestFailed."""
        with self._lock:
            now = self._clock()
            token = self._token
            if token is None or token.expired(now) or token.expires_at is None:
                token = self._token = self._valid(self._fetch(self._load(), now), now)
            elif token.due(now) and not self._refreshing:
                self._refreshing = True
                threading.Thread(target=self._refresh, name="oauth-token", daemon=True).start()
            return token.value

    def forget(self) -> None:
        """The broker refused the token: fetch another one next time."""
        with self._lock:
            self._token = None

    def extensions(self) -> dict[str, str]:
        """SASL extensions (`extension_...` in sasl.jaas.config)."""
        lines = str(self._load().get("oauth_extensions") or "").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def _refresh(self) -> None:
        fresh: Token | None = None
        try:
            now = self._clock()
            fresh = self._valid(self._fetch(self._load(), now), now)
        except Exception:  # noqa: S110 - the old token is good for a while, and the next login tries again
            pass
        finally:
            with self._lock:
                self._refreshing = False
                self._token = fresh or self._token

    def _valid(self, token: Token, now: float) -> Token:
        if token.expired(now):
            where = str(self._load().get("oauth_token_url"))
            ago = round(now - (token.expires_at or now))
            raise TokenRequestFailed(_shown(where), f"the token has expired {ago} s ago")
        return token


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST would become a GET, and the credentials would go to somebody else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _request(settings: Settings, url: str, now: float) -> Token:
    """One POST to the endpoint. The proxy is that of the environment."""
    encoded = settings.get("oauth_header_urlencode") is True
    scope = settings.get("oauth_scope")
    headers, body = token_request(
        str(settings["oauth_client_id"]),
        str(settings["oauth_client_secret"]),
        str(scope) if scope else None,
        url_encode=encoded,
    )
    where = _shown(url)
    request = Request(url, body, headers, method="POST")  # noqa: S310 - http or https by the property's check
    try:
        with _opener(settings).open(request, timeout=_timeout_seconds(settings)) as answer:
            return read_answer(answer.read(_MAX_ANSWER_BYTES), now)
    except HTTPError as error:
        raise _refusal(where, error) from None
    except TokenFormatError as error:
        raise TokenRequestFailed(where, str(error)) from None
    except (URLError, OSError) as error:
        raise _unreachable(where, error) from None


def _opener(settings: Settings) -> OpenerDirector:
    trusted = {"ssl_cafile": settings.get("oauth_cafile"), "ssl_cadata": settings.get("oauth_cadata")}
    context = tls.build_context({name: value for name, value in trusted.items() if value is not None})
    return build_opener(HTTPSHandler(context=context), _NoRedirect())


def _timeout_seconds(settings: Settings) -> float:
    waits = (settings.get("oauth_connect_timeout_ms"), settings.get("oauth_read_timeout_ms"))
    return max((float(wait) for wait in waits if wait), default=_TIMEOUT_MS) / 1000


def _refusal(where: str, error: HTTPError) -> TokenRequestFailed:
    if 300 <= error.code < 400:
        return TokenRequestFailed(where, f"it redirects (HTTP {error.code}), which is not followed")
    code = read_error(error.read(_MAX_ANSWER_BYTES))
    problem = f"it answered HTTP {error.code}{f' ({code})' if code else ''}"
    return TokenRequestFailed(where, problem, retryable=error.code >= 500 or error.code == 429)


def _unreachable(where: str, error: OSError) -> TokenRequestFailed:
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        remedy = "name its authority by ssl.truststore.location in sasl.jaas.config"
        return TokenRequestFailed(where, f"its certificate is not trusted ({cause.verify_message}); {remedy}")
    if isinstance(cause, TimeoutError):
        return TokenRequestFailed(where, "it did not answer in time", retryable=True)
    reason = getattr(cause, "strerror", None) or type(cause).__name__
    return TokenRequestFailed(where, f"it cannot be reached ({reason})", retryable=True)


def _shown(url: str) -> str:
    """The address without a query or credentials, which may be secret."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return unquote(parts.path)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _read_file(url: str, now: float) -> Token:
    path = unquote(urlsplit(url).path)
    try:
        return read_token_file(Path(path).read_text(encoding="utf-8"), now)
    except OSError as error:
        raise TokenRequestFailed(path, error.strerror or type(error).__name__) from None
    except ValueError as error:  # also of decoding
        problem = str(error) if isinstance(error, TokenFormatError) else "it is not text"
        raise TokenRequestFailed(path, problem) from None
