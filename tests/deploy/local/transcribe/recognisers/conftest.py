"""Stand-ins for speech libraries, found on the path like the libraries themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from deploy.local.transcribe.recognisers.plugin import load_library

SPEECH_LIBRARIES = Path(__file__).parents[4] / "fakes" / "speech_libraries"


def _stand_in(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(SPEECH_LIBRARIES)
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield load_library(name, name, name)
    sys.modules.pop(name, None)


@pytest.fixture
def vosk(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-in for vosk; an import finds it."""
    yield from _stand_in(monkeypatch, "vosk")


@pytest.fixture
def sherpa_onnx(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-in for sherpa-onnx; an import finds it."""
    yield from _stand_in(monkeypatch, "sherpa_onnx")
