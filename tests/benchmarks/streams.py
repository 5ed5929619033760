"""`make bench-streams`: what many live streams cost the process that holds them, and whether they last.

N streams of one process send 100 ms of audio ten times a second to an endpoint in another process, whose
`scripted` recogniser answers with partials and finals. Printed are the process's CPU time per chunk sent
(signing, framing, the results and the event loop included), what of that the pacing of the benchmark itself
costs (measured alone, first), its resident memory over time, and every failure. In the same run, one after
the other: our transports, and the AWS SDK for Python that people would use instead (over TLS, the only way it
speaks; one client per stream, since it would put all streams on one connection otherwise).

    python -m tests.benchmarks.streams --streams 300 --seconds 600 --only http2

All audio is synthetic silence.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import HTTP2, WEBSOCKET, resolve_endpoint
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.websocket import open_websocket_stream
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from deploy.local.transcribe.process import EndpointProcess
from tests.benchmarks.sdk_stream import open_sdk_stream

CHUNK = bytes(3200)
CHUNK_SECONDS = 0.1
STREAMS_OPENED_PER_SECOND = 50
PROGRESS_SECONDS = 15.0
SCREEN = Console(stderr=True)
OPENERS = {HTTP2: open_http2_stream, WEBSOCKET: open_websocket_stream}
CREDENTIALS = Credentials(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)


@dataclass(slots=True)
class Tally:
    """What the streams of one run have done so far."""

    chunks: int = 0
    finals: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`cpu_us`: of this process, per chunk; memory in MiB, after the start and at the end."""

    name: str
    streams: int
    seconds: float
    chunks: int
    finals: int
    failures: int
    cpu_us: float
    first_mib: float
    last_mib: float
    endpoint_cpu_us: float


Stream = Callable[[EndpointProcess, float, Tally], Awaitable[None]]


