"""Contexts from settings, by handshakes with a server in memory, and contexts that follow their files."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.kafka.errors import InvalidProperty, SettingError, UnreadableCommandConfig
from connectors.kafka.security.tls import ReloadingContext, build_context

NAME = "kafka.example"
AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
SERVER = AUTHORITY.issue_cert(NAME)


def pem(*parts: Any) -> str:
    return "".join(part.bytes().decode() for part in parts)


def store(path: Path, certificate: trustme.LeafCert) -> Path:
    path.write_text(pem(certificate.private_key_pem, *certificate.cert_chain_pems))
    return path


def shake_hands(client: ssl.SSLContext, name: str = NAME, *, ask: bool = False) -> ssl.SSLObject:
    """A handshake with SERVER, which asks for a client certificate or not; the server's side of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SERVER.configure_cert(context)
    if ask:
        AUTHORITY.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = context.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
    done: set[int] = set()
    for _ in range(6):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
                done.add(id(side))
            except ssl.SSLWantReadError:
                continue
    assert len(done) == 2
    return server_side


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return path


def test_the_authority_by_file_and_inline(ca: Path) -> None:
    shake_hands(build_context({"ssl_cafile": str(ca)}))
    shake_hands(build_context({"ssl_cadata": ca.read_text()}))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(build_context({}))
    with pytest.raises(ssl.SSLCertVerificationError, match="match"):
        shake_hands(build_context({"ssl_cafile": str(ca)}), "other.example")
    shake_hands(build_context({"ssl_cafile": str(ca), "ssl_check_hostname": False}), "other.example")


def test_a_client_certificate_by_file_and_inline(ca: Path, tmp_path: Path) -> None:
    client = AUTHORITY.issue_cert("c.example", common_name="job")
    by_file = {"ssl_certfile": str(store(tmp_path / "client.pem", client))}
    chain = pem(*client.cert_chain_pems)
    inline = {"ssl_certdata": chain, "ssl_keydata": pem(client.private_key_pem)}
    for keys in (by_file, inline):
        server = shake_hands(build_context({"ssl_cafile": str(ca), **keys}), ask=True)
        assert ("commonName", "job") in [pair for part in server.getpeercert()["subject"] for pair in part]  # type: ignore[index]
    assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob("medstream-*.pem"))  # noqa: S108
    with pytest.raises(ssl.SSLError):
        shake_hands(build_context({"ssl_cafile": str(ca)}), ask=True)


@pytest.mark.parametrize(
    ("settings", "version", "cipher"),
    [
        ({"ssl_protocols": "TLSv1.2"}, "TLSv1.2", None),
        ({"ssl_protocols": "TLSv1.3,TLSv1.2"}, "TLSv1.3", None),
        ({"ssl_protocol": "TLSv1.2"}, "TLSv1.2", None),
        (
            {"ssl_protocols": "TLSv1.2", "ssl_ciphers": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
            "TLSv1.2",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (
            {
                "ssl_protocols": "TLSv1.2",
                "ssl_ciphers": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,ECDHE-RSA-AES128-SHA256",
            },
            "TLSv1.2",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        ({"ssl_ciphers": "TLS_AES_256_GCM_SHA384"}, "TLSv1.3", None),
    ],
)
def test_versions_and_suites(ca: Path, settings: dict[str, str], version: str, cipher: str | None) -> None:
    server = shake_hands(build_context({"ssl_cafile": str(ca), **settings}))
    found = (server.cipher() or ("", "", 0))[0]
    assert server.version() == version
    assert cipher in (None, found)


def encrypted_key(password: bytes) -> str:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(SERVER.private_key_pem.bytes(), None)
    return key.private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(password)
    ).decode()


@pytest.mark.parametrize(
    ("files", "settings", "named", "problem"),
    [
        ({}, {"ssl_cafile": "none.pem"}, "ssl.truststore.location", "there is no file"),
        ({"a.jks": "\xfe\xed"}, {"ssl_cafile": "a.jks"}, "ssl.truststore.location", "no PEM file.*keytool"),
        (
            {"a.pem": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"},
            {"ssl_cafile": "a.pem"},
            "ssl.truststore.location",
            "no certificate that can be read",
        ),
        ({"a.jks": "\xfe\xed"}, {"ssl_certfile": "a.jks"}, "ssl.keystore.location", "no PEM file"),
        (
            {"k.pem": pem(*SERVER.cert_chain_pems)},
            {"ssl_certfile": "k.pem"},
            "ssl.keystore.location",
            "the private key and its certificate chain",
        ),
        (
            {"k.pem": pem(STRANGER.issue_cert("x").private_key_pem, *SERVER.cert_chain_pems)},
            {"ssl_certfile": "k.pem"},
            "ssl.keystore.location",
            "do not belong together",
        ),
        (
            {"k.pem": encrypted_key(b"correct-horse") + pem(*SERVER.cert_chain_pems)},
            {"ssl_certfile": "k.pem"},
            "ssl.key.password",
            "is needed",
        ),
        (
            {"k.pem": encrypted_key(b"correct-horse") + pem(*SERVER.cert_chain_pems)},
            {"ssl_certfile": "k.pem", "ssl_password": "wrong-horse"},
            "ssl.key.password",
            "does not open",
        ),
        ({}, {"ssl_ciphers": "TLS_NO_WITH_SUCH"}, "ssl.cipher.suites", "no suite"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, files: dict[str, str], settings: dict[str, str], named: str, problem: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    settings = {
        name: str(tmp_path / value) if name.endswith("file") else value for name, value in settings.items()
    }
    with pytest.raises(InvalidProperty, match=problem) as caught:
        build_context(settings)
    assert caught.value.name == named
    assert "horse" not in str(caught.value)


# Rotation


def test_the_context_follows_its_files(ca: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = store(tmp_path / "client.pem", STRANGER.issue_cert("c.example"))
    context = ReloadingContext(lambda: {"ssl_cafile": str(ca), "ssl_certfile": str(keys)})
    before = context.current()
    assert context.current() is before
    with pytest.raises(ssl.SSLError):
        shake_hands(context.current(), ask=True)
    store(keys, AUTHORITY.issue_cert("c.example"))
    shake_hands(context.current(), ask=True)
    STRANGER.cert_pem.write_to_path(ca)  # the brokers' authority was replaced
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context.current())
    assert not caplog.records


def test_a_rotation_that_is_half_done_leaves_what_there_was(
    ca: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = store(tmp_path / "client.pem", AUTHORITY.issue_cert("c.example"))
    context = ReloadingContext(lambda: {"ssl_cafile": str(ca), "ssl_certfile": str(keys)})
    before = context.current()
    keys.write_text(pem(AUTHORITY.issue_cert("c.example").cert_chain_pems[0]))
    with caplog.at_level(logging.WARNING):
        assert context.current() is before
    assert "ssl.keystore.location" in caplog.text
    store(keys, AUTHORITY.issue_cert("c.example"))
    assert context.current() is not before


def test_without_any_valid_settings_there_is_no_context() -> None:
    def gone() -> dict[str, Any]:
        raise UnreadableCommandConfig("/etc/client.properties", "no such file")

    with pytest.raises(SettingError):
        ReloadingContext(gone).current()
