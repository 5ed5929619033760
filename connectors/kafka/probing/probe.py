"""Why a client cannot connect, in one sentence that names the setting and the remedy.

`connect` opens a `BrokerSession` to the first broker of the list that lets us in; where none does, the
failure is explained, if need be by an experiment: whether a port that fails under TLS answers without it,
for instance. Seconds, where kafka-python's client reports a timeout after its whole bootstrap time.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import errors as kafka_errors
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.sasl import SaslHandshakeRequest

from connectors.kafka.client import ClientConfig, login_of, split_servers
from connectors.kafka.client_logs import pin_logger
from connectors.kafka.configuration.consistency import security_protocol, uses_sasl, uses_tls
from connectors.kafka.configuration.properties import Value
from connectors.kafka.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    KafkaConnectorError,
    TlsFailed,
    WrongSecurityProtocol,
)
from connectors.kafka.probing.broker_session import BrokerSession, LoginRefused, SessionFailed, Stage
from connectors.kafka.security.tls import KEYS, TRUST, build_context, has_client_certificate

CONNECT_SECONDS = 5.0
"""How long one broker may take to let us in."""
_EXPERIMENT_SECONDS = 2.0
_MAX_SERVERS = 8
_MAX_REASON_CHARS = 200

_EXPIRED, _NOT_YET_VALID = 10, 9
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)
_UNSUPPORTED_MECHANISM = kafka_errors.UnsupportedSaslMechanismError.errno
_ILLEGAL_STATE = kafka_errors.IllegalSaslStateError.errno

Settings = Mapping[str, Value]


def connect(config: ClientConfig) -> BrokerSession:
    """A session with the first broker of the list that lets us in, within about 8 seconds.

    Raises SettingError or BrokerUnreachable.
    """
    pin_logger()
    arguments = config.connection_arguments()
    servers = split_servers(config.bootstrap_servers)[:_MAX_SERVERS]
    deadline = time.monotonic() + CONNECT_SECONDS
    opened: BrokerSession | None = None
    failures: list[KafkaConnectorError] = []
    with ThreadPoolExecutor(len(servers), thread_name_prefix="kafka-probe") as threads:
        attempts = [threads.submit(_open, config, *server, arguments, deadline) for server in servers]
        for attempt in attempts:
            found = attempt.result()
            if isinstance(found, KafkaConnectorError):
                failures.append(found)
            elif opened is None:
                opened = found
            else:
                found.close()
    if opened is not None:
        return opened
    telling = [failure for failure in failures if not isinstance(failure, BrokerUnreachable)]
    raise (telling or failures)[0]


def diagnose(config: ClientConfig) -> KafkaConnectorError | None:
    """What is wrong with the connection, or None when it works now."""
    try:
        connect(config).close()
    except KafkaConnectorError as error:
        return error
    return None


def explained(
    config: ClientConfig, host: str, port: int, arguments: Mapping[str, Any], deadline: float
) -> BrokerSession:
    """A session with this broker that has answered a request. Raises SettingError or BrokerUnreachable."""
    session = None
    try:
        session = BrokerSession(host, port, arguments, deadline)
        session.request(MetadataRequest(topics=[]))  # the first that a broker refuses without a login
    except SessionFailed as failure:
        if session is not None:
            session.close()
        raise _explain(config, host, port, failure) from None
    return session


def _open(
    config: ClientConfig, host: str, port: int, arguments: Mapping[str, Any], deadline: float
) -> BrokerSession | KafkaConnectorError:
    try:
        return explained(config, host, port, arguments, deadline)
    except KafkaConnectorError as error:
        return error


def _explain(config: ClientConfig, host: str, port: int, failure: SessionFailed) -> KafkaConnectorError:
    settings, server, cause = config.load(), f"{host}:{port}", failure.cause
    if failure.stage is Stage.TCP:
        return BrokerUnreachable(server, _network_reason(cause))
    if failure.stage is Stage.LOGIN:
        return _login_problem(config, settings, server, cause)
    if failure.stage is Stage.TLS:
        problem = _handshake_problem(settings, host, port, cause)
    elif uses_tls(settings):
        problem = _client_certificate_problem(settings, server, cause) or _missing_login(settings, host, port)
    else:
        problem = _missing_tls(settings, host, port) or _missing_login(settings, host, port)
    return problem or BrokerUnreachable(server, _silence(failure))


# TLS


def _handshake_problem(
    settings: Settings, host: str, port: int, cause: Exception
) -> KafkaConnectorError | None:
    server = f"{host}:{port}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _untrusted(settings, host, port, cause)
    if _answers(host, port, {"security_protocol": "PLAINTEXT"}):
        return WrongSecurityProtocol(
            server,
            security_protocol(settings),
            "speaks no TLS on this port",
            "Name the port of its TLS listener (--bootstrap-servers); only if it has none, set "
            f"security.protocol={'SASL_PLAINTEXT' if uses_sasl(settings) else 'PLAINTEXT'}.",
        )
    return _client_certificate_problem(settings, server, cause)


def _untrusted(
    settings: Settings, host: str, port: int, cause: ssl.SSLCertVerificationError
) -> KafkaConnectorError:
    server = f"{host}:{port}"
    if cause.verify_code in _OTHER_NAME:
        names = _certificate_names(settings, host, port)
        problem = f"the broker's certificate is not valid for {host}{f', only for {names}' if names else ''}"
        remedy = "Connect by a name that it is valid for (--bootstrap-servers), or have it issued anew"
        setting = "ssl.endpoint.identification.algorithm"
        return TlsFailed(server, setting, problem, f"{remedy}; an empty {setting} turns the check off.")
    if cause.verify_code in _UNKNOWN_AUTHORITY:
        file = settings.get("ssl_cafile")
        known = f"{file} does not hold" if file else "this system does not know"
        if settings.get("ssl_cadata"):
            known = "ssl.truststore.certificates does not hold"
        problem = f"the broker's certificate comes from an authority that {known}"
        return TlsFailed(
            server, TRUST, problem, f"Set {TRUST} to a PEM file with the authority of the brokers."
        )
    if cause.verify_code == _EXPIRED:
        problem = "a certificate of the broker has expired"
        return TlsFailed(server, "the broker's certificate", problem, "Renew it on the broker.")
    if cause.verify_code == _NOT_YET_VALID:
        problem = "a certificate of the broker is not valid yet"
        return TlsFailed(server, "the broker's certificate", problem, "Check this machine's clock.")
    return TlsFailed(
        server, TRUST, _short(cause.verify_message), "Check the broker's certificate and its authority."
    )


def _client_certificate_problem(
    settings: Settings, server: str, cause: Exception
) -> KafkaConnectorError | None:
    """With TLS 1.3 a client's certificate is refused after the handshake, with the first answer."""
    if not isinstance(cause, OSError) or isinstance(cause, TimeoutError):
        return None
    reason = getattr(cause, "reason", None) or ""
    if not has_client_certificate(settings):
        if "ALERT" not in reason:
            return None
        if "PROTOCOL_VERSION" in reason or ("HANDSHAKE_FAILURE" in reason and "ssl_ciphers" in settings):
            return _no_common_ground(server)
        problem = "the broker asks for a client certificate, and none is set"
        return TlsFailed(server, KEYS, problem, f"Set {KEYS} to a PEM file with the key and its certificate.")
    if "PROTOCOL_VERSION" in reason:
        return _no_common_ground(server)
    problem = f"the broker refused the client certificate{f' ({_alert(reason)})' if reason else ''}"
    remedy = f"Check that {KEYS} holds one that the broker's truststore knows, and that it has not expired."
    return TlsFailed(server, KEYS, problem, remedy)


