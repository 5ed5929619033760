"""Ways into a secured cluster, and wrong settings with the sentence that each must end in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from connectors.kafka.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    KafkaConnectorError,
    TlsFailed,
    TokenRequestFailed,
    WrongSecurityProtocol,
)
from tests.integration.secured_kafka import (
    KEY_PASSWORD,
    MTLS,
    SASL_SSL,
    SSL,
    USER,
    WRONG_PASSWORD,
    SecuredKafka,
    key_and_chain,
)

Properties = Callable[[SecuredKafka], dict[str, str]]


def inline_stores(cluster: SecuredKafka) -> dict[str, str]:
    key, chain = key_and_chain(cluster.authority.issue_cert("c.example", common_name=USER), KEY_PASSWORD)
    return {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": cluster.ca.read_text(),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": key,
        "ssl.keystore.certificate.chain": chain,
        "ssl.key.password": KEY_PASSWORD,
    }


def token_file(name: str, seconds: float) -> Properties:
    return lambda cluster: cluster.oauth(cluster.write_token(name, seconds).as_uri())


WAYS_IN: dict[str, tuple[str, Properties]] = {
    "PLAIN": (SASL_SSL, lambda cluster: cluster.password("PLAIN")),
    "SCRAM-SHA-256": (SASL_SSL, lambda cluster: cluster.password("SCRAM-SHA-256")),
    "SCRAM-SHA-512": (SASL_SSL, lambda cluster: cluster.password("SCRAM-SHA-512")),
    "token file": (SASL_SSL, token_file("good", 600)),
    "client certificate": (MTLS, lambda cluster: cluster.mutual_tls),
    "client certificate, inline": (MTLS, inline_stores),
    "TLS 1.2, Java's name of a suite": (
        SASL_SSL,
        lambda cluster: {
            **cluster.password("PLAIN"),
            "ssl.enabled.protocols": "TLSv1.2",
            "ssl.cipher.suites": "TLS_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        },
    ),
}


Case = tuple[str, Properties, type[KafkaConnectorError], str]
WRONG: dict[str, Case] = {
    "wrong password, PLAIN": (
        SASL_SSL,
        lambda cluster: cluster.password("PLAIN", WRONG_PASSWORD),
        AuthenticationFailed,
        r"PLAIN login for user 'alice'.*sasl\.jaas\.config",
    ),
    "wrong password, SCRAM": (
        SASL_SSL,
        lambda cluster: cluster.password("SCRAM-SHA-512", WRONG_PASSWORD),
        AuthenticationFailed,
        r"SCRAM-SHA-512 login for user 'alice'.*sasl\.jaas\.config",
    ),
    "a mechanism that the listener does not have": (
        SASL_SSL,
        lambda cluster: {
            **cluster.tls,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "AWS_MSK_IAM",
            "sasl.jaas.config": "software.amazon.msk.auth.iam.IAMLoginModule required awsRegion=eu-west-1;",
        },
        AuthenticationFailed,
        r"AWS_MSK_IAM login.*Set sasl\.mechanism to one of .*SCRAM-SHA-512",
    ),
    "expired token": (SASL_SSL, token_file("expired", -10), TokenRequestFailed, "expired 10 s ago.*file"),
    "a token that the broker refuses": (
        SASL_SSL,
        lambda cluster: cluster.oauth(not_a_token(cluster).as_uri()),
        AuthenticationFailed,
        "OAUTHBEARER login.*issuer, audience and expiry",
    ),
    "no authority": (
        SSL,
        lambda _: {"security.protocol": "SSL"},
        TlsFailed,
        r"authority that this system does not know.*Set ssl\.truststore\.location",
    ),
    "wrong authority": (
        SSL,
        lambda cluster: {**cluster.tls, "ssl.truststore.location": str(cluster.other_ca)},
        TlsFailed,
        r"authority that .*other-ca\.pem does not hold",
    ),
    "wrong host name": (
        "localhost",
        lambda cluster: cluster.tls,
        TlsFailed,
        r"not valid for localhost, only for 127\.0\.0\.1.*--bootstrap-servers",
    ),
    "no client certificate": (
        MTLS,
        lambda cluster: cluster.tls,
        TlsFailed,
        r"asks for a client certificate.*Set ssl\.keystore\.location",
    ),
    "a client certificate of somebody else": (
        MTLS,
        lambda cluster: {**cluster.tls, "ssl.keystore.location": str(cluster.stranger_store)},
        TlsFailed,
        r"refused the client certificate.*ssl\.keystore\.location",
    ),
    "plaintext to a TLS port": (SSL, lambda _: {}, WrongSecurityProtocol, r"Set security\.protocol=SSL"),
    "a login in plaintext to a TLS port": (
        SASL_SSL,
        lambda cluster: {
            **{k: v for k, v in cluster.password("PLAIN").items() if not k.startswith("ssl.")},
            "security.protocol": "SASL_PLAINTEXT",
        },
        WrongSecurityProtocol,
        r"Set security\.protocol=SASL_SSL",
    ),
    "TLS to a plaintext port": (
        "PLAINTEXT",
        lambda cluster: cluster.tls,
        WrongSecurityProtocol,
        r"speaks no TLS on this port.*security\.protocol=PLAINTEXT",
    ),
    "TLS without a login to a port that wants one": (
        SASL_SSL,
        lambda cluster: cluster.tls,
        WrongSecurityProtocol,
        r"wants a SASL login on this port \(PLAIN, .*Set security\.protocol=SASL_SSL",
    ),
    "a login to a port that takes none": (
        SSL,
        lambda cluster: cluster.password("PLAIN"),
        WrongSecurityProtocol,
        r"takes no SASL login on this port.*security\.protocol=SSL",
    ),
    "suites that the broker does not have": (
        SSL,
        lambda cluster: {
            **cluster.tls,
            "ssl.enabled.protocols": "TLSv1.2",
            "ssl.cipher.suites": "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        },
        TlsFailed,
        r"ssl\.enabled\.protocols and ssl\.cipher\.suites",
    ),
    "a controller's port": ("CONTROLLER", lambda _: {}, BrokerUnreachable, "controllers have ports"),
}


def not_a_token(cluster: SecuredKafka) -> Path:
    path = cluster.directory / "opaque.token"
    path.write_text("not.a.token\n")
    return path
