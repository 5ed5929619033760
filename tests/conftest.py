"""Property tests measure correctness, not speed: on a busy machine a deadline would fail by chance.

`HYPOTHESIS_MAX_EXAMPLES=2000 pytest tests/pipeline` searches longer.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile(
    "medstream", deadline=None, max_examples=int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "50"))
)
settings.load_profile("medstream")
