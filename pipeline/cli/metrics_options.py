"""The options of `medstream run` that say where its workers show their metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from pipeline.observability.metrics_settings import PORTS


def _option(text: str, environment: str, **limits: Any) -> Any:
    return typer.Option(help=text, envvar=f"MEDSTREAM_{environment}", **limits)


MetricsPort: TypeAlias = Annotated[
    int | None,
    _option(
        f"Let each worker process serve its metrics to Prometheus, at the first free one of {PORTS} ports "
        "from this on (9464, say); 0: any. Not served without.",
        "METRICS_PORT",
        min=0,
        max=65_535,
    ),
]
MetricsAddress: TypeAlias = Annotated[
    str,
    _option(
        "Address of the workers to serve metrics at; 0.0.0.0 for all of them. There is no TLS.",
        "METRICS_ADDRESS",
    ),
]
MetricsTargetsDir: TypeAlias = Annotated[
    Path | None,
    _option(
        "Folder on the workers for files that tell Prometheus where they are (file_sd_configs).",
        "METRICS_TARGETS_DIR",
    ),
]