def _no_common_ground(server: str) -> KafkaConnectorError:
    setting = "ssl.enabled.protocols"
    problem = "the broker takes none of the protocol versions and cipher suites that are offered"
    return TlsFailed(server, setting, problem, f"Check {setting} and ssl.cipher.suites on both sides.")


def _alert(reason: str) -> str:
    return reason.lower().partition("alert_")[2].replace("_", " ") or reason.lower().replace("_", " ")


def _certificate_names(settings: Settings, host: str, port: int) -> str:
    """The names in a certificate that is trusted but for another host; empty if it cannot be had."""
    context = build_context({**settings, "ssl_check_hostname": False})
    try:
        with (
            socket.create_connection((host.strip("[]"), port), timeout=_EXPERIMENT_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=host.strip("[]")) as encrypted,
        ):
            certificate = encrypted.getpeercert() or {}
    except OSError:
        return ""
    names: Any = certificate.get("subjectAltName", ())
    return _short(", ".join(value for _, value in names))


# Listeners of another kind


def _missing_tls(settings: Settings, host: str, port: int) -> KafkaConnectorError | None:
    if not _speaks_tls(host, port):
        return None
    wanted = "SASL_SSL" if uses_sasl(settings) else "SSL"
    return WrongSecurityProtocol(
        f"{host}:{port}",
        security_protocol(settings),
        "speaks TLS on this port",
        f"Set security.protocol={wanted} (--command-config).",
    )


