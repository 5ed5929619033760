"""`python -m deploy.local.screens`: run the demo's sessions, watch them, and take the pictures.

Takes a minute and a half. The pictures replace those that lie beside this file.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from connectors.kafka.client import ClientConfig
from deploy.local.demo.playback import plan_sessions
from deploy.local.demo.run import Run
from deploy.local.demo.screen import Screen
from deploy.local.demo.servers import DemoServers
from deploy.local.demo.topics import DemoTopics
from deploy.local.recordings import count_recordings, load_recordings
from deploy.local.screens.browser import opened, take
from deploy.local.screens.terminal import table_svg
from pipeline.watch.board import Board
from pipeline.watch.reading import OutputReader
from pipeline.watch.values import State
from pipeline.watch.viewers import Unwatched, follow

FOLDER = Path(__file__).parent
TERMINAL, PAGE = FOLDER / "watch.svg", FOLDER / "watch-page.png"
_LONGEST_SECONDS = 60.0
_FINALS = 2
"""A picture is taken when every session has so many, and speaks."""


def main() -> None:
    run_id = secrets.token_hex(2)
    screen = Screen(Console(stderr=True), plain=True)
    sessions = plan_sessions(load_recordings(), count_recordings(), run_id)
    with tempfile.TemporaryDirectory(prefix="medstream-screens-") as directory:
        topics = DemoTopics.of_run(run_id)
        servers = DemoServers(Path(directory), topics, len(sessions), keep=False, console=screen.console)
        try:
            servers.start(lambda name, text: screen.say(f"{name} {text}"))
            run = Run(servers, sessions, speed=1.0)
            with run.watching():
                run.send_warm_up()
                servers.start_pipeline(topics.warm_up_ids)
                with _pictures(servers, len(sessions)):
                    run.play_sessions(screen)
        finally:
            servers.stop(succeeded=True)
    for path in (TERMINAL, PAGE):
        screen.say(f"{path} ({path.stat().st_size // 1024} kB)")


@contextmanager
def _pictures(servers: DemoServers, sessions: int) -> Iterator[None]:
    """Both pictures, taken by a thread while the block runs. Raises what went wrong with them."""
    failures: list[BaseException] = []
    ready = threading.Event()

    def take_both() -> None:
        try:
            _take_both(servers, sessions, ready)
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=take_both, name="screens")
    thread.start()
    ready.wait()
    yield
    thread.join()
    if failures:
        raise failures[0]


def _take_both(servers: DemoServers, sessions: int, ready: threading.Event) -> None:
    topics = servers.topics
    board = Board(time.time_ns() // 1_000_000)
    with (
        _page_server(servers) as url,
        opened(url) as page,
        OutputReader(
            ClientConfig.build(servers.bootstrap_servers),
            topics.finals,
            partials_topic=topics.partials,
            sessions_topic=topics.sessions,
        ) as reader,
    ):
        page.wait_for_timeout(500)
        ready.set()
        deadline = time.monotonic() + _LONGEST_SECONDS
        follow(
            reader,
            board,
            Unwatched(),
            stopped=lambda: _is_picturesque(board, sessions) or time.monotonic() > deadline,
        )
        take(page, PAGE)
        svg = table_svg(board, "medstream watch --show-text (synthetic dictations)")
        TERMINAL.write_text(svg, encoding="utf-8")


def _is_picturesque(board: Board, sessions: int) -> bool:
    found = list(board)
    speaking = sum(bool(session.partials) for session in found)
    told = all(session.finals >= _FINALS and session.state is State.LIVE for session in found)
    return len(found) >= sessions and told and speaking >= sessions - 1


@contextmanager
def _page_server(servers: DemoServers) -> Iterator[str]:
    """`medstream watch --web` as a user starts it; gives the address it prints."""
    topics = servers.topics
    command = [
        *(str(Path(sys.executable).with_name("medstream")), "watch", "--web", "--show-text"),
        f"--bootstrap-servers={servers.bootstrap_servers}",
        f"--output-topic={topics.finals}",
        f"--partials-topic={topics.partials}",
        f"--sessions-topic={topics.sessions}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield (process.stdout.readline() if process.stdout else "").strip()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
