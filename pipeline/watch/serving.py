"""Serves the page while a thread reads the topics."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

import uvicorn

from pipeline.errors import SettingsError
from pipeline.watch.access import Access, page_url, server_names
from pipeline.watch.binding import WebSettings, bind
from pipeline.watch.shared import SharedBoard
from pipeline.watch.web import captions_app

_MAX_REQUESTS = 64
_TOKEN_BYTES = 32


class PageServer:
    """A server that is bound, with a token of its own; `url` opens the page.

    Raises SettingsError for an address that must not or cannot be used, and for a certificate that cannot be.
    """

    def __init__(self, board: SharedBoard, web: WebSettings, *, show_text: bool) -> None:
        self.board = board
        names = server_names(web.host, web.names, encrypted=web.encrypted, insecure=web.insecure)
        access = Access(secrets.token_urlsafe(_TOKEN_BYTES), names)
        config = uvicorn.Config(
            captions_app(board, access, show_text=show_text, stopping=lambda: self._server.should_exit),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MAX_REQUESTS,
            timeout_graceful_shutdown=2,
            ssl_certfile=web.certificate,
            ssl_keyfile=web.key,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            raise SettingsError("--web-certificate", f"cannot use {web.certificate}: {error}") from None
        self._server = uvicorn.Server(config)
        self._socket = bind(web.host, web.port)
        port = self._socket.getsockname()[1]
        self.url = page_url(web.host, port, web.names, access.token, encrypted=web.encrypted)

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._server.should_exit = True

    def run(self, read: Callable[[Callable[[], bool]], None]) -> None:
        """Serve until a signal, or until `read` has failed; its error is raised.

        `read` runs in a thread of its own and ends when what it is given says so.
        """
        stopped = threading.Event()
        failures: list[Exception] = []

        def run_reader() -> None:
            try:
                read(stopped.is_set)
            except Exception as error:  # raised by the main thread
                failures.append(error)
                self.stop()

        thread = threading.Thread(target=run_reader, name="watch-reader", daemon=True)
        thread.start()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            stopped.set()
            thread.join()
            self._socket.close()
        if failures:
            raise failures[0]
