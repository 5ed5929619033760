"""Checks of the Beam runner and of this machine as a worker."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator, Sequence
from importlib import metadata, util

from pipeline.checks.check import Check, Doubtful, NotNeeded, NotPossible
from pipeline.checks.exposure import refuse_exposure
from pipeline.errors import SettingsError
from schemas.loopback import is_loopback

PORTABLE_RUNNER = "PortableRunner"
_EMBEDDED = "embed"
_CONNECT_SECONDS = 5.0
# Asked by its name, since Beam's own stubs cost seconds to import; the answer's content is of no interest.
_DESCRIBE = "/org.apache.beam.model.job_management.v1.JobService/DescribePipelineOptions"
_JOB_SERVER = "runner.job-server"
_MODULES: tuple[str, ...] = (
    *("apache_beam", "botocore", "crc32c", "fastavro", "h2", "kafka", "numpy", "orjson", "python_socks"),
    *("soundfile", "soxr", "tenacity", "urllib3", "websockets"),
)
_PRIVATE = "Submit within a network that you trust, or through a tunnel; Beam's job servers have no TLS."
_FILES_BESIDE_STREAMS = 256
_FILES_PER_STREAM = 2  # a socket, and another while one stream takes over from another


def runner_checks(
    runner: str | None, job_endpoint: str | None, secrets: Sequence[str] = ()
) -> Iterator[Check]:
    """Whether the runner can be submitted to, in the order of their dependencies.

    `secrets`: the options whose secrets are in the job's graph.
    """
    yield Check(
        _JOB_SERVER,
        "connect to the job server (--job_endpoint)",
        lambda: _job_server(runner, job_endpoint, secrets),
        remedy="Start the job server, or correct --job_endpoint; on this machine: medstream local up.",
    )


def exposure_checks(flags: Sequence[str]) -> Iterator[Check]:
    """Whether Beam's options keep the elements to the job."""
    yield Check(
        "runner.exposure",
        "look for options of Beam that show elements",
        lambda: _exposure(flags),
        remedy="Leave it out (flags, --beam-option, MEDSTREAM_BEAM_OPTION, [run.beam-option]).",
    )


def _exposure(flags: Sequence[str]) -> str:
    refuse_exposure(flags)
    return "none"


def protocol_checks(job_endpoint: str | None) -> Iterator[Check]:
    """Whether what listens there is Beam's."""
    yield Check(
        "runner.job-service",
        "ask the job server for its options",
        lambda: _job_service(str(job_endpoint)),
        (_JOB_SERVER,),
        "Is --job_endpoint the port of a Beam job server?",
    )


def worker_checks(max_live_streams: int) -> Iterator[Check]:
    """This machine as a worker: other machines may differ."""
    yield Check(
        "worker.packages",
        "find the Python packages of a worker, here",
        _packages,
        remedy="Install medstream with its dependencies on every worker.",
    )
    yield Check(
        "worker.files",
        "compare the limit of open files with --max-live-streams",
        lambda: _files(max_live_streams),
        remedy="Raise it (ulimit -n) on every worker.",
    )


def check_job_endpoint(job_endpoint: str) -> None:
    """Raise SettingsError unless something listens at `host:port` of Beam's `--job_endpoint`."""
    host, _, port = job_endpoint.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS):
            return
    except (OSError, ValueError) as error:
        reason = error.strerror or "no answer" if isinstance(error, OSError) else "expected host:port"
        raise SettingsError(
            "--job_endpoint",
            f"no Beam job server at {job_endpoint} ({reason}); start one (medstream local up)",
        ) from None


def _job_server(runner: str | None, job_endpoint: str | None, secrets: Sequence[str]) -> str:
    if runner != PORTABLE_RUNNER:
        what = f"{runner} is reached when the job is submitted" if runner else "no --runner is set"
        raise NotPossible(what)
    if job_endpoint == _EMBEDDED:
        raise NotPossible("the job server is embedded")
    if not job_endpoint:
        raise SettingsError(
            "--job_endpoint", f"needed by --runner={PORTABLE_RUNNER} (on this machine: medstream local up)"
        )
    check_job_endpoint(job_endpoint)
    if not is_loopback(job_endpoint.rpartition(":")[0]):
        # Beam (2.77) opens insecure channels only (runners/portability/job_server.py).
        held = f", with the secrets of {', '.join(secrets)}" if secrets else ""
        raise Doubtful(f"{job_endpoint} listens; the job's graph goes there unencrypted{held}", _PRIVATE)
    return f"{job_endpoint} listens"


def _job_service(job_endpoint: str) -> str:
    import grpc

    sdk = metadata.version("apache-beam")
    with grpc.insecure_channel(job_endpoint) as channel:
        try:
            channel.unary_unary(_DESCRIBE)(b"", timeout=_CONNECT_SECONDS)
        except grpc.RpcError as error:
            code = error.code().name
            if code == "UNIMPLEMENTED":
                raise NotNeeded("a job server that does not tell its options") from None
            raise SettingsError(
                "--job_endpoint", f"{job_endpoint} does not answer like a Beam job server ({code})"
            ) from None
    return f"a Beam job server; it does not tell its version, which should be the SDK's, {sdk}"


def _packages() -> str:
    missing = [name for name in _MODULES if util.find_spec(name) is None]
    if missing:
        raise SettingsError("Python packages", f"not installed: {', '.join(missing)}")
    names = ("medstream", "apache-beam", "kafka-python")
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


def _files(max_live_streams: int) -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_BESIDE_STREAMS + _FILES_PER_STREAM * max_live_streams
    found = f"{soft} open files, {max_live_streams} streams"
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raise Doubtful(f"{found} may need {wanted}", "Raise it (ulimit -n) on every worker.")
    return found
