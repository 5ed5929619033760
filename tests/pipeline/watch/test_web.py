"""The page's server over HTTP: who is let in, what is sent, and what a browser that does not read costs."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from starlette.types import Message

from pipeline.errors import SettingsError
from pipeline.watch.access import Access
from pipeline.watch.binding import WebSettings
from pipeline.watch.board import Board, BoardLimits
from pipeline.watch.shared import SharedBoard
from pipeline.watch.web import MAX_STREAMS, EventStreams
from tests.pipeline.watch.page_server import RunningPage, running_page, stream
from tests.pipeline.watch.scripted_board import START_MS, a_final, a_partial, seen

LOCAL = WebSettings()


@pytest.fixture
def page() -> Iterator[RunningPage]:
    with running_page(show_text=True, live_since_ms=START_MS) as running:
        yield running


def get(page: RunningPage, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ids(data: dict[str, Any]) -> list[str]:
    return [session["id"] for session in data["sessions"]]


# Who is let in


def test_the_page_is_static_and_may_load_nothing_from_elsewhere(page: RunningPage) -> None:
    status, headers, body = get(page, "/")
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert not re.search(rb"<style|style=|onclick|<script(?! type=\"module\" src=)", body)
    for file in files("pipeline.watch").joinpath("page").iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"^\s*//.*|; //.*| // .*", "", text, flags=re.MULTILINE), file.name
        status, headers, body = get(page, f"/{file.name}" if file.name != "index.html" else "/")
        assert (status, body.decode()) == (200, file.read_text(encoding="utf-8"))
    assert get(page, "/access.py")[0] == 404


def test_without_the_token_nothing_is_told(page: RunningPage) -> None:
    page.enter(seen(a_final(0, "spoken words", 0.0, session_id="visit-1")))
    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {page.token}"}):
        status, headers, body = get(page, "/events", **wrong)
        assert status == 401
        assert headers["www-authenticate"] == "Bearer"
        assert b"visit-1" not in body
    assert get(page, f"/events?token={page.token}")[0] == 401


def test_foreign_names_and_foreign_pages_are_refused(page: RunningPage) -> None:
    token = {"Authorization": f"Bearer {page.token}"}
    for path in ("/", "/events"):
        assert get(page, path, Host="evil.example", **token)[0] == 421
        assert get(page, path, Origin="http://evil.example", **token)[0] == 403
    assert get(page, "/", Host=f"localhost:{page.port}")[0] == 200


def test_a_server_for_other_machines_is_refused_without_tls() -> None:
    with (
        pytest.raises(SettingsError, match="--web-host"),
        running_page(show_text=False, web=WebSettings(host="192.0.2.1")),
    ):
        pass
    with pytest.raises(SettingsError, match="--web-key"):
        WebSettings(certificate=LOCAL.certificate, key=files("pipeline").joinpath("x"))  # type: ignore[arg-type]
    with (
        running_page(show_text=False) as page,
        pytest.raises(SettingsError, match="cannot listen"),
        running_page(show_text=False, web=WebSettings(port=page.port)),
    ):
        pass


# What is sent


def test_the_first_event_has_everything_and_the_next_ones_what_changed(page: RunningPage) -> None:
    page.enter(seen(a_final(0, "one", 0.0, session_id="a")), seen(a_final(0, "two", 0.0, session_id="b")))
    with stream(page) as events:
        _, data = next(events)
        assert (data["full"], ids(data), data["text"]) == (True, ["a", "b"], True)
        assert data["sessions"][0]["segments"][0]["items"][0][0] == "one"
        page.enter(seen(a_final(1, "three", 1.0, session_id="b")))
        last, data = next(events)
        assert (data["full"], ids(data)) == (False, ["b"])
        assert [segment["index"] for segment in data["sessions"][0]["segments"]] == [1]
    page.enter(seen(a_partial("four", 2.0, session_id="a", result_id="r4")))
    with stream(page, **{"Last-Event-ID": last}) as events:
        _, data = next(events)
        assert (data["full"], ids(data)) == (False, ["a"])
    for other in ("0000-1", "nonsense", f"{last}9", last.replace("-", "-x"), last + "9" * 5_000):
        with stream(page, **{"Last-Event-ID": other}) as events:
            _, data = next(events)
            assert (data["full"], ids(data)) == (True, ["a", "b"])


def test_without_show_text_no_word_leaves_the_server() -> None:
    with running_page(show_text=False, live_since_ms=START_MS) as page, stream(page) as events:
        next(events)
        page.enter(seen(a_final(0, "uttered aloud", 0.0)), seen(a_partial("whispered", 3.0, result_id="r2")))
        _, data = next(events)
        assert data["text"] is False
        assert not any(word in json.dumps(data) for word in ("uttered", "aloud", "whispered"))
        assert data["sessions"][0]["words"] == 2


# What a browser costs


def test_a_browser_that_does_not_read_gets_less_not_more() -> None:
    limits = BoardLimits(segments=4, words=10_000)
    request = "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\r\n"
    with running_page(show_text=True, live_since_ms=START_MS, limits=limits) as page, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", page.port))
        slow.sendall(request.format(page.token).encode())
        for number in range(15):
            page.enter(seen(a_final(0, f"word{number} " * 4_000, 0.0)))  # some 200 kB
            time.sleep(0.12)  # the server looks more often: to one who reads, each would be an event
        page.enter(seen(a_final(1, "finally", 60.0)))
        received = b""
        slow.settimeout(10)
        while b"finally" not in received:
            received += slow.recv(1_000_000)
        assert b"word14" in received
        assert received.count(b"data: ") < 10
        assert len(received) < 15 * 100_000


@pytest.mark.parametrize("goes", [True, False])
def test_a_browser_that_is_gone_or_stuck_is_given_up(goes: bool) -> None:
    async def scenario() -> None:
        board = SharedBoard(Board(START_MS))
        board.enter(seen(a_final(0, "word", 0.0)), START_MS / 1000)
        names = frozenset({"localhost"})
        streams = EventStreams(
            board,
            Access("token", names),
            show_text=False,
            stopping=lambda: False,
            max_streams=1,
            stuck_seconds=60 if goes else 0.05,
        )
        stuck = asyncio.Event()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                stuck.set()
                await asyncio.Event().wait()

        async def receive() -> Message:
            await stuck.wait()
            if not goes:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        headers = [(b"authorization", b"Bearer token")]
        await asyncio.wait_for(streams({"type": "http", "headers": headers}, receive, send), 10)
        assert stuck.is_set()
        assert streams.open == 0

    asyncio.run(scenario())


def test_no_more_browsers_than_there_may_be(page: RunningPage) -> None:
    held = [stream(page) for _ in range(MAX_STREAMS)]
    for one in held:
        next(one.__enter__())
    status, headers, _ = get(page, "/events", Authorization=f"Bearer {page.token}")
    assert (status, headers["retry-after"]) == (503, "5")
    held.pop().__exit__(None, None, None)
    deadline = time.monotonic() + 5
    while True:
        try:
            with stream(page) as events:
                next(events)
            break
        except AssertionError:
            assert time.monotonic() < deadline
    for one in held:
        one.__exit__(None, None, None)
