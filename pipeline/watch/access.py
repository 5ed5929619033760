"""Who may see the page: addresses that it answers under, and the token. Pure.

The page's address is on the command line's terminal only. Its token stands behind a `#`, so that the browser
sends it nowhere by itself; the page's script sends it with each request for data. Requests under a name that
is not the server's are refused, whoever sends them: a name of somebody else's that leads here (DNS rebinding)
opens nothing.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline.errors import SettingsError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Access:
    """The page's token and the names of its server, in lower case, IPv6 without brackets."""

    token: str = field(repr=False)
    names: frozenset[str]

    def knows_host(self, header: str) -> bool:
        """Whether the Host header names this server, whatever the port."""
        return _name_of(f"//{header}") in self.names

    def knows_origin(self, header: str | None, host: str) -> bool:
        """Whether the request comes from the page itself, or says nothing of where it comes from."""
        if header is None:
            return True
        return header.partition("://")[2].lower() == host.lower()

    def admits(self, authorization: str) -> bool:
        """Whether the Authorization header has the token; takes the same time for every wrong one."""
        given = authorization[len(_SCHEME) :] if authorization.lower().startswith(_SCHEME) else ""
        return hmac.compare_digest(given.encode(), self.token.encode())


def server_names(host: str, names: Iterable[str], *, encrypted: bool, insecure: bool) -> frozenset[str]:
    """Names under which a server at address `host` answers. Raises SettingsError for one that must not be.

    Beyond this machine there is TLS (`encrypted`), or somebody said that there need not be (`insecure`).
    """
    given = {name.strip("[]").lower() for name in names}
    if is_loopback(host):
        return frozenset({*LOOPBACK_NAMES, host.lower(), *given})
    if not (encrypted or insecure):
        raise SettingsError(
            "--web-host",
            f"{host} is reached from other machines, and what is said would cross the network in the clear: "
            "give --web-certificate and --web-key, or --insecure behind something that encrypts",
        )
    if _is_wildcard(host) and not given:
        raise SettingsError(
            "--web-name", f"{host} is every address of this machine: say under which name it is asked for"
        )
    return frozenset(given if _is_wildcard(host) else {host.lower(), *given})


def is_loopback(host: str) -> bool:
    """Whether the address is this machine's for itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def page_url(host: str, port: int, names: Iterable[str], token: str, *, encrypted: bool) -> str:
    """The address to open, its token included."""
    given = [name.strip("[]") for name in names]
    name = given[0] if given and (_is_wildcard(host) or encrypted) else host
    shown = f"[{name}]" if ":" in name else name
    return f"{'https' if encrypted else 'http'}://{shown}:{port}/#{token}"


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _name_of(reference: str) -> str | None:
    try:
        return urlsplit(reference).hostname
    except ValueError:
        return None
