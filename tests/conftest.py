"""What holds for all tests: hypothesis's settings, and a summary of what was measured.

Property tests measure correctness, not speed: on a busy machine a deadline would fail by chance.
`HYPOTHESIS_MAX_EXAMPLES=2000 pytest tests/pipeline` searches longer.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile(
    "medstream", deadline=None, max_examples=int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "50"))
)
settings.load_profile("medstream")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured. It lies here, since only this file is read where pytest-xdist collects."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            lines = [value for name, value in getattr(report, "user_properties", []) if name == "measured"]
            if lines and report.when == "call":
                terminalreporter.section(f"measured by {report.nodeid}", "-")
                terminalreporter.write_line("\n".join(lines))
