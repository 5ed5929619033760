"""`medstream-worker-pool`: starts Python workers when a runner asks for them (Beam's EXTERNAL environment).

It runs beside a TaskManager, in the same network namespace (a sidecar on Kubernetes), with
`--environment_type=EXTERNAL --environment_config=localhost:50000` in the job's options. Whoever reaches its
port can start processes, and the protocol knows no login, so it listens on loopback unless told otherwise.
Beam's own pool (`worker_pool_main`) listens on every interface, and never reads what its workers write, so
that they stand still when the pipe is full; these write where the pool writes, or to files of their own
(MEDSTREAM_WORKER_LOG_DIR).

    medstream-worker-pool --port 50000       # serve
    medstream-worker-pool --check            # exit code 0 when a pool answers there: for probes

Source: `BeamFnExternalWorkerPool` in Beam's `beam_fn_api.proto`.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

DEFAULT_PORT = 50_000
PORT_VARIABLE = "MEDSTREAM_WORKER_POOL_PORT"
WORKER = "medstream-worker"

_CHECK_SECONDS = 2.0
_GRACE_SECONDS = 10.0
_CALLS = 16

_LOG = logging.getLogger(__name__)


class WorkerProcesses:
    """The workers of a pool, by the id that the runner gives them. Thread-safe."""

    def __init__(self, command: Sequence[str], *, grace_seconds: float = _GRACE_SECONDS) -> None:
        self._command = list(command)
        self._grace_seconds = grace_seconds
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, worker_id: str, arguments: Sequence[str]) -> None:
        """A new process for `worker_id`; one that it had before belongs to a runner that has lost it, and is
        stopped first. Raises OSError.
        """
        with self._starting:  # two requests for one id must not leave a process that nobody knows
            self.stop(worker_id)
            process = subprocess.Popen([*self._command, *arguments], stdin=subprocess.DEVNULL)
            with self._lock:
                self._reap()
                self._processes[worker_id] = process
        _LOG.info("Worker %s is process %d", worker_id, process.pid)

    def stop(self, worker_id: str) -> None:
        """SIGTERM, then SIGKILL; nothing when there is no such worker."""
        with self._lock:
            process = self._processes.pop(worker_id, None)
        if process is not None:
            self._end([process])
            _LOG.info("Worker %s has ended", worker_id)

    def stop_all(self) -> None:
        """The end of every worker."""
        with self._lock:
            processes, self._processes = list(self._processes.values()), {}
        self._end(processes)

    def _end(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(self._grace_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _reap(self) -> None:
        """Forget those that have ended by themselves, so that none stays a zombie."""
        self._processes = {
            name: process for name, process in self._processes.items() if process.poll() is None
        }


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=_CHECK_SECONDS):
            return True
    except OSError:
        return False


def serve(address: str, workers: WorkerProcesses) -> tuple[Any, int]:
    """A gRPC server that has begun, and its port. Raises RuntimeError when the address cannot be had."""
    import grpc
    from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import beam_fn_api_pb2_grpc

    # The runner pings a quiet connection more often than gRPC's servers put up with by default.
    options = [("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)]
    server = grpc.server(ThreadPoolExecutor(_CALLS), options=[*options, ("grpc.so_reuseport", 0)])
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_servicer(workers), server)
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def _servicer(workers: WorkerProcesses) -> Any:
    from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import (
        beam_fn_api_pb2,
        beam_fn_api_pb2_grpc,
    )

    class Servicer(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
        def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002
            arguments = [
                f"--id={request.worker_id}",
                f"--provision_endpoint={request.provision_endpoint.url}",
            ]
            error = _error_of(lambda: workers.start(request.worker_id, arguments))
            return beam_fn_api_pb2.StartWorkerResponse(error=error)

        def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002
            error = _error_of(lambda: workers.stop(request.worker_id))
            return beam_fn_api_pb2.StopWorkerResponse(error=error)

    return Servicer()


def _error_of(call: Callable[[], None]) -> str:
    """What the runner is told: an empty text when all is well."""
    try:
        call()
    except OSError as error:
        _LOG.error("A worker could not be started or stopped: %s", error)
        return str(error)
    return ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; serves until SIGTERM or SIGINT, then ends the workers."""
    options = _parse(arguments)
    if options.check:
        sys.exit(0 if answers(options.port, options.host) else 1)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    workers = WorkerProcesses([str(Path(sys.executable).with_name(WORKER))])
    try:
        server, port = serve(f"{options.host}:{options.port}", workers)
    except RuntimeError:
        sys.exit(f"medstream-worker-pool: cannot listen on {options.host}:{options.port}; is it taken?")
    _LOG.info("Listening on %s:%d", options.host, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        server.stop(0)
    finally:
        workers.stop_all()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="medstream-worker-pool",
        description="Starts Python workers for a Beam runner (EXTERNAL environment).",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=int,
        default=int(os.environ.get(PORT_VARIABLE) or DEFAULT_PORT),
        help=f"(default {DEFAULT_PORT}; also {PORT_VARIABLE})",
    )
    parser.add_argument("--check", action="store_true", help="only say, by exit code, whether a pool answers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
