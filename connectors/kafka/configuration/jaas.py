"""The value of `sasl.jaas.config`: one login module and its options, as settings. Pure.

    org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p";

Options that Java's module does not have are its own business there; here they are refused, since a misspelt
one would be without effect. Errors never quote a value.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

EXTENSION = "extension_"
_MODULE = re.compile(r"\s*([\w.$]+)\s+(?:required|requisite|sufficient|optional)\b(.*?);?\s*", re.DOTALL)
_OPTION = re.compile(
    r"""\s*([\w.$-]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([^\s"';]+))\s*""", re.DOTALL
)

_LOGIN = {"username": "sasl_plain_username", "password": "sasl_plain_password"}
_OAUTH = {
    "clientId": "oauth_client_id",
    "clientSecret": "oauth_client_secret",
    "scope": "oauth_scope",
    "ssl.truststore.location": "oauth_cafile",
    "ssl.truststore.certificates": "oauth_cadata",
    "ssl.truststore.type": "",  # only PEM
}
_IAM = {
    "awsProfileName": "iam_profile_name",
    "awsRoleArn": "iam_role_arn",
    "awsRoleSessionName": "iam_role_session_name",
    "awsRoleExternalId": "iam_role_external_id",
    "awsStsRegion": "iam_sts_region",
    "awsRegion": "iam_region",
    "awsDebugCreds": "",  # about Java's log
    "awsMaxRetries": "",  # botocore has its own
    "awsMaxBackOffTimeMs": "",
}
_MODULES = {
    "PlainLoginModule": _LOGIN,
    "ScramLoginModule": _LOGIN,
    "OAuthBearerLoginModule": _OAUTH,
    "IAMLoginModule": _IAM,
}
MODULE_OF_MECHANISM = {
    "PLAIN": ("PlainLoginModule",),
    "SCRAM-SHA-256": ("ScramLoginModule",),
    "SCRAM-SHA-512": ("ScramLoginModule",),
    "OAUTHBEARER": ("OAuthBearerLoginModule",),
    "AWS_MSK_IAM": ("IAMLoginModule",),
}


def read_jaas(value: str) -> dict[str, str]:
    """Settings of the module's options, and its short name as `login_module`. Raises ValueError."""
    match = _MODULE.fullmatch(value)
    if match is None:
        raise ValueError('must read `LOGIN_MODULE required username="..." password="...";`')
    module = match[1].rsplit(".", 1)[-1]
    if module not in _MODULES:
        raise ValueError(f"the login module must be one of {', '.join(_MODULES)}")
    options = _options(match[2])
    names = _MODULES[module]
    if names is _LOGIN and (missing := [name for name in _LOGIN if name not in options]):
        raise ValueError(f"{' and '.join(missing)} missing")
    settings = {"login_module": module}
    extensions = []
    for name, option in options.items():
        if module == "OAuthBearerLoginModule" and name.startswith(EXTENSION):
            extensions.append(f"{name.removeprefix(EXTENSION)}={option}")
        elif name not in names:
            raise ValueError(_unknown(module, name, list(names)))
        elif name == "ssl.truststore.type" and option.upper() != "PEM":
            raise ValueError("only PEM stores can be read: ssl.truststore.type=PEM")
        elif names[name]:
            settings[names[name]] = option
    if extensions:
        settings["oauth_extensions"] = "\n".join(extensions)
    return settings


def _options(text: str) -> dict[str, str]:
    options, position = {}, 0
    while text[position:].strip():
        match = _OPTION.match(text, position)
        if match is None:
            raise ValueError('an option is not `name="value"`')
        quoted = match[2] if match[2] is not None else match[3]
        options[match[1]] = match[4] if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        position = match.end()
    return options


def _unknown(module: str, name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
    return f"{module} has no option {name}; {hint}"
