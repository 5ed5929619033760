"""Keeps patient data out of Beam's own logs: at DEBUG its worker prints every element it processes.

Loaded with the transforms, so in every worker before the first element; the connectors do the same for the
clients they use. What a runner in Java logs is the runner's to configure: `org.apache.beam` at INFO or above
(the local Flink of `deploy.local` does so).
"""

from __future__ import annotations

from schemas.library_logs import pin

_PRINT_ELEMENTS = (
    "apache_beam.runners.worker.operations",
    "apache_beam.runners.worker.bundle_processor",
    "apache_beam.runners.worker.data_plane",
    "apache_beam.runners.worker.sdk_worker",
    "apache_beam.runners.common",
)


def pin_beam_loggers() -> None:
    """Let Beam's loggers that print elements say nothing below INFO."""
    pin(*_PRINT_ELEMENTS)