def _missing_login(settings: Settings, host: str, port: int) -> KafkaConnectorError | None:
    """A broker that drops the first request after ApiVersions wants a login first."""
    if uses_sasl(settings):
        return None
    arguments: dict[str, Any] = {"security_protocol": "SSL" if uses_tls(settings) else "PLAINTEXT"}
    if uses_tls(settings):
        arguments["ssl_context"] = build_context(settings)
    try:
        with BrokerSession(host, port, arguments, time.monotonic() + _EXPERIMENT_SECONDS) as session:
            answer = session.request(SaslHandshakeRequest(mechanism="-", version=1))
    except SessionFailed:
        return None
    if answer.error_code != _UNSUPPORTED_MECHANISM:
        return None
    return WrongSecurityProtocol(
        f"{host}:{port}",
        security_protocol(settings),
        f"wants a SASL login on this port ({', '.join(answer.mechanisms)})",
        f"Set security.protocol={'SASL_SSL' if uses_tls(settings) else 'SASL_PLAINTEXT'}, sasl.mechanism and "
        "sasl.jaas.config (--command-config).",
    )


def _answers(host: str, port: int, arguments: Mapping[str, Any]) -> bool:
    try:
        BrokerSession(host, port, arguments, time.monotonic() + _EXPERIMENT_SECONDS).close()
    except SessionFailed:
        return False
    return True


def _speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake gets an answer in TLS. Nothing is sent over it, so nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host.strip("[]"), port), timeout=_EXPERIMENT_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=host.strip("[]")),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


# Logins


def _login_problem(
    config: ClientConfig, settings: Settings, server: str, cause: Exception
) -> KafkaConnectorError:
    mechanism, user = str(settings.get("sasl_mechanism")), settings.get("sasl_plain_username")
    username = str(user) if user is not None else None
    if isinstance(cause, TimeoutError):
        return BrokerUnreachable(server, "it did not finish the SASL login in time")
    if not isinstance(cause, LoginRefused):
        login_of(config).refused()
        ended = "it closed the connection" if isinstance(cause, OSError) else type(cause).__name__
        return AuthenticationFailed(server, mechanism, username, ended)
    if cause.code == _UNSUPPORTED_MECHANISM:
        offered = ", ".join(cause.mechanisms)
        remedy = f"Set sasl.mechanism to one of {offered} (--command-config)."
        return AuthenticationFailed(server, mechanism, username, f"the listener has {offered}", remedy)
    if cause.code == _ILLEGAL_STATE:
        return WrongSecurityProtocol(
            server,
            security_protocol(settings),
            "takes no SASL login on this port",
            f"Set security.protocol={'SSL' if uses_tls(settings) else 'PLAINTEXT'}, or name the port of its "
            "SASL listener (--bootstrap-servers).",
        )
    login_of(config).refused()
    return AuthenticationFailed(server, mechanism, username, _short(cause.message) or None)


# Reasons


def _network_reason(cause: Exception) -> str:
    if isinstance(cause, socket.gaierror):
        return "the name cannot be resolved"
    if isinstance(cause, TimeoutError):
        return "no connection in time; a firewall may drop it"
    return _short(getattr(cause, "strerror", None) or str(cause)) or type(cause).__name__


def _silence(failure: SessionFailed) -> str:
    if isinstance(failure.cause, TimeoutError):
        return "it accepted the connection and does not answer"
    if failure.stage is Stage.TLS:
        return f"the TLS handshake failed ({type(failure.cause).__name__})"
    if isinstance(failure.cause, kafka_errors.IncompatibleBrokerVersion):
        return "it is no broker, or a very old one; controllers have ports of their own"
    return f"it does not answer like a Kafka broker ({type(failure.cause).__name__})"


def _short(text: str) -> str:
    return " ".join(text.split())[:_MAX_REASON_CHARS]
