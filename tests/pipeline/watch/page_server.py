"""A page's server in this process, fed by the test."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pipeline.watch.binding import WebSettings
from pipeline.watch.board import Board, BoardLimits
from pipeline.watch.serving import PageServer
from pipeline.watch.shared import SharedBoard
from pipeline.watch.values import Seen


@dataclass(frozen=True, slots=True)
class RunningPage:
    board: SharedBoard
    server: PageServer

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    @property
    def token(self) -> str:
        return urlsplit(self.url).fragment

    def enter(self, *values: Seen) -> None:
        for value in values:
            self.board.enter(value, time.time())


@contextmanager
def running_page(
    *,
    show_text: bool,
    live_since_ms: int | None = None,
    limits: BoardLimits | None = None,
    web: WebSettings | None = None,
) -> Iterator[RunningPage]:
    since = time.time_ns() // 1_000_000 if live_since_ms is None else live_since_ms
    board = SharedBoard(Board(since, limits))
    server = PageServer(board, web or WebSettings(), show_text=show_text)
    thread = threading.Thread(target=server.run, args=(_wait,))
    thread.start()
    try:
        yield RunningPage(board, server)
    finally:
        server.stop()
        thread.join()


def _wait(stopped: Callable[[], bool]) -> None:
    while not stopped():
        time.sleep(0.02)


@contextmanager
def stream(page: RunningPage, **headers: str) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """(id, data) of each event."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.request("GET", "/events", headers={"Authorization": f"Bearer {page.token}", **headers})
        answer = connection.getresponse()
        assert answer.status == 200
        yield _events(answer)
    finally:
        connection.close()


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    event_id = ""
    for line in answer:
        text = line.decode().rstrip("\n")
        if text.startswith("id: "):
            event_id = text[4:]
        elif text.startswith("data: "):
            yield event_id, json.loads(text[6:])
