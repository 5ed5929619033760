"""Where a stream connects to: the regional endpoint of the service, or the URL of a compatible one.

`resolve_endpoint` turns settings into an `Endpoint`, or into one sentence that names the setting at fault.
Cleartext HTTP carries audio in the open: it is refused unless the host is this machine or the caller insists.

Source of the host names: https://docs.aws.amazon.com/general/latest/gr/transcribe.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from connectors.transcribe.errors import EndpointError, bounded

DEFAULT_PORTS = {"https": 443, "http": 80}
HTTP2, WEBSOCKET = "http2", "websocket"
TRANSPORTS = (HTTP2, WEBSOCKET)
_WEBSOCKET_SCHEMES = {"wss": "https", "ws": "http"}  # how people write it; the connection is the same
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
    """The service's host in `region`."""
    service = "transcribestreaming-fips" if use_fips else "transcribestreaming"
    china = region.startswith("cn-")
    if use_dualstack:
        return f"{service}.{region}.{'api.amazonwebservices.com.cn' if china else 'api.aws'}"
    return f"{service}.{region}.{'amazonaws.com.cn' if china else 'amazonaws.com'}"


def is_loopback(host: str) -> bool:
    """True when `host` is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _from_url(endpoint_url: str, region: str, allow_cleartext: bool) -> Endpoint:
    parts, port = _split(endpoint_url)
    host = parts.hostname or ""
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


def _split(endpoint_url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(endpoint_url.strip())
        return parts, parts.port
    except ValueError as error:
        raise _refusal(endpoint_url, str(error)) from None


def _refusal(endpoint_url: str, reason: str) -> EndpointError:
    shown = endpoint_url.rsplit("@", 1)[-1]
    return EndpointError(f"--endpoint-url {bounded(shown, 200)!r} cannot be used: {reason}")
