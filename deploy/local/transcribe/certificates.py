"""A certificate authority of the endpoint's own, for clients that speak TLS only (both AWS SDKs for Python).

`ensure_certificate` leaves three PEM files in a directory:

    ca.pem            the authority, for clients to trust (readable by all)
    server.pem        the certificate it issued for the endpoint's names
    server-key.pem    its key (readable by the owner alone)

The authority's own key is never written: it signs this one certificate and is forgotten, so trusting
`ca.pem` opens nothing else. What lies in the directory is used again as long as a client would accept it
under every name wanted, which a TLS handshake in memory tells; else all three are made anew, with a new
authority. Files that were not made here are never touched.
"""

from __future__ import annotations

import fcntl
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.local.transcribe.errors import CertificateError

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""What a certificate is valid for in any case."""

VALIDITY = timedelta(days=397)
"""Some clients (Apple's) refuse certificates that are valid for longer than about a year."""

_RENEW_BEFORE_END = timedelta(days=1)
_CLOCK_SKEW = timedelta(days=1)
_HEADER = (
    b'# Made by "medstream endpoint --generate-ca" for a local endpoint; replaced when its names change.\n'
)
_PUBLIC, _PRIVATE = 0o644, 0o600


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The files in a directory, whether they exist or not."""

    directory: Path

    @property
    def ca_file(self) -> Path:
        """The authority, for clients to trust."""
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.directory / "server.pem"

    @property
    def key(self) -> Path:
        """The key of the server's certificate."""
        return self.directory / "server-key.pem"


def ensure_certificate(directory: Path, names: Sequence[str], now: datetime) -> CertificateFiles:
    """Files whose certificate is valid for `LOCAL_NAMES` and `names`, made if need be.

    `names` are host names and IP addresses; `now` is aware of its time zone.

    Raises:
        CertificateError: A file there is not ours, the directory cannot be used, or a name is none.
    """
    files = CertificateFiles(directory.absolute())
    wanted = tuple(dict.fromkeys((*LOCAL_NAMES, *names)))
    try:
        files.directory.mkdir(parents=True, exist_ok=True)
        with _locked(files.directory):
            _refuse_foreign(files)
            if not _is_valid(files, wanted, now):
                _generate(files, wanted, now)
    except OSError as error:
        raise CertificateError(directory, f"{error.strerror or 'the directory cannot be used'}") from error
    return files


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Two endpoints that start at once must not mix their files."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse_foreign(files: CertificateFiles) -> None:
    for path in (files.ca_file, files.certificate, files.key):
        if path.exists() and not path.read_bytes().startswith(_HEADER):
            raise CertificateError(
                files.directory,
                f"{path.name} was not made by medstream and is left alone. Name another directory, or serve "
                "a certificate of your own with --tls-cert and --tls-key.",
            )


def _is_valid(files: CertificateFiles, names: Sequence[str], now: datetime) -> bool:
    """Whether a client that trusts the authority accepts the server under each of `names`, today and on."""
    try:
        ends = [_expiry(_accepted_certificate(files, name)) for name in names]
    except (OSError, ssl.SSLError):
        return False
    return min(ends) > (now + _RENEW_BEFORE_END).timestamp()


def _accepted_certificate(files: CertificateFiles, name: str) -> dict[str, Any]:
    """The certificate as a client that connects to `name` sees it; raises OSError or ssl.SSLError."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.certificate, files.key)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    context = ssl.create_default_context(cafile=files.ca_file)
    client = context.wrap_bio(to_client, to_server, server_hostname=name.replace("*", "any"))
    for side in (client, server):  # the client's hello, then all the server has to say
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    client.do_handshake()
    return client.getpeercert() or {}


def _expiry(certificate: dict[str, Any]) -> float:
    return ssl.cert_time_to_seconds(certificate["notAfter"])


def _generate(files: CertificateFiles, names: Sequence[str], now: datetime) -> None:
    import trustme  # only needed here, and slow to import

    if odd := [name for name in names if set(name) & set("@/")]:
        raise CertificateError(files.directory, f"{odd[0]!r} is neither a host name nor an IP address")
    authority = trustme.CA(path_length=0, organization_name="medstream local endpoint")
    try:
        issued = authority.issue_cert(
            *names,
            organization_name="medstream local endpoint",
            not_before=now - _CLOCK_SKEW,
            not_after=now + VALIDITY,
        )
    except ValueError as error:
        raise CertificateError(files.directory, f"one of its names cannot be used: {error}") from error
    _write(files.key, issued.private_key_pem.bytes(), _PRIVATE)
    _write(files.certificate, issued.cert_chain_pems[0].bytes(), _PUBLIC)
    _write(files.ca_file, authority.cert_pem.bytes(), _PUBLIC)


def _write(path: Path, pem: bytes, mode: int) -> None:
    """Write a file whose mode is right from its first byte on, whatever the umask."""
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(_HEADER + pem)
    partial.replace(path)
