"""The page of `medstream watch --web` in a real browser: Debian's Chromium, without a screen."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from deploy.local.kafka import KafkaBroker
from pipeline.settings import Topics
from tests.integration.conftest import MakeTopic, Measured
from tests.integration.test_watch import publish
from tests.pipeline.watch.page_server import RunningPage, running_page, stream
from tests.pipeline.watch.scripted_board import a_final, a_partial, an_end, items_of, seen

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright (the extra dev)")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium"),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SESSIONS = 100
BUSY_SECONDS = 6
LONG_TASK_MS = 200
NOTE_LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({ type: "longtask", buffered: true });
"""


@dataclass
class Tab:
    """A page in the browser, what it has asked for, and what went wrong in it."""

    page: Any
    requests: list[Any] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def note_request(self, request: Any) -> None:
        self.requests.append(request)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def wait(self, condition: str) -> None:
        """Until the expression is true; asked from outside, for the page's policy forbids `eval`."""
        deadline = time.monotonic() + 15
        while not self.page.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < deadline, f"still not: {condition}"
            self.page.wait_for_timeout(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def open_tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens an address in a profile of its own; in the end nothing may have gone wrong or elsewhere."""
    tabs: list[tuple[Tab, str]] = []

    def open_(url: str, events: Callable[[Any], None] | None = None, **options: Any) -> Tab:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        tab = Tab(context.new_page())
        tab.page.on("request", tab.note_request)
        tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.page.on("console", lambda said: tab.errors.append(said.text) if said.type == "error" else None)
        tab.page.add_init_script(NOTE_LONG_TASKS)
        if events is not None:
            tab.page.route("**/events", events)
        tab.page.goto(url)
        tabs.append((tab, url.partition("#")[0]))
        return tab

    yield open_
    for tab, origin in tabs:
        assert [error for error in tab.errors if "401" not in error and "ERR_FAILED" not in error] == []
        assert {request.url for request in tab.requests if not request.url.startswith(origin)} == set()
        assert not any("#" in request.url for request in tab.requests)
        tab.page.context.close()


@pytest.fixture
def server() -> Iterator[RunningPage]:
    with running_page(show_text=True) as page:
        yield page


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# From Kafka


@pytest.fixture(scope="module")
def producer(kafka_broker: KafkaBroker) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers)
    yield producer
    producer.close()


@contextmanager
def watching(broker: KafkaBroker, topics: Topics, *options: str) -> Iterator[str]:
    """`medstream watch --web` as a user starts it; gives the address that it prints."""
    command = [
        *(str(Path(sys.executable).with_name("medstream")), "watch", "--web", *options),
        f"--bootstrap-servers={broker.bootstrap_servers}",
        f"--output-topic={topics.finals}",
        f"--partials-topic={topics.partials}",
        f"--sessions-topic={topics.sessions}",
    ]
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "200"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130, told
        assert "Traceback" not in told
        assert "hostile" not in told
    finally:
        process.kill()
        process.wait()


def test_captions_from_kafka(
    kafka_broker: KafkaBroker,
    producer: KafkaProducer,
    topic: MakeTopic,
    open_tab: Callable[..., Tab],
) -> None:
    topics = Topics(audio="a", finals=topic(2), dead_letters="d", partials=topic(2), sessions=topic())
    name = "visit-<img src=x>"
    with watching(kafka_broker, topics, "--show-text") as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#[\w-]{43}", url)
        tab = open_tab(url)
        tab.wait("document.getElementById('connection').textContent === 'Live'")
        assert "#" not in tab.page.url
        publish(producer, topics, [a_partial("hostile <b>words", 0.0, session_id=name)])
        tab.wait("document.querySelector('.partials')?.textContent.includes('2 words being heard')")
        assert "hostile" not in tab.page.content()  # hidden until somebody asks for it
        assert tab.text(".card h2") == name
        assert tab.page.query_selector(".card img, .card b:not(.voice)") is None

        tab.page.click("text=Show text")
        tab.wait("document.querySelector('.partials').textContent.includes('hostile <b>words')")
        items = (*items_of("hostile <b>words", 0.0), *items_of("mumbled.", 0.8, confidence=0.3))
        final = a_final(0, "hostile <b>words mumbled.", 0.0, session_id=name, items=items)
        publish(producer, topics, [replace(final, started_at_ms=now_ms() - 3_000)])
        tab.wait("document.querySelector('.finals')?.textContent.includes('hostile <b>words mumbled.')")
        assert tab.text(".partials") == ""
        assert [mark.inner_text() for mark in tab.page.query_selector_all(".card .unsure")] == ["mumbled"]
        assert tab.page.query_selector(".card .unsure").get_attribute("title") == "30 % sure, at 0:00"
        assert re.fullmatch(r"\d+\.\d s behind", tab.text(".behind"))
        publish(producer, topics, [an_end(1, session_id=name)])
        tab.wait("document.querySelector('.state').textContent === 'ended'")

        tab.page.click("text=Hide text")
        tab.wait("document.querySelector('.finals').textContent.includes('3 words, 1 unsure')")
        assert "hostile" not in tab.page.content()
        tab.page.reload()  # the token is kept for the tab, the wish to see words is not
        tab.wait("document.querySelector('.finals')?.textContent.includes('3 words')")


# What is shown


def test_a_server_without_text_offers_none(open_tab: Callable[..., Tab]) -> None:
    with running_page(show_text=False) as server:
        server.enter(seen(a_final(0, "spoken words", 0.0), now_ms()))
        tab = open_tab(server.url)
        tab.wait("document.querySelector('.finals')?.textContent.includes('2 words')")
        button = tab.page.query_selector("#text")
        assert button.is_disabled()
        assert "--show-text" in button.get_attribute("title")


@pytest.mark.parametrize("fragment", ["", "#wrong"])
def test_without_the_token_the_page_says_so(
    fragment: str, server: RunningPage, open_tab: Callable[..., Tab]
) -> None:
    server.enter(seen(a_final(0, "spoken words", 0.0), now_ms()))
    tab = open_tab(server.url.partition("#")[0] + fragment)
    tab.wait("document.getElementById('connection').textContent.startsWith('Token refused')")
    assert tab.page.query_selector(".card") is None
    assert "session-1" not in tab.page.content()


def test_a_lost_connection_is_told_and_taken_up_again(
    server: RunningPage, open_tab: Callable[..., Tab]
) -> None:
    server.enter(seen(a_final(0, "one", 0.0), now_ms()))
    with stream(server) as events:
        last_id, data = next(events)
    tried: list[str | None] = []
    reachable = False

    def answer(route: Any) -> None:
        tried.append(route.request.headers.get("last-event-id"))
        if len(tried) == 1:  # a connection that ends after its first event
            event = f"id: {last_id}\ndata: {json.dumps(data)}\n\n"
            route.fulfill(content_type="text/event-stream", body=event)
        elif reachable:
            route.continue_()
        else:
            route.abort()

    tab = open_tab(server.url, events=answer)
    tab.wait("document.querySelector('.finals')?.textContent.includes('1 word')")
    tab.wait("document.getElementById('connection').classList.contains('lost')")
    tab.page.evaluate("window.lineThen = document.querySelector('.finals p')")
    server.enter(seen(a_final(1, "two three", 1.0), now_ms()))
    reachable = True
    tab.wait("document.querySelector('.finals').textContent.includes('2 words')")
    assert tab.text("#connection") == "Live"
    assert (tried[0], tried[1], tried[-1]) == (None, last_id, last_id)
    assert tab.page.evaluate("lineThen === document.querySelector('.finals p')")  # what was there, stayed


def test_what_is_gone_from_the_server_is_gone_from_the_page(
    open_tab: Callable[..., Tab],
) -> None:
    from pipeline.watch.board import BoardLimits

    with running_page(show_text=True, limits=BoardLimits(sessions=2)) as server:
        for name in "ab":
            server.enter(seen(a_final(0, "word", 0.0, session_id=name), now_ms()))
        tab = open_tab(server.url)
        tab.wait("document.querySelectorAll('.card').length === 2")
        server.enter(seen(a_final(0, "word", 0.0, session_id="c"), now_ms()))
        tab.wait("[...document.querySelectorAll('h2')].map((h) => h.textContent).join() === 'c,b'")


# For everybody


def contrast(one: str, other: str) -> float:
    """Of two computed colours (WCAG 2.2, 1.4.3)."""

    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


COLOURS = """(selectors) => selectors.map((selector) => {
  const found = document.querySelector(selector);
  let behind = found, colour = "rgba(0, 0, 0, 0)";
  while (behind && colour === "rgba(0, 0, 0, 0)") {
    colour = getComputedStyle(behind).backgroundColor;
    behind = behind.parentElement;
  }
  return [selector, getComputedStyle(found).color, colour];
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_in_both_colour_schemes(
    scheme: str, server: RunningPage, open_tab: Callable[..., Tab]
) -> None:
    for number, confidence in enumerate((0.3, 0.6, 0.8, 0.95)):
        items = items_of("word", 0.0, confidence=confidence, speaker="0")
        server.enter(seen(a_final(number, "word", float(number), items=items), now_ms()))
    server.enter(seen(a_partial("word", 9.0, result_id="r9"), now_ms()))
    for state, reason in (("ended", "END_OF_SESSION"), ("rejected", "REJECTED")):
        ended = an_end(0, session_id=state)
        summary = replace(ended.summary, reason=reason)
        server.enter(seen(replace(ended, summary=summary), now_ms()))
    tab = open_tab(server.url, color_scheme=scheme)
    tab.page.click("text=Show text")
    tab.wait("document.querySelector('.card .unsure') && document.querySelector('.facts .warn')")
    selectors = [
        *(".card h2", ".card .c1", ".card .c2", ".card .c3", ".card time", ".card .voice", ".partials p"),
        *(".state.live", ".state.ended", ".state.rejected", ".facts span", ".facts .warn", "#totals"),
        *("#connection", "#text", ".follow", ".legend .c4", ".legend p"),
    ]
    for selector, colour, background in tab.page.evaluate(COLOURS, selectors):
        assert contrast(colour, background) >= 4.5, (selector, colour, background)


def test_keys_and_screen_readers(server: RunningPage, open_tab: Callable[..., Tab]) -> None:
    for name in ("a", "b", "c"):
        server.enter(seen(a_final(0, "first words", 0.0, session_id=name), now_ms()))
    tab = open_tab(server.url)
    tab.wait("document.querySelectorAll('.card .finals p').length === 3")
    page = tab.page
    focused = "document.activeElement.closest('.card')?.querySelector('h2').textContent"
    assert page.get_attribute("#sessions", "role") == "feed"
    assert page.get_attribute("#connection", "role") == "status"
    assert [card.get_attribute("aria-posinset") for card in page.query_selector_all(".card")] == [
        "1",
        "2",
        "3",
    ]
    assert (
        page.evaluate(
            "document.getElementById(document.querySelector('.card').getAttribute("
            "'aria-labelledby')).textContent"
        )
        == "c"
    )
    for _ in range(4):  # past the link to the sessions, the search and the button for text
        page.keyboard.press("Tab")
    assert page.evaluate(focused) == "c"
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    assert page.evaluate(focused) == "a"
    page.keyboard.press("PageUp")
    assert page.evaluate(focused) == "b"
    server.enter(*(seen(a_final(n, "word", float(n), session_id="b"), now_ms()) for n in range(1, 20)))
    scrolled = "document.activeElement.querySelector('.said').scrollTop"
    tab.wait(f"document.activeElement.querySelectorAll('.finals p').length === 20 && {scrolled} > 100")
    bottom = page.evaluate(scrolled)
    page.keyboard.press("ArrowUp")
    tab.wait(f"{scrolled} < {bottom}")

    assert {log.get_attribute("aria-live") for log in page.query_selector_all(".finals")} == {"off"}
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the button: follow
    tab.wait("document.querySelector('.card h2').textContent === 'b'")
    assert page.evaluate(focused) == "b"  # focus moves with its card
    assert page.get_attribute(".card .finals", "aria-live") == "polite"
    assert page.get_attribute(".card .follow", "aria-pressed") == "true"
    server.enter(seen(a_final(0, "newer words", 0.0, session_id="d"), now_ms()))
    tab.wait("document.querySelectorAll('.card').length === 4")
    assert [card.inner_text() for card in page.query_selector_all(".card h2")] == ["b", "d", "c", "a"]
    page.fill("#find", "c")
    assert [card.is_visible() for card in page.query_selector_all(".card")] == [False, False, True, False]


# Many sessions


class Busy:
    """A hundred sessions that speak at once: three partials and then a final, three times a second each."""

    def __init__(self, server: RunningPage) -> None:
        self._server = server
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._speak)
        self.entered = 0

    def __enter__(self) -> Busy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _speak(self) -> None:
        dice = random.Random(1)  # noqa: S311
        step = 0
        while not self._stopped.wait(0.33):
            for number in range(SESSIONS):
                self._say(f"session-{number:03}", step, number % 2, dice)
                self.entered += 1
            step += 1

    def _say(self, name: str, step: int, channel: int, dice: random.Random) -> None:
        index, part = divmod(step, 4)
        start = index * 1.4
        text = " ".join(dice.choice(("breathing", "normal", "without", "pain")) for _ in range(3 * part + 3))
        confidence = dice.choice((0.3, 0.6, 0.8, 0.97))
        if part < 3:
            value = a_partial(text, start, session_id=name, result_id=f"{name}-{index}")
            self._server.enter(seen(value, now_ms()))
        else:
            items = items_of(text, start, confidence=confidence, step=0.1)
            final = a_final(index, text, start, session_id=name, channel=f"ch_{channel}", items=items)
            self._server.enter(seen(replace(final, result_id=f"{name}-{index}"), now_ms()))


def test_a_hundred_busy_sessions_stay_smooth(
    browser: Any, open_tab: Callable[..., Tab], measured: Measured
) -> None:
    with running_page(show_text=True) as server, Busy(server) as busy:
        browser.start_tracing(categories=["toplevel", "disabled-by-default-devtools.timeline"])
        tab = open_tab(server.url)
        tab.wait(f"document.querySelectorAll('.card').length === {SESSIONS}")
        tab.page.click("text=Show text")
        for _ in range(BUSY_SECONDS):
            tab.page.mouse.wheel(0, 500)
            tab.page.wait_for_timeout(1_000)
        tab.page.mouse.wheel(0, -100_000)
        tab.wait("document.querySelector('.card .finals').textContent.length > 20")
        nodes = tab.page.evaluate("document.querySelectorAll('*').length")
        words = tab.page.evaluate(
            "Math.max(...[...document.querySelectorAll('.finals')]"
            ".map((finals) => finals.textContent.split(' ').length))"
        )
        on_the_clock = max(tab.page.evaluate("longTasks"), default=0)
        of_the_processor = longest_task_ms(browser.stop_tracing())
        measured(
            f"watch page: {SESSIONS} sessions, {busy.entered} events, {nodes} elements; "
            f"longest task {of_the_processor:.0f} ms of the processor, {on_the_clock:.0f} ms on the clock"
        )
        tab.page.context.close()
    assert words < 200
    assert nodes < 100 * SESSIONS
    assert of_the_processor <= LONG_TASK_MS  # on the clock, other processes of this machine count too


def longest_task_ms(trace: bytes) -> float:
    """Processor time of the longest task of any page's main thread."""
    events = json.loads(trace)["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        event["tdur"] / 1000
        for event in events
        if event["name"].endswith("RunTask") and (event["pid"], event["tid"]) in threads and "tdur" in event
    ]
    assert len(tasks) > 100, "the trace has the tasks of the page"
    return float(max(tasks))
