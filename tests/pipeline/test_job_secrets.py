"""What a runner gets to see of a job: its graph, display data and options, searched for planted secrets.

Pickled functions are unpacked for the search. Settings that travel with the job by design (README, Privacy)
are found in them, which shows that the search would find the others.
"""

from __future__ import annotations

import base64
import bz2
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms.display import DisplayData, HasDisplayData

from connectors.kafka.client import ClientConfig
from pipeline import graph
from pipeline.options import beam_options
from pipeline.settings import JobSettings, Topics
from pipeline.worker.service import ServiceSettings
from schemas.registry_settings import RegistrySettings
from schemas.serdes import SerdeSettings

LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required username='u' password='{}';"
IN_FILE, IN_PROPERTY, SHIPPED = "secret-of-the-file", "secret-of-a-property", "secret-that-is-shipped"
OF_REGISTRY, OF_AWS, AWS_TOKEN = "secret-of-the-registry", "secret-of-aws", "session-token-of-aws"
TOPICS = Topics("audio", "finals", "letters", partials="partials", sessions="sessions", masked="masked")


def sasl(secret: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": LOGIN.format(secret),
    }


@dataclass
class Job:
    """A job's graph as it is submitted: of every transform what it displays, and the proto."""

    settings: JobSettings
    displayed: list[str] = field(default_factory=list)
    transforms: int = 0

    def __post_init__(self) -> None:
        options = beam_options(["--runner=PortableRunner", "--job_endpoint=localhost:1"])
        self.options = str(options.get_all_options(retain_unknown_options=True)) + str(options.display_data())
        pipeline = beam.Pipeline(options=options)
        graph.build(pipeline, self.settings)
        pipeline.visit(self._visitor())
        self.proto = pipeline.to_runner_api()

    def _visitor(self) -> Any:
        job = self

        class Visitor(beam.pipeline.PipelineVisitor):  # type: ignore[misc]
            def enter_composite_transform(self, node: Any) -> None:
                self.visit_transform(node)

            def visit_transform(self, node: Any) -> None:
                job.transforms += 1
                for part in (node.transform, getattr(node.transform, "fn", None)):
                    if isinstance(part, HasDisplayData):
                        items = DisplayData.create_from(part).items
                        job.displayed += [f"{item.key} {item.get_dict()}" for item in items]
                job.displayed.append(node.full_label)

        return Visitor()

    @property
    def shown(self) -> str:
        """What a runner's pages show."""
        protos = [str(t.display_data) + t.unique_name for t in self.proto.components.transforms.values()]
        return "\n".join([*self.displayed, *protos, self.options, str(self.proto.display_data)])

    @property
    def contents(self) -> bytes:
        """All that is in the graph, pickled functions unpacked."""
        packed: bytes = self.proto.SerializeToString()
        return b"\n".join([packed, *unpacked(packed)])


def unpacked(graph_bytes: bytes) -> Iterator[bytes]:
    """What Beam's picklers packed: base64 of bz2 (BZh9) or of zlib, in the midst of other fields."""
    for found in re.findall(rb"(?:QlpoO|eN)[A-Za-z0-9+/]{16,}={0,2}", graph_bytes):
        whole = found[: len(found) // 4 * 4]  # what follows may look like more of it
        with suppress(OSError, ValueError):
            yield bz2.decompress(base64.b64decode(whole))
        with suppress(zlib.error, ValueError):
            yield zlib.decompressobj().decompress(base64.b64decode(whole))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobSettings:
    """Those of a careful user: secrets in the properties file and in the environment."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OF_AWS)
    monkeypatch.setenv("AWS_SESSION_TOKEN", AWS_TOKEN)
    file = tmp_path / "client.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in sasl(IN_FILE).items()))
    return JobSettings(ClientConfig.build("broker.example:9093", file), TOPICS, ServiceSettings("us-east-1"))


def test_no_secret_is_in_the_graph_of_a_job(settings: JobSettings) -> None:
    job = Job(settings)
    assert job.transforms > 15
    assert str(settings.kafka.command_config).encode() in job.contents, "the search unpacks what was pickled"
    for secret in (IN_FILE, OF_AWS, AWS_TOKEN):
        assert secret not in job.shown
        assert secret.encode() not in job.contents


def test_what_travels_by_design_is_not_shown(settings: JobSettings, tmp_path: Path) -> None:
    file = tmp_path / "shipped.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in sasl(SHIPPED).items()))
    kafka = ClientConfig.build(
        "broker.example:9093", file, {"ssl.key.password": IN_PROPERTY, **sasl(IN_PROPERTY)}, ship=True
    )
    registry = RegistrySettings(("https://registry.example",), "user", OF_REGISTRY)
    job = Job(replace(settings, kafka=kafka, serdes=SerdeSettings(registry)))
    contents = job.contents
    for secret in (IN_PROPERTY, SHIPPED, OF_REGISTRY):
        assert secret.encode() in contents
        assert secret not in job.shown
    for secret in (OF_AWS, AWS_TOKEN):
        assert secret.encode() not in contents
