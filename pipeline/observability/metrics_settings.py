"""Where a job's workers show their metrics: a plain value that travels with the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PORTS = 100
"""How many ports, from the one that is set on, are tried."""
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """`port`: the first of the range, 0 for any; None: nowhere. `targets_directory`: a folder on the worker
    for Prometheus' file-based discovery; `labels` are added to the target there.
    """

    port: int | None = None
    address: str = LOOPBACK
    targets_directory: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
