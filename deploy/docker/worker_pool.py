"""`medstream-worker-pool`: starts Python workers for a Flink task manager in Beam's EXTERNAL environment.

The pool runs beside the task manager, in the same network namespace: a sidecar on Kubernetes, a container
with `network_mode: service:taskmanager` in Compose. Whoever reaches its port can start processes, and the
protocol knows no login, so it listens on loopback only; Beam's own `worker_pool_main` listens everywhere.

Beam's pool never reads what its workers print, so a worker would stop when the pipe is full. `worker`, the
program that it starts, is `medstream-worker` with its output sent to the pool's standard error.

    medstream-worker-pool --port 50000       # serve
    medstream-worker-pool --check            # exit code 0 when a pool answers there: for probes
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DEFAULT_PORT = 50_000
PORT_VARIABLE = "MEDSTREAM_WORKER_POOL_PORT"
WORKER = "medstream-pool-worker"

_HOST = "127.0.0.1"
_CHECK_SECONDS = 2.0
_CALLS_AT_ONCE = 8  # ending a worker takes up to ten seconds, in which others are started


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; serves until SIGTERM or SIGINT, with which the workers end too."""
    options = _parse(arguments)
    if options.check:
        sys.exit(0 if answers(options.port) else 1)
    serve(options.port)


def worker(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the program that the pool starts for each worker."""
    os.dup2(2, 1)
    from deploy.local import worker as boot

    boot.main(arguments)


def answers(port: int) -> bool:
    """Whether something listens on `port` of loopback."""
    try:
        with socket.create_connection((_HOST, port), timeout=_CHECK_SECONDS):
            return True
    except OSError:
        return False


def serve(port: int) -> None:
    """Serve on loopback. Raises SystemExit with one sentence when the port is taken."""
    # Beam takes seconds to import; `--check` is called every few seconds and needs none of it.
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2_grpc
    from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # the first process of a container has no default for them
        signal.signal(number, lambda *_: ended.set())
    server = grpc.server(ThreadPoolExecutor(_CALLS_AT_ONCE), options=[("grpc.so_reuseport", 0)])
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(
        BeamFnExternalWorkerPoolServicer(use_process=True, container_executable=_worker_program()), server
    )
    try:
        server.add_insecure_port(f"{_HOST}:{port}")
    except RuntimeError:
        sys.exit(f"medstream-worker-pool: cannot listen on {_HOST}:{port}; is it taken?")
    server.start()
    logging.getLogger(__name__).info("workers are started at %s:%d", _HOST, port)
    ended.wait()
    server.stop(grace=None)
    os._exit(0)  # workers end when this process is gone; calls that wait for one must not delay it


def _worker_program() -> str:
    return str(Path(sys.executable).with_name(WORKER))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="medstream-worker-pool", description="Worker pool for Beam's EXTERNAL environment, on loopback."
    )
    parser.add_argument(
        "--port",
        type=int,
        default=int(os.environ.get(PORT_VARIABLE) or DEFAULT_PORT),
        help=f"port of 127.0.0.1 (default {DEFAULT_PORT}; also {PORT_VARIABLE})",
    )
    parser.add_argument("--check", action="store_true", help="only say, by exit code, whether a pool answers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
