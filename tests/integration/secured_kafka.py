"""A secured broker for all tests of a run, certificates for it and its clients, and properties of clients.

The user `alice`, by whatever mechanism or by client certificate, may do what a test allows; `admin` anything.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from deploy.local.kafka import KafkaBroker
from deploy.local.kafka_security import MTLS, SASL_SSL, SSL, BrokerSecurity, unsigned_token

USER, PASSWORD, WRONG_PASSWORD = "alice", "correct-horse", "wrong-horse"
KEY_PASSWORD = "battery-staple"
MODULES = "org.apache.kafka.common.security"
HOST = "127.0.0.1"
REAUTHENTICATE_SECONDS = 3.0


def key_and_chain(certificate: trustme.LeafCert, password: str | None = None) -> tuple[str, str]:
    """PKCS #8 key and certificate chain, as Kafka's PEM stores want them."""
    encryption: KeySerializationEncryption = NoEncryption()
    if password is not None:
        encryption = BestAvailableEncryption(password.encode())
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()
    return text, "".join(pem.bytes().decode() for pem in certificate.cert_chain_pems)


@dataclass
class SecuredKafka:
    """The broker and what its clients need. Properties are those of a stock file."""

    directory: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    stranger: trustme.CA = field(default_factory=trustme.CA)
    broker: KafkaBroker = field(init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.authority.cert_pem.write_to_path(self.ca)
        self.stranger.cert_pem.write_to_path(self.other_ca)
        self.write_store("broker", self.authority.issue_cert(HOST))
        self.client_store = self.write_store(
            USER, self.authority.issue_cert("client.example", common_name=USER)
        )
        other = self.stranger.issue_cert("client.example", common_name=USER)
        self.stranger_store = self.write_store("stranger", other)
        security = BrokerSecurity(
            self.directory / "broker.pem",
            self.ca,
            {USER: PASSWORD, "admin": PASSWORD},
            super_users=["admin"],
            reauthenticate_seconds=REAUTHENTICATE_SECONDS,
        )
        self.broker = KafkaBroker(self.directory / "kafka", security=security)

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def other_ca(self) -> Path:
        return self.directory / "other-ca.pem"

    def write_store(self, name: str, certificate: trustme.LeafCert, password: str | None = None) -> Path:
        path = self.directory / f"{name}.pem"
        path.write_text("".join(key_and_chain(certificate, password)))
        return path

    def write_token(self, name: str, seconds: float, user: str = USER) -> Path:
        """A token file whose token is good for so long from now; negative: it has expired."""
        path = self.directory / f"{name}.token"
        now = time.time()
        path.write_text(unsigned_token(user, min(now, now + seconds) - 60, now + seconds))
        return path

    def address(self, listener: str, host: str = HOST) -> str:
        return f"{host}:{self.broker.port(listener)}"

    @property
    def tls(self) -> dict[str, str]:
        return {
            "security.protocol": "SSL",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca),
        }

    @property
    def mutual_tls(self) -> dict[str, str]:
        return {**self.tls, "ssl.keystore.type": "PEM", "ssl.keystore.location": str(self.client_store)}

    def password(self, mechanism: str, password: str = PASSWORD, user: str = USER) -> dict[str, str]:
        module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
        return {
            **self.tls,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            "sasl.jaas.config": f'{MODULES}.{module} required username="{user}" password="{password}";',
        }

    def oauth(self, url: str, options: str = "") -> dict[str, str]:
        return {
            **self.tls,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.token.endpoint.url": url,
            "sasl.jaas.config": f"{MODULES}.oauthbearer.OAuthBearerLoginModule required {options};",
            "sasl.login.callback.handler.class": (
                f"{MODULES}.oauthbearer.OAuthBearerLoginCallbackHandler"  # what a stock file names
            ),
        }


def allowed(operation: ACLOperation, kind: ResourceType, name: str, principal: str = f"User:{USER}") -> ACL:
    """An ACL that allows this operation from anywhere."""
    return ACL(principal, "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))


__all__ = ["MTLS", "SASL_SSL", "SSL", "SecuredKafka", "allowed"]
