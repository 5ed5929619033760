"""Recovery on real Kafka and Flink, through either transport: a killed worker, a stream that breaks off;
nothing lost, nothing moved.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.transcribe.process import EndpointProcess
from tests.integration.harness import Job, marked_session, running_job
from tests.integration.verdicts import assert_complete

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module", params=["http2", "websocket+tls"])
def link(request: pytest.FixtureRequest) -> str:
    """How the workers reach the endpoint; the second has TLS with an authority of the endpoint's own."""
    return str(request.param)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, link: str) -> Iterator[EndpointProcess]:
    folder = tmp_path_factory.mktemp("endpoint")
    with EndpointProcess(folder, recogniser="markers", tls=link.endswith("+tls")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def job(
    kafka_broker: KafkaBroker,
    flink: FlinkJobServer,
    endpoint: EndpointProcess,
    link: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Job]:
    directory = tmp_path_factory.mktemp("recovery")
    options = ["--transport", link.partition("+")[0]]
    if endpoint.ca_file is not None:
        options += ["--ca-bundle", str(endpoint.ca_file)]
    with running_job(kafka_broker, flink, endpoint, directory, options=options) as job:
        yield job


def test_an_undisturbed_session_comes_once_and_in_order(job: Job) -> None:
    session = marked_session("calm", 3)
    job.player.play([session])
    job.outputs.wait_ended([session], 90)
    assert_complete(job, [session])
    sent = [final["segment_index"] for final in job.outputs.finals if final["session_id"] == session.id]
    assert sent == sorted(set(sent))
    headers = job.outputs.headers[session.id, 0]
    assert headers["ce_id"] == f"{session.id}/0".encode()


def test_a_stream_cut_within_a_segment_yields_its_final_once(job: Job, endpoint: EndpointProcess) -> None:
    session = marked_session("cut", 4)
    endpoint.inject({"kind": "reset", "after_partials": 2})
    job.player.play([session])
    job.outputs.wait_ended([session], 90)
    assert [rule["acted"] for rule in endpoint.faults()] == [1]
    endpoint.clear_faults()
    assert_complete(job, [session])
    sent = [final["segment_index"] for final in job.outputs.finals if final["session_id"] == session.id]
    assert sent == sorted(set(sent)), "the final of the cut segment came once"
    ended = next(ended for ended in job.outputs.sessions if ended["session_id"] == session.id)
    assert (ended["streams"], ended["retries"]) == (2, 1)
    withdrawn = [p for p in job.outputs.partials if p["session_id"] == session.id and p["superseded"]]
    assert len(withdrawn) == 1


def test_exceptions_an_early_end_and_throttling_lose_nothing(job: Job, endpoint: EndpointProcess) -> None:
    session = marked_session("faults", 5)
    endpoint.inject(
        {"kind": "exception", "code": "InternalFailureException", "after_audio_seconds": 1},
        {"kind": "refuse", "code": "LimitExceededException", "skip_streams": 1},
        {"kind": "clean_end", "after_audio_seconds": 1, "skip_streams": 1},
        {"kind": "truncate", "after_audio_seconds": 1, "skip_streams": 2},
    )
    job.player.play([session])
    job.outputs.wait_ended([session], 120)
    endpoint.clear_faults()
    assert_complete(job, [session])
    ended = next(ended for ended in job.outputs.sessions if ended["session_id"] == session.id)
    assert ended["retries"] >= 3


def test_a_worker_killed_mid_session_loses_nothing(job: Job) -> None:
    sessions = [marked_session(f"kill{number}", 8) for number in range(4)]
    job.player.play(sessions)
    ids = {session.id for session in sessions}
    job.outputs.wait(
        lambda out: {final["session_id"] for final in out.finals} >= ids, 90, "a first final of each session"
    )
    before = {worker.pid for worker in job.worker_processes()}
    job.kill_workers()
    job.outputs.wait_ended(sessions, 150)
    assert_complete(job, sessions)
    assert not {worker.pid for worker in job.worker_processes()} & before
