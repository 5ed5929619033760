"""HTTP to a schema registry: one JSON request with retries, a deadline and this project's errors.

An attempt that got no answer, or one that says "later", is repeated with a growing, random wait, at the next
of several addresses, until the deadline. Everything else is told at once.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.request
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

import tenacity
import urllib3
from urllib3.exceptions import HTTPError, SSLError

from schemas.errors import (
    IncompatibleWithSubject,
    InvalidSchema,
    RegistryAccessDenied,
    RegistryNotFound,
    RegistrySettingError,
    RegistryUnavailable,
    UnexpectedAnswer,
)
from schemas.library_logs import pin
from schemas.registry_settings import RegistrySettings

pin("urllib3")  # subjects are named after topics

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"

_CONNECT_SECONDS = 2.0
_MAX_ANSWER_BYTES = 16 << 20
_MAX_REASON_CHARS = 300
_NOT_FOUND_CODES = range(40_401, 40_500)  # of the API; a 404 without one of them is a wrong address
_TRY_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


class RegistryHttp:
    """The registry's HTTP interface at `settings.urls`. Thread-safe; opens connections when needed."""

    def __init__(self, settings: RegistrySettings) -> None:
        """Raises RegistrySettingError where a PEM file cannot be used."""
        self._settings = settings
        self._pools = {url: _pool(url, settings) for url in settings.urls}
        self._urls = cycle(settings.urls)
        self._url = next(self._urls)
        self._headers = _headers(settings)

    def request(self, method: str, path: str, what: str, body: Any = None) -> Any:
        """The JSON answer to one request; `what` names it in messages, `path` begins with a slash.

        Raises RegistryUnavailable (after retries), RegistryAccessDenied, RegistryNotFound,
        IncompatibleWithSubject, InvalidSchema, UnexpectedAnswer.
        """
        ends_at = time.monotonic() + self._settings.deadline_seconds
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RegistryUnavailable),
            stop=tenacity.stop_before_delay(self._settings.deadline_seconds),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=2.0),
            reraise=True,
        )
        payload = None if body is None else json.dumps(body).encode()
        return retrying(self._attempt, method, path, what, payload, ends_at)

    def _attempt(self, method: str, path: str, what: str, payload: bytes | None, ends_at: float) -> Any:
        url = self._url
        left = max(0.5, ends_at - time.monotonic())
        seconds = min(self._settings.timeout_seconds, left)
        try:
            response = self._pools[url].request(
                method,
                url + path,
                body=payload,
                headers=self._headers,
                timeout=urllib3.Timeout(connect=min(_CONNECT_SECONDS, seconds), read=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            data = response.read(_MAX_ANSWER_BYTES + 1, decode_content=True)
            status = response.status
            response.release_conn()
        except SSLError as error:
            raise self._tls_error(url, error) from None
        except (HTTPError, OSError) as error:
            self._url = next(self._urls)
            raise RegistryUnavailable(url, _transport_reason(error)) from None
        if status in _TRY_LATER:
            self._url = next(self._urls)
            raise RegistryUnavailable(url, f"it answered {status} to {what}")
        if len(data) > _MAX_ANSWER_BYTES:
            raise UnexpectedAnswer(url, what, f"more than {_MAX_ANSWER_BYTES} bytes")
        return self._judge(url, what, status, data)

    def _judge(self, url: str, what: str, status: int, data: bytes) -> Any:
        try:
            document = json.loads(data)
        except ValueError:
            document = None
        if 200 <= status < 300 and document is not None:
            return document
        code, reason = self._reason(document)
        if status in (401, 403):
            raise RegistryAccessDenied(url, status, what)
        if code in _NOT_FOUND_CODES:
            raise RegistryNotFound(url, what, code)
        if status == 409:
            raise IncompatibleWithSubject(what, reason)
        if status == 422:
            raise InvalidSchema(what, reason)
        shape = f"status {status}" if document is not None or not data else f"status {status} and no JSON"
        raise UnexpectedAnswer(url, what, shape, status)

    def _reason(self, document: Any) -> tuple[int, str]:
        """Error code and message of the registry, fit for one line and without our credentials."""
        fields = document if isinstance(document, dict) else {}
        code = fields.get("error_code")
        text = " ".join(str(fields.get("message") or "no reason given").split())[:_MAX_REASON_CHARS]
        for secret in self._settings.secrets:
            text = text.replace(secret, "***")
        return (code if isinstance(code, int) else 0), text

    def _tls_error(self, url: str, error: Exception) -> RegistrySettingError:
        reason = " ".join(str(error).split())[:_MAX_REASON_CHARS]
        return RegistrySettingError(
            "--schema-registry-config",
            f"no TLS connection to {url}: {reason}. Name the authority that signed its certificate as "
            "schema.registry.ssl.truststore.location (PEM), and a certificate of your own, where it asks for "
            "one, as schema.registry.ssl.keystore.location",
        )


def _headers(settings: RegistrySettings) -> dict[str, str]:
    headers = {"Content-Type": CONTENT_TYPE, "Accept": f"{CONTENT_TYPE}, application/json"}
    if settings.user is not None:
        user_info = f"{settings.user}:{settings.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(user_info).decode()}"
    elif settings.bearer_token is not None:
        headers["Authorization"] = f"Bearer {settings.bearer_token}"
    return headers


def _pool(url: str, settings: RegistrySettings) -> urllib3.PoolManager:
    tls: dict[str, Any] = {}
    if url.startswith("https:"):
        # urllib3 compares the name itself, whatever the context says.
        tls = {
            "ssl_context": _ssl_context(settings),
            "assert_hostname": None if settings.check_hostname else False,
        }
    proxy = _proxy_for(url)
    return urllib3.PoolManager(**tls) if proxy is None else urllib3.ProxyManager(proxy, **tls)


def _proxy_for(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY choose; this machine is reached without one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _ssl_context(settings: RegistrySettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("schema.registry.ssl.truststore.location", settings.ca_file, error) from None
    context.check_hostname = settings.check_hostname
    if settings.client_certificate_file is not None:
        try:
            context.load_cert_chain(
                settings.client_certificate_file, password=lambda: settings.key_password or ""
            )
        except (OSError, ssl.SSLError) as error:
            place = "schema.registry.ssl.keystore.location"
            raise _unusable(place, settings.client_certificate_file, error) from None
    return context


def _unusable(setting: str, file: str | None, error: OSError) -> RegistrySettingError:
    reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "no usable PEM"
    hint = "" if isinstance(error, FileNotFoundError | PermissionError) else " (or a wrong ssl.key.password)"
    return RegistrySettingError(setting, f"cannot use {file}: {reason}{hint}")


def _transport_reason(error: BaseException) -> str:
    name = type(error).__name__
    known = {
        "NewConnectionError": "the connection was refused",
        "NameResolutionError": "its host name cannot be looked up",
        "ConnectTimeoutError": "it accepts no connection in time",
        "ReadTimeoutError": "it did not answer in time",
        "ProxyError": "the proxy does not let the request through",
    }
    return known.get(name, f"the connection broke ({name})")
