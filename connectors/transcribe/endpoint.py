"""Where a stream connects to: the regional endpoint of the service, or the URL of a compatible one.

`resolve_endpoint` turns settings into an `Endpoint`, or into one sentence that names the setting at fault.
Cleartext HTTP carries audio in the open: it is refused unless the host is this machine or the caller insists.

Source of the host names: https://docs.aws.amazon.com/general/latest/gr/transcribe.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from connectors.transcribe.errors import EndpointError, bounded
from schemas.loopback import is_loopback

DEFAULT_PORTS = {"https": 443, "http": 80}
HTTP2, WEBSOCKET = "http2", "websocket"
TRANSPORTS = (HTTP2, WEBSOCKET)
_HOST = re.compile(r"[A-Za-z0-9._~%:-]+")
_WEBSOCKET_SCHEMES = {"wss": "https", "ws": "http"}  # how people write it; the connection is the same
# Domains of AWS's partitions, by how the names of their regions begin; "" is the commercial one.
_DOMAINS = {
    "cn-": ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    "eusc-": ("amazonaws.eu", "api.amazonwebservices.eu"),
    "us-iso-": ("c2s.ic.gov", ""),
    "us-isob-": ("sc2s.sgov.gov", ""),
    "us-isof-": ("csp.hci.ic.gov", ""),
    "eu-isoe-": ("cloud.adc-e.uk", ""),
    "": ("amazonaws.com", "api.aws"),
}
REGIONAL_PORTS = {HTTP2: 443, WEBSOCKET: 8443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Scheme (`https` or `http`), host and port to connect to; the region that requests are signed for."""

    scheme: str
    host: str
    port: int
    region: str

    @property
    def uses_tls(self) -> bool:
        """True for https."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """`host` or `host:port` as sent and signed; the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """For messages."""
        return f"{self.scheme}://{self.authority}"


def resolve_endpoint(
    region: str,
    endpoint_url: str | None = None,
    *,
    transport: str = HTTP2,
    use_fips: bool = False,
    use_dualstack: bool = False,
    allow_cleartext: bool = False,
) -> Endpoint:
    """The endpoint for `region`, or for `endpoint_url` when given; raises `EndpointError`.

    The service's WebSockets have a port of their own; an `endpoint_url` serves either transport.
    """
    if transport not in TRANSPORTS:
        raise EndpointError(f"--transport {transport!r} is not one of {', '.join(TRANSPORTS)}")
    if endpoint_url is None:
        host = regional_host(region, use_fips, use_dualstack)
        return Endpoint("https", host, REGIONAL_PORTS[transport], region)
    if use_fips or use_dualstack:
        raise EndpointError(
            "--endpoint-url cannot be combined with --use-fips-endpoint or --use-dualstack-endpoint; "
            "leave one of them out"
        )
    return _from_url(endpoint_url, region, allow_cleartext)


def regional_host(region: str, use_fips: bool = False, use_dualstack: bool = False) -> str:
    """The service's host in `region`; raises `EndpointError` where there is no dual-stack one."""
    service = "transcribestreaming-fips" if use_fips else "transcribestreaming"
    prefix = next((prefix for prefix in _DOMAINS if region.startswith(prefix)), "")
    domain, dualstack_domain = _DOMAINS[prefix]
    if use_dualstack and not dualstack_domain:
        raise EndpointError(
            f"there is no dual-stack endpoint in {region}; leave out --use-dualstack-endpoint"
        )
    return f"{service}.{region}.{dualstack_domain if use_dualstack else domain}"


def _from_url(endpoint_url: str, region: str, allow_cleartext: bool) -> Endpoint:
    parts, port = _split(endpoint_url)
    host = _ascii(parts.hostname or "")
    scheme = _WEBSOCKET_SCHEMES.get(parts.scheme, parts.scheme)
    if scheme not in DEFAULT_PORTS or not host:
        raise _refusal(endpoint_url, "it must look like https://host:port or http://127.0.0.1:port")
    if parts.username is not None or parts.password is not None:
        # The URL is not repeated: it holds a password.
        raise EndpointError("--endpoint-url must not contain a user name or a password; remove them")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _refusal(endpoint_url, "it must end after the host and port; the path is the operation's own")
    if scheme == "http" and not allow_cleartext and not is_loopback(host):
        raise _refusal(
            endpoint_url, "audio would cross the network in the open; use https, or pass --insecure"
        )
    return Endpoint(scheme, host, port or DEFAULT_PORTS[scheme], region)


def _ascii(host: str) -> str:
    """The name as it is looked up and sent; empty for what cannot be one."""
    try:
        plain = host.encode("idna").decode("ascii")
    except UnicodeError:  # an empty label, or one of more than 63 characters
        return ""
    return plain if _HOST.fullmatch(plain) else ""


def _split(endpoint_url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(endpoint_url.strip())
        port = parts.port
    except ValueError:  # its text quotes what it took for the port, maybe a piece of a password
        raise _refusal(endpoint_url, "its host or its port is malformed") from None
    if port == 0:
        raise _refusal(endpoint_url, "a port is 1 to 65535")
    return parts, port


def _refusal(endpoint_url: str, reason: str) -> EndpointError:
    shown = endpoint_url.rsplit("@", 1)[-1]
    return EndpointError(f"--endpoint-url {bounded(shown, 200)!r} cannot be used: {reason}")
