"""A secured broker for tests: TLS with and without client certificates, every SASL mechanism, ACLs.

`BrokerSecurity` says who there is; it becomes listeners and settings of `KafkaBroker`:

    SSL        TLS, no client certificate asked for
    MTLS       TLS, client certificate required; the user is its common name
    SASL_SSL   TLS and a login: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER

OAuth tokens are believed unsigned (Kafka's own validator for development): a broker that nobody else reaches.
Without an ACL nobody but the super users may do anything; the plaintext listener is theirs.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SSL, MTLS, SASL_SSL = "SSL", "MTLS", "SASL_SSL"
_PROTOCOLS = {SSL: "SSL", MTLS: "SSL", SASL_SSL: "SASL_SSL"}
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_MODULES = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class BrokerSecurity:
    """`key_store` holds the broker's key (PKCS #8) and its chain, `trust_store` the authority of clients,
    both PEM. `users` (name to password) log in by PLAIN and SCRAM. With `reauthenticate_seconds` a login must
    be renewed within a connection.
    """

    key_store: Path
    trust_store: Path
    users: Mapping[str, str] = field(repr=False)
    super_users: Sequence[str] = ()
    reauthenticate_seconds: float | None = None

    @property
    def listeners(self) -> Mapping[str, str]:
        """Listener name to Kafka's security protocol."""
        return _PROTOCOLS

    def properties(self) -> dict[str, str]:
        """Settings of the broker."""
        sasl = f"listener.name.{SASL_SSL.lower()}"
        entries = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        lifetime = self.reauthenticate_seconds
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.key_store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.trust_store),
            f"listener.name.{MTLS.lower()}.ssl.client.auth": "required",
            f"{sasl}.sasl.enabled.mechanisms": ",".join(_MECHANISMS),
            f"{sasl}.plain.sasl.jaas.config": f"{_MODULES}.plain.PlainLoginModule required {entries};",
            f"{sasl}.scram-sha-256.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
            f"{sasl}.scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
            f"{sasl}.oauthbearer.sasl.jaas.config": (
                f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required "
                'unsecuredLoginStringClaim_sub="broker";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
            "super.users": ";".join(f"User:{name}" for name in ("ANONYMOUS", *self.super_users)),
            **({"connections.max.reauth.ms": str(round(lifetime * 1000))} if lifetime else {}),
        }


def unsigned_token(subject: str, issued_at: float, expires_at: float) -> str:
    """A JWT without signature, as the broker above believes it."""
    claims = {"sub": subject, "iat": issued_at, "exp": expires_at}
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join([*(urlsafe_b64encode(part).decode().rstrip("=") for part in parts), ""])
