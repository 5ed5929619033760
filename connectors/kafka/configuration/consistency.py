"""Whether settings of security fit together, before anything is connected. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.kafka.configuration.jaas import MODULE_OF_MECHANISM
from connectors.kafka.configuration.properties import Value
from connectors.kafka.errors import InvalidProperty

ORIGIN = "--command-config or --kafka-property"


def security_protocol(settings: Mapping[str, Value]) -> str:
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    return str(settings.get("security_protocol", "PLAINTEXT"))


def uses_tls(settings: Mapping[str, Value]) -> bool:
    """Whether connections are encrypted."""
    return security_protocol(settings) in ("SSL", "SASL_SSL")


def uses_sasl(settings: Mapping[str, Value]) -> bool:
    """Whether the client logs in."""
    return security_protocol(settings).startswith("SASL_")


def check_consistency(settings: Mapping[str, Value]) -> None:
    """Raise InvalidProperty for what contradicts itself, is missing or would be without effect."""
    _check_tls(settings)
    protocol, mechanism = security_protocol(settings), settings.get("sasl_mechanism")
    if not uses_sasl(settings):
        if mechanism is not None or "login_module" in settings:
            raise _invalid("security.protocol", f"{protocol} sends no SASL login; use SASL_SSL")
        return
    if mechanism is None:
        raise _invalid("sasl.mechanism", f"is needed with security.protocol={protocol}")
    _check_module(settings, str(mechanism))
    if mechanism == "OAUTHBEARER":
        _check_oauth(settings)
    if mechanism == "AWS_MSK_IAM" and not uses_tls(settings):
        raise _invalid("security.protocol", "sasl.mechanism=AWS_MSK_IAM needs SASL_SSL")


def _check_tls(settings: Mapping[str, Value]) -> None:
    if not uses_tls(settings):
        given = [
            name for name in ("ssl_cafile", "ssl_cadata", "ssl_certfile", "ssl_certdata") if name in settings
        ]
        if given:
            problem = "has no use for the ssl.* stores that are set; use SSL or SASL_SSL"
            raise _invalid("security.protocol", f"{security_protocol(settings)} {problem}")
    for file, text, names in (
        ("ssl_cafile", "ssl_cadata", "ssl.truststore.location and ssl.truststore.certificates"),
        ("ssl_certfile", "ssl_certdata", "ssl.keystore.location and ssl.keystore.certificate.chain"),
    ):
        if file in settings and text in settings:
            raise _invalid(names.split(" ", 1)[0], f"{names} exclude each other")
    if ("ssl_certdata" in settings) != ("ssl_keydata" in settings):
        raise _invalid("ssl.keystore.key", "and ssl.keystore.certificate.chain belong together")


def _check_module(settings: Mapping[str, Value], mechanism: str) -> None:
    module = settings.get("login_module")
    allowed: tuple[str, ...] = MODULE_OF_MECHANISM[mechanism]
    if mechanism == "OAUTHBEARER" and settings.get("iam_over_oauth"):
        allowed = (*allowed, "IAMLoginModule")
    if module is None and mechanism not in ("AWS_MSK_IAM", "OAUTHBEARER"):
        raise _invalid("sasl.jaas.config", f"is needed with sasl.mechanism={mechanism}")
    if module is not None and module not in allowed:
        raise _invalid("sasl.jaas.config", f"{module} does not go with sasl.mechanism={mechanism}")


def _check_oauth(settings: Mapping[str, Value]) -> None:
    if settings.get("iam_over_oauth"):
        if not uses_tls(settings):
            raise _invalid("security.protocol", "a login with AWS credentials needs SASL_SSL")
        return
    url = settings.get("oauth_token_url")
    if url is None:
        raise _invalid("sasl.oauthbearer.token.endpoint.url", "is needed with sasl.mechanism=OAUTHBEARER")
    if str(url).startswith("file:"):
        return
    missing = [name for name in ("oauth_client_id", "oauth_client_secret") if not settings.get(name)]
    if missing:
        raise _invalid("sasl.jaas.config", 'OAuthBearerLoginModule needs clientId="..." clientSecret="..."')


def _invalid(name: str, problem: str) -> InvalidProperty:
    return InvalidProperty(name, ORIGIN, problem)
