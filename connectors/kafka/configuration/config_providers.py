"""References in property values to what lies elsewhere, as Java's clients resolve them (KIP-421). Pure.

    config.providers=secrets
    config.providers.secrets.class=org.apache.kafka.common.config.provider.FileConfigProvider
    sasl.jaas.config=... required username="u" password="${secrets:/run/secrets/kafka.properties:password}";

Kafka's own three providers are known: a key of a properties file, a file of a directory, an environment
variable. The reading itself is the caller's (`Reader`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from connectors.kafka.errors import InvalidProperty

PROVIDERS = ("FileConfigProvider", "DirectoryConfigProvider", "EnvVarConfigProvider")

Reader = Callable[[str, str, str], str]
"""(provider, path, key) -> value; the path is empty without one. Raises ValueError, which quotes no value."""

_LIST = "config.providers"
_REFERENCE = re.compile(r"\$\{([^}:]*):(?:([^}]*?):)?([^}:]*)\}")
_ALLOWED = ("allowed.paths", "allowlist.pattern")


def is_provider_property(name: str) -> bool:
    """Whether the property is about providers, not about the client."""
    return name == _LIST or name.startswith(f"{_LIST}.")


def resolve(
    properties: Mapping[str, str], origin: str, read: Reader, providers: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The properties with every reference replaced, and without those about providers.

    `providers` has the properties that name the providers when they stand elsewhere. What refers to a
    provider of another name is left as it is, like in Java. Raises InvalidProperty.
    """
    classes = _classes({**(providers or {}), **properties}, origin)
    resolved = {}
    for name, value in properties.items():
        if is_provider_property(name):
            continue

        def replacement(match: re.Match[str], name: str = name) -> str:
            provider, path, key = match[1], match[2] or "", match[3]
            if provider not in classes:
                return match[0]
            try:
                _check_allowed(classes[provider], path, key)
                return read(classes[provider][""], path, key)
            except ValueError as error:
                raise InvalidProperty(name, origin, f"provider {provider!r}: {error}") from None

        resolved[name] = _REFERENCE.sub(replacement, value)
    return resolved


def _classes(properties: Mapping[str, str], origin: str) -> dict[str, dict[str, str]]:
    """Name of each provider -> its parameters; under "" the short name of its class."""
    found: dict[str, dict[str, str]] = {}
    names = [name.strip() for name in properties.get(_LIST, "").split(",") if name.strip()]
    for name in names:
        prefix = f"{_LIST}.{name}."
        kind = properties.get(f"{prefix}class", "").strip().rsplit(".", 1)[-1]
        if kind not in PROVIDERS:
            raise InvalidProperty(f"{prefix}class", origin, f"must be Kafka's {', '.join(PROVIDERS)}")
        found[name] = {"": kind}
    for name, value in properties.items():
        if not name.startswith(f"{_LIST}."):
            continue
        provider, _, rest = name.removeprefix(f"{_LIST}.").partition(".")
        if provider not in found or (rest != "class" and rest.removeprefix("param.") not in _ALLOWED):
            problem = f"{_LIST} does not list it" if provider not in found else "is not a parameter of it"
            raise InvalidProperty(name, origin, problem)
        if rest != "class":
            found[provider][rest.removeprefix("param.")] = value.strip()
    return found


def _check_allowed(provider: Mapping[str, str], path: str, key: str) -> None:
    paths = provider.get("allowed.paths")
    if paths is not None:
        roots = [root.strip().rstrip("/") for root in paths.split(",")]
        inside = any(path == root or path.startswith(f"{root}/") for root in roots)
        if ".." in path.split("/") or not inside:
            raise ValueError(f"allowed.paths does not contain {path}")
    pattern = provider.get("allowlist.pattern")
    try:
        allowed = pattern is None or re.fullmatch(pattern, key)
    except re.error:
        raise ValueError("allowlist.pattern is no regular expression") from None
    if not allowed:
        raise ValueError(f"allowlist.pattern does not allow {key}")