def our_stream(transport: str) -> Stream:
    """One stream through our client until `until` (monotonic seconds)."""

    async def stream_until(endpoint: EndpointProcess, until: float, tally: Tally) -> None:
        stream = await OPENERS[transport](
            resolve_endpoint("us-east-1", endpoint.url, transport=transport),
            StartMedicalStreamTranscriptionRequest(),
            CREDENTIALS,
            clock=ServiceClock(lambda: time.time_ns() // 1_000_000),
            ca_bundle=None if endpoint.ca_file is None else str(endpoint.ca_file),
            connect_timeout_seconds=30.0,
        )

        async def send() -> None:
            due = time.monotonic()
            while due < until:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await stream.send_audio(CHUNK)
                tally.chunks += 1
                due += CHUNK_SECONDS
            await stream.end()

        sending = asyncio.create_task(send())
        try:
            while (results := await stream.receive()) is not None:
                tally.finals += sum(not result.is_partial for result in results)
            await sending
        finally:
            sending.cancel()
            await stream.close()

    return stream_until


async def pacing_alone(_endpoint: EndpointProcess, until: float, tally: Tally) -> None:
    """What every case pays besides: one task that wakes ten times a second."""
    due = time.monotonic()
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tally.chunks += 1
        due += CHUNK_SECONDS


async def sdk_stream(endpoint: EndpointProcess, until: float, tally: Tally) -> None:
    """The same through AWS's SDK for Python."""
    stream = await open_sdk_stream(endpoint)

    async def send() -> None:
        due = time.monotonic()
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await stream.input_stream.send_audio_event(audio_chunk=CHUNK)
            tally.chunks += 1
            due += CHUNK_SECONDS
        await stream.input_stream.end_stream()

    sending = asyncio.create_task(send())
    try:
        async for event in stream.output_stream:
            tally.finals += sum(not result.is_partial for result in event.transcript.results)
        await sending
    finally:
        sending.cancel()


class MemoryWatch:
    """Resident memory of this process every `PROGRESS_SECONDS`, shown as it goes: no long run is silent."""

    def __init__(self, name: str, tally: Tally) -> None:
        self._name = name
        self._tally = tally
        self._process = psutil.Process()
        self.samples_mib: list[float] = []

    async def run(self, after_seconds: float) -> None:
        """Sample until cancelled, once the streams have settled."""
        await asyncio.sleep(after_seconds)
        while True:
            self.sample()
            await asyncio.sleep(PROGRESS_SECONDS)

    def sample(self) -> None:
        """Take one sample and show where things stand."""
        tally = self._tally
        self.samples_mib.append(self._process.memory_info().rss / 2**20)
        SCREEN.print(
            f"{self._name}: {tally.chunks} chunks, {tally.finals} finals, {len(tally.failures)} failures, "
            f"{self.samples_mib[-1]:.1f} MiB"
        )


async def run_streams(
    name: str, stream: Stream, endpoint: EndpointProcess, count: int, seconds: float
) -> Outcome:
    """`count` streams at once, opened over the first seconds as the service wants it."""
    tally = Tally()
    server = psutil.Process(endpoint.pid)
    ramp_seconds = count / STREAMS_OPENED_PER_SECOND
    until = time.monotonic() + ramp_seconds + seconds

    async def one(number: int) -> None:
        await asyncio.sleep(ramp_seconds * number / count)
        try:
            await stream(endpoint, until, tally)
        except Exception as error:  # an SDK's errors have no common root
            tally.failures.append(type(error).__name__)

    started, server_started = time.process_time(), sum(server.cpu_times()[:2])
    watch = MemoryWatch(name, tally)
    watching = asyncio.create_task(watch.run(ramp_seconds + seconds / 4))
    await asyncio.gather(*(one(number) for number in range(count)))
    watching.cancel()
    watch.sample()
    cpu, server_cpu = time.process_time() - started, sum(server.cpu_times()[:2]) - server_started
    for kind in sorted(set(tally.failures)):
        SCREEN.print(f"{name}: {tally.failures.count(kind)} streams failed: {kind}")
    per_chunk = 1e6 / max(1, tally.chunks)
    return Outcome(
        name=name,
        streams=count,
        seconds=seconds,
        chunks=tally.chunks,
        finals=tally.finals,
        failures=len(tally.failures),
        cpu_us=cpu * per_chunk,
        first_mib=watch.samples_mib[0],
        last_mib=watch.samples_mib[-1],
        endpoint_cpu_us=server_cpu * per_chunk,
    )


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    stream: Stream
    tls: bool


PACING, ALTERNATIVE = "pacing alone", "amazon-transcribe+tls"
CASES = (
    Case(PACING, pacing_alone, tls=False),
    Case("http2", our_stream(HTTP2), tls=False),
    Case("websocket", our_stream(WEBSOCKET), tls=False),
    Case("http2+tls", our_stream(HTTP2), tls=True),
    Case("websocket+tls", our_stream(WEBSOCKET), tls=True),
    Case(ALTERNATIVE, sdk_stream, tls=True),
)


def measure(case: Case, count: int, seconds: float) -> Outcome:
    """One case against an endpoint of its own."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--max-streams", str(count + 10), "--log-level", "error")
        with EndpointProcess(Path(folder), options=options, tls=case.tls) as endpoint:
            return asyncio.run(run_streams(case.name, case.stream, endpoint, count, seconds))


def table(outcomes: list[Outcome]) -> Table:
    """The figures; `net` is without the pacing, `ratio` that of the nets to the alternative's."""
    pacing = next((outcome.cpu_us for outcome in outcomes if outcome.name == PACING), 0.0)
    others = [outcome.cpu_us - pacing for outcome in outcomes if outcome.name == ALTERNATIVE]
    shown = Table(
        "client", "streams", "CPU µs a chunk", "net", "ratio", "MiB", "finals", "failures", "endpoint µs"
    )
    for o in outcomes:
        net = o.cpu_us - pacing
        shown.add_row(
            o.name,
            str(o.streams),
            f"{o.cpu_us:.0f}",
            f"{net:.0f}",
            f"{net / others[0]:.2f}" if others else "",
            f"{o.first_mib:.0f} → {o.last_mib:.0f}",
            str(o.finals),
            str(o.failures),
            f"{o.endpoint_cpu_us:.0f}",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--only", choices=[case.name for case in CASES], action="append")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    cases = [case for case in CASES if not arguments.only or case.name in (PACING, *arguments.only)]
    pacing_seconds = min(arguments.seconds, 15.0)
    outcomes = [
        measure(case, arguments.streams, pacing_seconds if case.name == PACING else arguments.seconds)
        for case in cases
    ]
    if arguments.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    else:
        Console().print(table(outcomes))


if __name__ == "__main__":
    main()
