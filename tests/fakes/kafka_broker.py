"""A broker of one connection at a time, for SASL mechanisms that no real broker here has: it answers
ApiVersions, the SASL requests as scripted, and Metadata.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Self

from kafka.protocol.metadata import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    MetadataRequest,
    MetadataResponse,
)
from kafka.protocol.sasl import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

Login = Callable[[bytes], tuple[int, str | None]]
"""What the client sent -> error code and message."""

_VERSIONS = {ApiVersionsRequest: 0, SaslHandshakeRequest: 1, SaslAuthenticateRequest: 1, MetadataRequest: 4}


class FakeBroker:
    """`with FakeBroker(context, mechanism, login) as broker:` listens on `broker.port`, under TLS."""

    def __init__(self, context: ssl.SSLContext, mechanism: str, login: Login) -> None:
        self._context = context
        self._mechanism = mechanism
        self._login = login
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.logins: list[bytes] = []
        self._server = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._server.join()  # before its descriptor's number belongs to another socket
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as peer:
                while frame := self._read(peer):
                    peer.sendall(self._answer(frame))
        except OSError:
            return

    def _read(self, peer: socket.socket) -> bytes:
        size = _exactly(peer, 4)
        return _exactly(peer, int.from_bytes(size)) if size else b""

    def _answer(self, frame: bytes) -> bytes:
        api_key, version = int.from_bytes(frame[:2]), int.from_bytes(frame[2:4])
        requests = {request.API_KEY: request for request in _VERSIONS}
        request = requests[api_key]
        if version > _VERSIONS[request]:  # of ApiVersions only: the client begins with its newest
            correlation_id = int.from_bytes(frame[4:8])
            return _encoded(self._versions(code=35), 0, correlation_id)
        decoded = request.decode(frame, version=version, header=True)
        return _encoded(self._respond(decoded), version, decoded.header.correlation_id)

    def _respond(self, request: Any) -> Any:
        if isinstance(request, SaslHandshakeRequest):
            code = 0 if request.mechanism == self._mechanism else 33
            return SaslHandshakeResponse(error_code=code, mechanisms=[self._mechanism])
        if isinstance(request, SaslAuthenticateRequest):
            self.logins.append(bytes(request.auth_bytes))
            code, message = self._login(self.logins[-1])
            return SaslAuthenticateResponse(
                error_code=code, error_message=message, auth_bytes=b"{}", session_lifetime_ms=0
            )
        if isinstance(request, MetadataRequest):
            broker = MetadataResponse.MetadataResponseBroker(
                node_id=1, host="127.0.0.1", port=self.port, rack=None
            )
            return MetadataResponse(
                throttle_time_ms=0, brokers=[broker], cluster_id="c", controller_id=1, topics=[]
            )
        return self._versions()

    def _versions(self, code: int = 0) -> Any:
        keys = [
            ApiVersionsResponse.ApiVersion(api_key=kind.API_KEY, min_version=0, max_version=version)
            for kind, version in _VERSIONS.items()
        ]
        return ApiVersionsResponse(error_code=code, api_keys=keys)


def _encoded(response: Any, version: int, correlation_id: int) -> bytes:
    response.API_VERSION = version  # before there is a header: the library's setter expects a request's
    response.with_header(correlation_id)
    return bytes(response.encode(header=True, framed=True))


def _exactly(peer: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := peer.recv(size - len(found))):
        found += piece
    return found
