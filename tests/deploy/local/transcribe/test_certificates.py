"""The endpoint's own authority: what clients accept, what is used again, what is never touched."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.transcribe.certificates import VALIDITY, CertificateFiles, ensure_certificate
from deploy.local.transcribe.errors import CertificateError

NOW = datetime.now(UTC)


def certificate_seen_by(name: str, files: CertificateFiles) -> dict[str, object]:
    """Connect as `name` over a real socket, trusting nothing but the authority; the server's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    near, far = socket.socketpair()

    def serve() -> None:
        with far:
            try:
                context.wrap_socket(far, server_side=True).close()
            except OSError:  # the client refused it, which the test sees at the other end
                return

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        trust = ssl.create_default_context(cafile=files.ca_file)
        with near, trust.wrap_socket(near, server_hostname=name) as connection:
            return connection.getpeercert() or {}
    finally:
        serving.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "127.0.0.9", "transcribe.test"])
def test_a_client_that_trusts_the_authority_accepts_every_name(tmp_path: Path, name: str) -> None:
    files = ensure_certificate(tmp_path, ["127.0.0.9", "transcribe.test"], NOW)
    certificate = certificate_seen_by(name, files)
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    assert ends == pytest.approx((NOW + VALIDITY).timestamp(), abs=1)


def test_other_names_are_not_covered(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, [], NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        certificate_seen_by("127.0.0.9", files)


def test_only_the_owner_may_read_the_key(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "new" / "folder", [], NOW)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (files.ca_file, files.certificate, files.key)]
    assert modes == [0o644, 0o644, 0o600]
    assert sorted(path.name for path in files.directory.iterdir()) == [
        "ca.pem",
        "server-key.pem",
        "server.pem",
    ]


def test_the_key_of_the_authority_is_written_nowhere(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, [], NOW)
    assert sum(path.read_text().count("PRIVATE KEY") for path in tmp_path.iterdir()) == 2  # begin and end


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("names", [[], ["transcribe.test"], ["*.transcribe.test"], ["127.0.0.9"]])
def test_what_is_still_valid_is_used_again(tmp_path: Path, names: list[str]) -> None:
    ensure_certificate(tmp_path, names, NOW)
    before = contents(tmp_path)
    ensure_certificate(tmp_path, names, NOW + timedelta(days=300))
    assert contents(tmp_path) == before


def test_a_further_name_makes_all_anew(tmp_path: Path) -> None:
    before = ensure_certificate(tmp_path, [], NOW).ca_file.read_bytes()
    files = ensure_certificate(tmp_path, ["127.0.0.9"], NOW)
    assert certificate_seen_by("127.0.0.9", files)
    assert files.ca_file.read_bytes() != before


def test_what_ends_soon_is_made_anew(tmp_path: Path) -> None:
    before = ensure_certificate(tmp_path, [], NOW).ca_file.read_bytes()
    files = ensure_certificate(tmp_path, [], NOW + VALIDITY - timedelta(hours=1))
    assert files.ca_file.read_bytes() != before


@pytest.mark.parametrize("lost", ["ca.pem", "server.pem", "server-key.pem"])
def test_an_incomplete_set_is_made_anew(tmp_path: Path, lost: str) -> None:
    (ensure_certificate(tmp_path, [], NOW).directory / lost).unlink()
    assert certificate_seen_by("localhost", ensure_certificate(tmp_path, [], NOW))


@pytest.mark.parametrize("mixed", ["ca.pem", "server.pem", "server-key.pem"])
def test_files_that_do_not_belong_together_are_made_anew(tmp_path: Path, mixed: str) -> None:
    ensure_certificate(tmp_path / "one", [], NOW)
    ensure_certificate(tmp_path / "other", [], NOW)
    (tmp_path / "one" / mixed).write_bytes((tmp_path / "other" / mixed).read_bytes())
    assert certificate_seen_by("localhost", ensure_certificate(tmp_path / "one", [], NOW))


@pytest.mark.parametrize("foreign", ["ca.pem", "server.pem", "server-key.pem"])
def test_a_foreign_file_is_never_overwritten(tmp_path: Path, foreign: str) -> None:
    (tmp_path / foreign).write_text("somebody's own")
    with pytest.raises(CertificateError, match=rf"--generate-ca {tmp_path}: {foreign} was not made by"):
        ensure_certificate(tmp_path, [], NOW)
    assert contents(tmp_path) == {foreign: b"somebody's own"}


@pytest.mark.parametrize("name", ["", "two words", "10.0.0.0/8", "someone@example.test"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CertificateError, match=r"--generate-ca .*name"):
        ensure_certificate(tmp_path, [name], NOW)
    assert contents(tmp_path) == {}


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CertificateError, match=r"--generate-ca .*File exists"):
        ensure_certificate(tmp_path / "file", [], NOW)


def test_endpoints_that_start_at_once_share_one_authority(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ensure_certificate(tmp_path, [], NOW), range(16)))
    assert certificate_seen_by("localhost", ensure_certificate(tmp_path, [], NOW))
