"""Property tests measure correctness, not speed: on a busy machine Hypothesis' deadline would fail by chance."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
