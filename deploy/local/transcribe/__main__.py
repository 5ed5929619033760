"""`python -m deploy.local.transcribe` is `medstream endpoint`."""

from __future__ import annotations

from deploy.local.transcribe.cli import app

app(prog_name="medstream endpoint")
