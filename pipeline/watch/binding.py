"""Where the page is served: the address, checked and bound."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SettingsError

_SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel keeps for a browser that does not read, at most (Linux takes twice as much)."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`port` 0: a free one. `certificate` and `key`: PEM files, for TLS. `names`: under which else browsers
    ask for the page. `insecure`: beyond this machine without TLS.

    Raises SettingsError for a certificate without its key, and the other way round.
    """

    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("--web-certificate", "a certificate and its --web-key go together")

    @property
    def encrypted(self) -> bool:
        return self.certificate is not None


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError("--web-host", f"cannot listen on {host}:{port}: {error.strerror}") from None
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)  # connections inherit it
    return bound
