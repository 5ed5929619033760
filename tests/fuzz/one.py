"""`python -m tests.fuzz.one TARGET [libFuzzer's options, a corpus or a file]`: one target under atheris."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["connectors.transcribe", "deploy.local.transcribe"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    atheris.Setup([name, *arguments], TARGETS[name])
    atheris.Fuzz()
