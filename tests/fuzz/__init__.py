"""Coverage-guided fuzzing of everything that reads bytes from a peer; `make fuzz`, not part of the tests.

Each target in `targets.py` takes bytes and may raise the package's own errors only; any other exception is a
crash, which libFuzzer writes to `.fuzz/TARGET/` with its input. `python -m tests.fuzz` runs every target in a
process of its own, one after the other, for an equal share of `--seconds`.
"""
