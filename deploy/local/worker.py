"""`medstream-worker`: what a runner starts as the Python worker in Beam's PROCESS environment.

The runner calls `medstream-worker --id=… --provision_endpoint=…` (and `--semi_persist_dir`). As Beam's
container boot program does, this one asks the provision service for the pipeline options and the endpoints,
hands them to the SDK in its environment variables, and becomes the SDK harness. It installs no artifacts:
the worker is this very virtual environment.

The runner throws the worker's output away, so with MEDSTREAM_WORKER_LOG_DIR set it goes to a file there,
one a process; MEDSTREAM_LOG_FORMAT=json makes its log JSON lines (`pipeline.observability.json_logs`). A
worker also ends when the runner that started it is gone, even by kill -9, where the SDK alone would hang on
its broken connections.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.observability import json_logs
from pipeline.worker.heap_policy import bound_heap

LOG_DIRECTORY_VARIABLE = "MEDSTREAM_WORKER_LOG_DIR"

_PARENT_CHECK_SECONDS = 0.5
_PROVISION_TIMEOUT_SECONDS = 30


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; returns when the runner closes the control channel."""
    bound_heap()  # before any thread: gRPC's would have arenas of their own by the time a job is loaded
    options = _parse(arguments)
    _end_with_parent(os.getppid())
    _log_to_file(options.id)
    # Beam takes seconds to import; the log file and the watch over the parent come first.
    from apache_beam.runners.worker import sdk_worker_main

    os.environ.update(_harness_environment(options))
    sdk_worker_main.main([])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="medstream-worker", description="Python worker of a Beam runner (PROCESS environment)."
    )
    parser.add_argument("--id", required=True, help="worker id, given by the runner")
    parser.add_argument(
        "--provision_endpoint", required=True, help="HOST:PORT of the runner's provision service"
    )
    parser.add_argument("--semi_persist_dir", default=None, help="directory for staged files")
    # Runners may pass endpoints here as well; the provision service's answer has them all.
    options, _ = parser.parse_known_args(arguments)
    return options


def _end_with_parent(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_SECONDS)
        os._exit(1)  # nobody is left to report to; threads of the SDK must not delay it

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _log_to_file(worker_id: str) -> None:
    """Send standard output, standard error and the log to a file, if a folder is configured."""
    directory = os.environ.get(LOG_DIRECTORY_VARIABLE)
    if not directory:
        return
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    file_name = f"worker-{re.sub(r'[^A-Za-z0-9_.-]', '_', worker_id)}-{os.getpid()}.log"
    with (folder / file_name).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    if json_logs.wanted():
        json_logs.apply()


def _harness_environment(options: argparse.Namespace) -> dict[str, str]:
    """The variables `sdk_worker_main` reads, from the answer of the provision service."""
    from google.protobuf import json_format

    info = _provision_info(options.provision_endpoint, options.id)
    environment = {
        "WORKER_ID": options.id,
        "PIPELINE_OPTIONS": _with_integers(json_format.MessageToJson(info.pipeline_options)),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "LOGGING_API_SERVICE_DESCRIPTOR": str(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": str(info.control_endpoint),
    }
    if info.HasField("status_endpoint"):
        environment["STATUS_API_SERVICE_DESCRIPTOR"] = str(info.status_endpoint)
    if options.semi_persist_dir:
        environment["SEMI_PERSISTENT_DIRECTORY"] = options.semi_persist_dir
    return environment


def _with_integers(document: str) -> str:
    """JSON with 100 for 100.0: the message has one kind of number, and the SDK's options refuse that."""

    def number(text: str) -> float:
        value = float(text)
        return int(value) if value.is_integer() else value

    return json.dumps(json.loads(document, parse_float=number))


def _provision_info(endpoint: str, worker_id: str) -> Any:
    """The runner's ProvisionInfo message. Raises grpc.RpcError when the service does not answer in time."""
    import grpc
    from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import (
        beam_provision_api_pb2,
        beam_provision_api_pb2_grpc,
    )

    with grpc.insecure_channel(endpoint) as channel:
        response = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel).GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            metadata=[("worker_id", worker_id)],
            timeout=_PROVISION_TIMEOUT_SECONDS,
            wait_for_ready=True,
        )
    return response.info


if __name__ == "__main__":
    main()
