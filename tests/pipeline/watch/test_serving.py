"""The page's server as a whole: TLS, and a reader that fails."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from pipeline.errors import SettingsError
from pipeline.watch.binding import WebSettings
from pipeline.watch.board import Board
from pipeline.watch.serving import PageServer
from pipeline.watch.shared import SharedBoard
from tests.pipeline.watch.page_server import running_page
from tests.pipeline.watch.scripted_board import START_MS


def test_with_a_certificate_the_page_is_served_over_tls(tmp_path: Path) -> None:
    authority, certificate, key = trustme.CA(), tmp_path / "chain.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    web = WebSettings(names=("localhost",), certificate=certificate, key=key)
    with running_page(show_text=False, web=web) as page:
        assert page.url.startswith(f"https://localhost:{page.port}/#")
        connection = http.client.HTTPSConnection("localhost", page.port, context=context, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match="--web-certificate: cannot use"):
            PageServer(SharedBoard(Board(START_MS)), WebSettings(certificate=path, key=path), show_text=False)


def test_the_error_of_a_reader_ends_the_server() -> None:
    server = PageServer(SharedBoard(Board(START_MS)), WebSettings(), show_text=False)

    def fail(_stopped: Callable[[], bool]) -> None:
        raise ConnectionError("the broker has gone")

    with pytest.raises(ConnectionError, match="gone"):
        server.run(fail)
    assert "watch-reader" not in {thread.name for thread in threading.enumerate()}
