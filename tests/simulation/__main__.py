"""`python -m tests.simulation FIRST:COUNT`: play so many worlds from seed FIRST, with a line of progress."""

from __future__ import annotations

import sys
import time

from tests.simulation.runs import DEFAULT_SEEDS, Outcome, parse_seeds, play_all

_SHOWN_FAILURES = 5


def main(arguments: list[str]) -> int:
    """Exit code 0 when every world held."""
    first, count = parse_seeds(arguments[0] if arguments else DEFAULT_SEEDS)
    began_at = time.monotonic()

    def show(outcome: Outcome) -> None:
        seconds = time.monotonic() - began_at
        rate = outcome.seeds / seconds
        line = f"{outcome.seeds}/{count} worlds, {len(outcome.failures)} failed, {rate:.0f} a second"
        print(f"\r{line} ", end="", file=sys.stderr, flush=True)

    outcome = play_all(first, count, show)
    print(file=sys.stderr)
    for failure in outcome.failures[:_SHOWN_FAILURES]:
        print(failure)
    print(", ".join(f"{name} {number}" for name, number in sorted(outcome.seen.items())))
    seconds = time.monotonic() - began_at
    failed = ", ".join(str(failure.seed) for failure in outcome.failures) or "none"
    print(f"seeds {first} to {first + count - 1} in {seconds:.0f} s; failed: {failed}")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
