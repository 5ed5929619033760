"""`make fuzz`: all targets in turn, each for its share of the time, from a corpus that grows under `.fuzz/`.

    python -m tests.fuzz --seconds 600                 every target; what was found is named, exit code 1
    python -m tests.fuzz.one decoder .fuzz/decoder-…   one input again, with its traceback

Outside CI: it needs `atheris` (libFuzzer for Python), which is no dependency of the project; `make fuzz` puts
it on top of the project's environment.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

FOLDER = Path(".fuzz")
MAX_INPUT_BYTES = 4096
MAX_MEMORY_MEGABYTES = 512
MAX_SECONDS_PER_INPUT = 5


def main() -> None:
    """Run all targets."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz every target in turn.")
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    share = max(1, parser.parse_args().seconds // len(TARGETS))
    clean = [run(name, share) for name in TARGETS]
    sys.exit(not all(clean))


def run(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own; True if nothing was found."""
    corpus = FOLDER / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    log = FOLDER / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.run(
            command(name, seconds, corpus), stdout=output, stderr=subprocess.STDOUT, check=False
        )
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", log.read_text(errors="replace"))
    outcome = "nothing found" if process.returncode == 0 else f"FOUND something, see {log}"
    print(
        f"{name:14} {int(executed[1]) if executed else 0:>12,} inputs in {seconds} s: {outcome}", flush=True
    )
    return process.returncode == 0


def command(name: str, seconds: int, corpus: Path) -> list[str]:
    """The process of one target."""
    limits = {
        "max_total_time": seconds,
        "max_len": MAX_INPUT_BYTES,
        "rss_limit_mb": MAX_MEMORY_MEGABYTES,
        "timeout": MAX_SECONDS_PER_INPUT,
        "print_final_stats": 1,
        "artifact_prefix": f"{FOLDER}/{name}-",
    }
    options = [f"-{option}={value}" for option, value in limits.items()]
    return [sys.executable, "-m", "tests.fuzz.one", name, *options, str(corpus)]


if __name__ == "__main__":
    main()
