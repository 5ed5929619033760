"""What every JVM of Flink is started with here, and how its settings are written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

FULL_JIT = "MEDSTREAM_LOCAL_FULL_JIT"
"""Set, JVMs compile as in production: what runs for minutes takes less CPU, what starts takes more."""
_QUICK_START = "-XX:TieredStopAtLevel=1"
_SMALL_HEAP_MIB = 1024
_OPTIONS = (
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.lang.invoke",
            "java.net",
            "java.nio",
            "java.util",
            "java.util.concurrent",
        )
    ),
    # At DEBUG Beam's operators and its gRPC print elements: patients' audio and words.
    "-Dorg.slf4j.simpleLogger.log.org.apache.beam=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


def options(heap_mib: int = 0) -> tuple[str, ...]:
    """Of every JVM of Flink, beside its heap, which may be `heap_mib` large.

    The serial collector is the lightest for a small heap. With a gigabyte of state (the runner's leak, Beam
    issue 27648) it stood still for more than five seconds, and Flink took the TaskManager for dead: a large
    heap has G1, as Java chooses for a server.
    """
    collector = "-XX:+UseSerialGC" if heap_mib <= _SMALL_HEAP_MIB else "-XX:+UseG1GC"
    start = () if os.environ.get(FULL_JIT) else (_QUICK_START,)
    return (*start, collector, *_OPTIONS)


def job_settings(checkpoints: Path, savepoints: Path) -> dict[str, str]:
    """Where state goes: files, as memory would hit Flink's 5 MB cap (Beam issue 27648); restarts without an
    end, a second apart; and how soon an element goes to the next stage, which by default is after 100 ms.
    """
    return {
        "state.checkpoint-storage": "filesystem",
        "state.checkpoints.dir": checkpoints.as_uri(),
        "state.savepoints.dir": savepoints.as_uri(),
        "state.checkpoints.num-retained": "3",
        "execution.buffer-timeout.interval": "5 ms",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.delay": "1 s",
        "restart-strategy.fixed-delay.attempts": "2147483647",
    }


def write_configuration(folder: Path, settings: Mapping[str, str]) -> Path:
    """A configuration directory for Flink; returns `folder`, which is created."""
    folder.mkdir(exist_ok=True)
    text = "".join(f"{key}: {value}\n" for key, value in settings.items())
    (folder / "flink-conf.yaml").write_text(text)
    return folder
