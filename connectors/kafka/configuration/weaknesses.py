"""What is weak about the way to a cluster beyond this machine, although it works. Pure.

Settings are those of `properties`; the functions answer with words for a warning, None where all is well.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.kafka.configuration.consistency import security_protocol, uses_sasl, uses_tls
from connectors.kafka.configuration.properties import Value

_IN_THE_CLEAR = {"PLAIN": "the password", "OAUTHBEARER": "the token"}  # SCRAM proves, and does not tell


def weak_encryption(settings: Mapping[str, Value]) -> str | None:
    """Whether others on the network may read along, or pass for the broker."""
    if not uses_tls(settings):
        secret = _IN_THE_CLEAR.get(str(settings.get("sasl_mechanism")))
        what = f"patient data and {secret} go" if secret else "patient data goes"
        return f"{what} over the network unencrypted ({security_protocol(settings)}, as --insecure allows)"
    if settings.get("ssl_check_hostname") is False:
        return "whoever has any certificate of the trusted authorities may pass for the broker"
    return None


def weak_authentication(settings: Mapping[str, Value]) -> str | None:
    """Whether the brokers cannot tell who reads and writes."""
    if uses_sasl(settings) or "ssl_certfile" in settings or "ssl_certdata" in settings:
        return None
    return "neither a login nor a client certificate: the brokers cannot tell this client from any other"
