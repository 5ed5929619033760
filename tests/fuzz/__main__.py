"""Run the targets: `python -m tests.fuzz [--seconds 600] [TARGET …]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["connectors", "deploy"]):
    from tests.fuzz.targets import TARGETS
from tests.fuzz.seeds import seeds

FOLDER = Path(".fuzz")
MAX_INPUT_BYTES = 4096


def fuzz_one(name: str, seconds: int) -> None:
    """Fuzz one target in this process; it exits with libFuzzer's code."""
    corpus = FOLDER / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(name):
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT_BYTES}",
        "-rss_limit_mb=1024",
        "-timeout=10",
        "-print_final_stats=1",
        f"-artifact_prefix={FOLDER / name}/",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    share = max(1, arguments.seconds // len(names))
    if arguments.here:
        fuzz_one(names[0], share)
    failed = [name for name in names if _in_a_process(name, share)]
    print(f"fuzz: {len(names) - len(failed)} passed, {len(failed)} failed" + "".join(f" {n}" for n in failed))
    return bool(failed)


def _in_a_process(name: str, seconds: int) -> int:
    print(f"fuzz: {name} for {seconds} s", flush=True)
    command = [sys.executable, "-m", "tests.fuzz", "--here", "--seconds", str(seconds), name]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    lines = done.stderr.splitlines()
    print("\n".join(line for line in lines if line.startswith("stat::number_of_executed") or "DONE" in line))
    if done.returncode:
        print("\n".join(lines[-40:]))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
