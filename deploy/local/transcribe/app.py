"""The endpoint as an ASGI 3 application: routes, admission, errors before a stream.

`POST /medical-stream-transcription` is full duplex over HTTP/2, `GET /medical-stream-transcription-websocket`
a WebSocket; the standard operation has paths of its own (`operations.py`). The answer's head goes out before
any audio is awaited, results while audio comes in (`exchange.py`). A refused request gets an HTTP status, the
header `x-amzn-errortype` and a JSON body, as the service sends them.

Beside the service there are local routes, over HTTP/1.1 too: `GET|POST|DELETE /_local/faults` (see
`faults.py`) and `GET /_local/status`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import MutableMapping
from email.utils import formatdate
from typing import Any

from deploy.local.transcribe.authentication import SignedHttpRequest
from deploy.local.transcribe.carriers import (
    Carrier,
    Headers,
    Http2Carrier,
    Receive,
    SendMessage,
    WebSocketCarrier,
)
from deploy.local.transcribe.errors import FaultError, ServiceFault, bad_request
from deploy.local.transcribe.event_log import EventLog
from deploy.local.transcribe.exchange import Exchange
from deploy.local.transcribe.faults import read_faults
from deploy.local.transcribe.front import Front
from deploy.local.transcribe.operations import OPERATIONS, Operation
from deploy.local.transcribe.recognition import RecognitionHost
from deploy.local.transcribe.service import Admission, TranscribeService

Scope = MutableMapping[str, Any]

MAX_CONTROL_BODY_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


class TranscribeApp:
    """The ASGI 3 application; `front` is set by the server that has one."""

    def __init__(self, service: TranscribeService, host: RecognitionHost, event_log: EventLog) -> None:
        self._service = service
        self._host = host
        self._event_log = event_log
        self._exchanges: set[Exchange] = set()
        self.front: Front | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith("/_local/"):
            await self._serve_control(scope, receive, send)
        elif scope["type"] in ("http", "websocket"):
            if scope["type"] == "websocket":
                await receive()  # ASGI's `websocket.connect`, which carries nothing
            await self._serve_stream(scope, self._carrier(scope, receive, send))

    def _carrier(self, scope: Scope, receive: Receive, send: SendMessage) -> Carrier:
        connection = None if self.front is None else self.front.find(scope.get("client"))
        kind = WebSocketCarrier if scope["type"] == "websocket" else Http2Carrier
        return kind(receive, send, connection)

    async def _serve_stream(self, scope: Scope, carrier: Carrier) -> None:
        try:
            admission = self._admit(scope)
            headers = self._response_headers(admission, scope)
            exchange = Exchange(self._service, admission, self._event_log, carrier, headers)
            await exchange.open_recognition(self._host)
        except ServiceFault as fault:
            _log.info("request refused: %s", fault.code)
            # The date lets a client find out that its clock is wrong.
            await carrier.refuse(
                fault, [("x-amzn-requestid", self._service.new_id()), ("date", self._date())]
            )
            return
        self._exchanges.add(exchange)
        try:
            await exchange.run()
        finally:
            self._exchanges.discard(exchange)

    def abort_streams(self) -> None:
        """Break off all streams, as a service that is going down does."""
        for exchange in self._exchanges:
            exchange.abort()

    def _admit(self, scope: Scope) -> Admission:
        operation = _operation(scope)
        client = scope.get("client") or ("", "")
        return self._service.admit(
            operation, _signed_request(scope), self._service.now_ms(), f"{client[0]}:{client[1]}"
        )

    def _response_headers(self, admission: Admission, scope: Scope) -> Headers:
        """The parameters echoed over HTTP/2; a WebSocket's answer has headers of its own."""
        if scope["type"] != "websocket":
            return [*admission.response_headers(), ("date", self._date())]
        return [*admission.upgrade_headers(scope["path"]), ("date", self._date())]

    def _date(self) -> str:
        return formatdate(self._service.now_ms() / 1000, usegmt=True)

    async def _serve_control(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        faults = self._service.faults
        route = (scope["method"], scope["path"])
        document: object
        if route == ("GET", "/_local/status"):
            document = {"streams": len(self._service.streams)}
        elif route == ("GET", "/_local/faults"):
            document = faults.to_json_list()
        elif route == ("DELETE", "/_local/faults"):
            faults.clear()
            document = []
        elif route == ("POST", "/_local/faults"):
            try:
                self._service.inject(read_faults(await _read_body(receive)))
            except FaultError as error:
                await _send_json(send, 400, {"Message": str(error)})
                return
            document = faults.to_json_list()
        else:
            await _send_json(send, 404, {"Message": "There are /_local/status and /_local/faults."})
            return
        await _send_json(send, 200, document)


def _operation(scope: Scope) -> Operation:
    operation = OPERATIONS.get(scope["path"])
    is_websocket = scope["type"] == "websocket"
    if operation is None or operation.is_websocket != is_websocket:
        known = ", ".join(
            f"{'WebSocket' if o.is_websocket else 'POST'} {o.path}" for o in OPERATIONS.values()
        )
        message = f"There is no such operation; there are {known}."
        raise ServiceFault("UnknownOperationException", message, http_status=404)
    if not is_websocket and scope["method"] != "POST":
        raise ServiceFault("UnknownOperationException", f"There is only POST {operation.path}.")
    if not is_websocket and scope["http_version"] != "2":
        raise bad_request("The operation needs HTTP/2; the request came over HTTP/1.1.")
    return operation


def _signed_request(scope: Scope) -> SignedHttpRequest:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        headers[raw_name.decode("latin-1").lower()] = raw_value.decode("latin-1")
    method = scope.get("method", "GET")  # a WebSocket's handshake is a GET
    return SignedHttpRequest(method, scope["path"], scope["query_string"].decode("latin-1"), headers)


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while len(body) <= MAX_CONTROL_BODY_BYTES:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body
    raise FaultError(f"the body is longer than {MAX_CONTROL_BODY_BYTES} bytes")


async def _send_json(send: SendMessage, status: int, document: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})
