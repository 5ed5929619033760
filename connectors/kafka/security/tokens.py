"""OAuth tokens as values: the request for one, the answer, and when one expires. Pure.

RFC 6749 section 4.4 (client credentials) and RFC 7519 (JWT); the request is that of Java's client.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

REFRESH_AT = 0.8
"""Part of a token's life after which it is replaced, as in Java's client."""


@dataclass(frozen=True, slots=True)
class Token:
    """`value` as it goes to the broker; `expires_at` in seconds since the epoch, None if it does not tell."""

    value: str = field(repr=False)
    received_at: float
    expires_at: float | None = None

    def expired(self, now: float) -> bool:
        """Whether a broker would refuse it."""
        return self.expires_at is not None and now >= self.expires_at

    def due(self, now: float) -> bool:
        """Whether it is time for another one. A token that does not tell its end is used once."""
        if self.expires_at is None:
            return True
        return now >= self.received_at + REFRESH_AT * (self.expires_at - self.received_at)


class TokenFormatError(ValueError):
    """An answer or a file without a usable token; the text quotes nothing of it."""


def token_request(
    client_id: str, client_secret: str, scope: str | None, *, url_encode: bool = False
) -> tuple[dict[str, str], bytes]:
    """(headers, body) of the POST for a token by client credentials.

    `url_encode` encodes id and secret before they are put into the header, as RFC 6749 section 2.3.1 says and
    Java's client does only with sasl.oauthbearer.header.urlencode.
    """
    login = (client_id, client_secret)
    name, secret = (quote_plus(part) for part in login) if url_encode else login
    form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
    headers = {
        "Accept": "application/json",
        "Authorization": f"Basic {b64encode(f'{name}:{secret}'.encode()).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return headers, urlencode(form).encode()


def read_answer(body: bytes, now: float) -> Token:
    """The token of a successful answer. Raises TokenFormatError."""
    try:
        answer = json.loads(body)
    except ValueError:
        raise TokenFormatError("the answer is not JSON") from None
    value = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value:
        raise TokenFormatError("the answer has no access_token")
    lifetime = answer.get("expires_in")
    expires_at = jwt_expiry(value)
    if isinstance(lifetime, int | float) and not isinstance(lifetime, bool):
        expires_at = min(now + lifetime, expires_at or float("inf"))
    return Token(_checked(value), now, expires_at)


def read_error(body: bytes) -> str | None:
    """The `error` code of a refusal (`invalid_client`, `invalid_scope` ...), if it has a plain one."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    code = answer.get("error") if isinstance(answer, dict) else None
    return code if isinstance(code, str) and code.replace("_", "").isalnum() and len(code) < 60 else None


def read_token_file(content: str, now: float) -> Token:
    """The token that a file holds, blanks around it left out. Raises TokenFormatError."""
    value = _checked(content.strip())
    return Token(value, now, jwt_expiry(value))


def jwt_expiry(value: str) -> float | None:
    """`exp` of a JWT, unverified; None for any other token."""
    parts = value.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return float(expiry) if isinstance(expiry, int | float) and not isinstance(expiry, bool) else None


def _checked(value: str) -> str:
    """RFC 7628 ends a token with a control character, so it must have none."""
    if not value:
        raise TokenFormatError("it is empty")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise TokenFormatError("it holds more than one token: one line without blanks is expected")
    return value
