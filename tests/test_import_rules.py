"""The architecture's rules hold for every module, and the checker finds each kind of offence."""

from __future__ import annotations

import ast

import pytest

from tests.import_rules import LIBRARIES, PURE, our_files, violations

FILES = our_files()
MAX_LINES = 400


@pytest.mark.parametrize("module", FILES)
def test_a_module_keeps_the_import_rules(module: str) -> None:
    assert violations(module, FILES[module].read_text(encoding="utf-8"), FILES) == []


def test_every_module_that_is_to_be_pure_exists() -> None:
    assert set(FILES) >= PURE


def test_the_engine_is_pure_to_its_last_module() -> None:
    assert {module for module in FILES if module.startswith("pipeline.engine")} <= PURE


@pytest.mark.parametrize("module", FILES)
def test_a_module_is_short_enough_to_read(module: str) -> None:
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    parts = {part for module in FILES for part in module.split(".")}
    assert not parts & {"utils", "util", "helpers", "misc", "common"}


@pytest.mark.parametrize("module", FILES)
def test_a_module_says_what_it_is_for(module: str) -> None:
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree)


# The checker bites

OFFENCES = [
    # imports go one way
    ("schemas.serde", "import connectors.kafka.records", "imports go one way"),
    ("connectors.kafka.client", "from pipeline import errors", "imports go one way"),
    ("pipeline.engine.session", "from deploy.local import stack", "imports go one way"),
    ("pipeline.graph", "def f():\n    from deploy.local.stack import Stack", "imports go one way"),
    ("pipeline.graph", "if TYPE_CHECKING:\n    import deploy.local.stack", "imports go one way"),
    ("pipeline.graph", "from tests.pipeline import builders", "tests are not part"),
    # the connectors ignore each other
    ("connectors.kafka.client", "from connectors.transcribe.errors import TranscribeError", "ignores"),
    ("connectors.kafka.client", "from connectors import transcribe", "ignores"),
    ("connectors.transcribe.http2", "import connectors.kafka.records", "ignores"),
    ("connectors.transcribe.http2", "from ..kafka import records", "ignores"),
    # libraries have their places
    ("pipeline.worker.live_streams", "import apache_beam as beam", "imports apache_beam"),
    ("connectors.kafka.client", "from apache_beam.metrics import Metrics", "imports apache_beam"),
    ("deploy.local.jars", "import apache_beam.utils", "imports apache_beam"),
    ("pipeline.cli.run", "from apache_beam import Pipeline", "imports apache_beam"),
    ("pipeline.checks.preflight", "import kafka", "imports kafka"),
    ("deploy.local.stack", "from kafka import KafkaConsumer", "imports kafka"),
    ("pipeline.worker.service", "import botocore.session", "imports botocore"),
    ("connectors.transcribe.endpoint", "from botocore.auth import SigV4Auth", "imports botocore"),
    ("pipeline.audio.decoding", "import soundfile", "imports soundfile"),
    ("deploy.local.recordings", "import soundfile", "imports soundfile"),
    ("pipeline.worker.live_stream", "import numpy as np", "imports numpy"),
    ("pipeline.audio.audio_decoding", "import soxr", "imports soxr"),
    ("deploy.local.testing.comparison", "import jiwer", "imports jiwer"),
    # pure modules import pure modules
    ("pipeline.engine.session", "import pipeline.worker.live_streams", "which is not"),
    ("pipeline.engine.session", "from pipeline import backoff", "which is not"),
    ("connectors.kafka.log_scan", "from connectors.kafka.client import ClientConfig", "which is not"),
    ("pipeline.output.outputs", "import pipeline", "which is not"),
    ("pipeline.engine.timeline", "import numpy", "no part of the standard library"),
    ("pipeline.audio.decoding", "import fastavro", "no part of the standard library"),
    ("connectors.transcribe.protocol", "from h2.events import Event", "no part of the standard library"),
    # and touch nothing outside
    ("pipeline.engine.session", "import socket", "outside world"),
    ("pipeline.engine.session", "import random", "outside world"),
    ("pipeline.engine.session", "from random import Random", "outside world"),
    ("pipeline.engine.session", "import threading", "outside world"),
    ("pipeline.engine.session", "import asyncio", "outside world"),
    ("pipeline.engine.session", "import os.path", "outside world"),
    ("pipeline.engine.session", "from urllib import request", "outside world"),
    ("pipeline.engine.session", "import urllib.request", "outside world"),
    ("pipeline.engine.session", "from concurrent.futures import Future", "outside world"),
    ("pipeline.engine.session", "from pathlib import Path", "outside world"),
    ("pipeline.engine.session", "import time\nnow = time.monotonic()", "reads the clock"),
    ("pipeline.engine.session", "import time\nclock = time.time", "reads the clock"),
    ("pipeline.engine.session", "from time import time_ns", "reads the clock"),
    ("pipeline.engine.session", "import datetime\nnow = datetime.datetime.now()", "reads the clock"),
    ("pipeline.engine.session", "from datetime import datetime\nnow = datetime.utcnow()", "reads the clock"),
    ("connectors.transcribe.sigv4", "import time\nnow = time.gmtime()", "reads the clock"),
    ("connectors.transcribe.sigv4", "from time import gmtime\nnow = gmtime()", "reads the clock"),
    ("pipeline.engine.session", "import uuid\nname = uuid.uuid4()", "is random"),
    ("pipeline.engine.session", "from uuid import uuid4", "is random"),
]

INNOCENT = [
    ("pipeline.engine.session", "from pipeline.engine.timeline import Position"),
    ("pipeline.engine.session", "from pipeline.engine import timeline"),
    ("pipeline.engine.session", "from connectors.transcribe.model import MedicalResult"),
    ("connectors.transcribe.sigv4", "import time\nstamp = time.gmtime(5)"),
    ("connectors.transcribe.sigv4", "from time import gmtime\nstamp = gmtime(5)"),
    ("connectors.transcribe.eventstream", "from uuid import UUID"),
    ("connectors.transcribe.endpoint", "from urllib.parse import urlsplit"),
    ("schemas.codec", "from fastavro.schema import parse_schema"),
    ("pipeline.audio.audio_decoding", "import soundfile"),
    ("pipeline.audio.resampling", "import soxr"),
    ("deploy.local.recordings", "def read():\n    import soundfile"),
    ("pipeline.elements", "from datetime import datetime\nthen = datetime(1970, 1, 1)"),
    ("pipeline.worker.live_streams", "import asyncio, threading, time\nnow = time.monotonic()"),
    ("pipeline.cli.run", "def submit():\n    import apache_beam as beam"),
    ("deploy.local.demo.player", "from kafka import KafkaProducer"),
    ("deploy.local.stack", "import pipeline.engine.session, connectors.kafka.client, schemas"),
]


@pytest.mark.parametrize(("module", "source", "sentence"), OFFENCES)
def test_an_offence_is_found_and_said(module: str, source: str, sentence: str) -> None:
    found = violations(module, source, FILES)
    assert any(sentence in violation and violation.startswith(f"{module}:") for violation in found), found


@pytest.mark.parametrize(("module", "source"), INNOCENT)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations(module, source, FILES) == []


def test_the_places_of_libraries_exist() -> None:
    places = {place for allowed in LIBRARIES.values() for place in allowed}
    assert places <= set(FILES)
