"""One connection to one broker, without kafka-python's client: to ask small things, and to see what fails.

The library's client retries until its bootstrap time is over and then says only that it could not. This
makes the same steps once, with the library's own protocol and SASL classes and the same TLS context, and
tells at which one it failed and how.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any, Self

from kafka import errors as kafka_errors
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.broker_version_data import BrokerVersionData
from kafka.protocol.metadata import ApiVersionsRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from connectors.kafka.errors import KafkaConnectorError


class Stage(Enum):
    """How far a connection came."""

    TCP = "tcp"
    TLS = "tls"
    HELLO = "hello"
    LOGIN = "login"
    REQUEST = "request"


class SessionFailed(Exception):
    """A step failed: `stage`, and as `cause` an OSError, a kafka-python error or a LoginRefused."""

    def __init__(self, stage: Stage, cause: Exception) -> None:
        super().__init__(f"{stage.value}: {type(cause).__name__}")
        self.stage = stage
        self.cause = cause


class LoginRefused(Exception):
    """The broker's answer in the SASL exchange: its error code, its words, the mechanisms it has."""

    def __init__(self, code: int, message: str, mechanisms: tuple[str, ...] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.mechanisms = mechanisms


class ConnectionEnded(OSError):
    """The peer closed the connection without an answer."""


class BrokerSession:
    """A connection that is ready for requests. Every wait ends at `deadline` (time.monotonic)."""

    def __init__(self, host: str, port: int, arguments: Mapping[str, Any], deadline: float) -> None:
        """`arguments` are a client's: security_protocol, ssl_context, sasl_... Raises SessionFailed."""
        self.host = host
        self.port = port
        self._deadline = deadline
        self._arguments = arguments
        self._protocol = KafkaProtocol(client_id=str(arguments.get("client_id") or "medstream"))
        self._versions: Any = None
        self._socket: Any = None
        security = str(arguments.get("security_protocol") or "PLAINTEXT")
        try:
            self._step(Stage.TCP, self._connect)
            if security.endswith("SSL"):
                self._step(Stage.TLS, self._encrypt)
            self._step(Stage.HELLO, self._greet)
            if security.startswith("SASL_"):
                self._step(Stage.LOGIN, lambda: self._log_in(security))
        except BaseException:
            self.close()
            raise

    @property
    def server(self) -> str:
        """host:port"""
        return f"{self.host}:{self.port}"

    def request(self, request: Any) -> Any:
        """The broker's response. Raises SessionFailed."""
        return self._step(Stage.REQUEST, lambda: self._ask(request))

    def close(self) -> None:
        """Idempotent."""
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _step(self, stage: Stage, step: Any) -> Any:
        try:
            return step()
        except (KafkaConnectorError, SessionFailed):
            raise
        except Exception as error:  # whatever the wire, TLS or the library's parser make of it
            raise SessionFailed(stage, error) from None

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def _connect(self) -> None:
        self._socket = socket.create_connection((self.host.strip("[]"), self.port), timeout=self._left())

    def _encrypt(self) -> None:
        self._socket.settimeout(self._left())
        context = self._arguments["ssl_context"]
        self._socket = context.wrap_socket(self._socket, server_hostname=self.host.strip("[]").rstrip("."))

    def _greet(self) -> None:
        answer = self._ask(ApiVersionsRequest(version=0))
        versions = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}
        self._versions = BrokerVersionData(api_versions=versions)

    def _log_in(self, security: str) -> None:
        name = self._arguments["sasl_mechanism"]
        answer = self._ask(SaslHandshakeRequest(mechanism=name, version=1))
        if answer.error_code:
            raise LoginRefused(answer.error_code, "", tuple(answer.mechanisms or ()))
        sasl = {key: value for key, value in self._arguments.items() if key.startswith("sasl_")}
        mechanism = get_sasl_mechanism(name)(host=self.host, **sasl, security_protocol=security)
        challenge = ""
        while not mechanism.is_done():
            answer = self._ask(SaslAuthenticateRequest(auth_bytes=mechanism.auth_bytes(), version=1))
            if answer.error_code:
                raise LoginRefused(answer.error_code, str(answer.error_message or challenge))
            challenge = bytes(answer.auth_bytes or b"").decode(errors="replace")
            mechanism.receive(answer.auth_bytes)
        if not mechanism.is_authenticated():
            raise LoginRefused(kafka_errors.SaslAuthenticationFailedError.errno, challenge)
        mechanism.auth_details()  # how `login` hears of it

    def _ask(self, request: Any) -> Any:
        if request.API_VERSION is None:
            request.API_VERSION = self._versions.api_version(request)
        self._protocol.send_request(request)
        self._socket.settimeout(self._left())
        self._socket.sendall(self._protocol.send_bytes())
        while True:
            self._socket.settimeout(self._left())
            received = self._socket.recv(65_536)
            if not received:
                raise ConnectionEnded("the peer closed the connection")
            for _, response in self._protocol.receive_bytes(received):
                return response
