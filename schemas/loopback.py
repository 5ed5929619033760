"""Whether a host is this machine. Pure.

The one rule of every client here: unencrypted connections go no further, unless `--insecure` says so. It
stands in this package since all others may import it.
"""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """True for `localhost`, names below it and loopback addresses, IPv6 with brackets or without."""
    name = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
