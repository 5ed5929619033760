"""Fixtures of real servers for the integration tests, started when a test first asks for them, on free ports.

A failing test's report names the folder with the servers' logs and the workers' logs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from deploy.local.flink import FlinkJobServer
from deploy.local.kafka import KafkaBroker
from deploy.local.registry import SchemaRegistryServer
from tests.integration.secured_kafka import SecuredKafka

_STACK_DIRECTORY = pytest.StashKey[Path]()


class Measured(Protocol):
    """Lines for the summary of the run: figures that a test measured."""

    def __call__(self, *lines: str) -> None: ...


class MakeTopic(Protocol):
    """Creates a topic with a name of its own and returns the name; `configs` are topic settings."""

    def __call__(self, partitions: int = 1, **configs: str) -> str: ...


_LONG_FILES = ("test_outage", "test_kills", "test_paused_worker", "test_rotation", "test_demo")
"""Those that take minutes, begun first, so that at the end no process is left alone with one of them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in this folder needs the local stack, so it carries the marker; long files come first."""
    folder = Path(__file__).parent
    ours = [item for item in items if folder in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.integration)
    places = {name: place for place, name in enumerate(_LONG_FILES)}
    ours.sort(key=lambda item: places.get(item.path.stem, len(places)))
    items[:] = [*(item for item in items if folder not in item.path.parents), *ours]


@pytest.fixture(scope="session")
def stack_directory(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Folder of this run's servers; pytest keeps the folders of the last three runs."""
    directory = tmp_path_factory.mktemp("stack", numbered=False)
    request.config.stash[_STACK_DIRECTORY] = directory
    return directory


@pytest.fixture(scope="session")
def kafka_broker(stack_directory: Path) -> Iterator[KafkaBroker]:
    """A broker for all tests; whoever kills it restarts it."""
    with KafkaBroker(stack_directory / "kafka") as broker:
        yield broker


@pytest.fixture(scope="session")
def secured_kafka(stack_directory: Path) -> Iterator[SecuredKafka]:
    """A broker with TLS, SASL and ACLs for all tests."""
    secured = SecuredKafka(stack_directory / "secured")
    with secured.broker:
        yield secured


@pytest.fixture(scope="session")
def flink(stack_directory: Path) -> Iterator[FlinkJobServer]:
    """A Flink job server for all tests; the jobs of each test are cancelled after it."""
    with FlinkJobServer(stack_directory / "flink") as server:
        yield server


@pytest.fixture(scope="session")
def schema_registry(stack_directory: Path) -> Iterator[SchemaRegistryServer]:
    """A schema registry for all tests; subjects are each test's own. Whoever kills it restarts it."""
    with SchemaRegistryServer(stack_directory / "registry") as server:
        yield server


@pytest.fixture(autouse=True)
def _no_job_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cancel what runs on the shared Flink: Beam's own cancel does not reach it, and jobs would pile up.

    A `job` that the tests of a module share is cancelled by its own fixture (`harness.running_job`).
    """
    yield
    if "flink" in request.fixturenames and "job" not in request.fixturenames:
        request.getfixturevalue("flink").cancel_jobs()


@pytest.fixture
def topic(kafka_broker: KafkaBroker) -> MakeTopic:
    """Makes topics that no other test has: `topic(partitions=4, **{"retention.ms": "1000"})`."""

    def make(partitions: int = 1, **configs: str) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        kafka_broker.create_topics({name: partitions}, configs)
        return name

    return make


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Figures of a test, printed at the end of the run, whether it passed or failed."""

    def note(*lines: str) -> None:
        for line in lines:
            record_property("measured", line)  # printed by `tests/conftest.py`

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    directory = item.config.stash.get(_STACK_DIRECTORY, None)
    if report.failed and directory is not None:
        logs = "\n".join(str(log) for log in sorted(directory.rglob("*.log")))
        report.sections.append(("logs of the local stack", logs))
    return report
