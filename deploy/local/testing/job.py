"""The job of a test run in a process of its own: `python -m deploy.local.testing.job SETTINGS BEAM_FLAG...`.

Beam takes seconds to import, prints as it likes and cannot be interrupted for sure; a process has a log and
an end. The settings are a pickle by `write_settings`, in the run's own folder, and not part of the command
line: secrets may be among them.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from pipeline.cli import guarded, logs
from pipeline.cli.run import submit
from pipeline.settings import JobSettings


def write_settings(path: Path, settings: JobSettings) -> None:
    """For `main`; readable by the owner only."""
    path.touch(mode=0o600)
    path.write_bytes(pickle.dumps(settings))


def main() -> None:
    """Runs the job to its end; exit code 1 and one sentence when it cannot."""
    logs.configure("WARNING")
    path = Path(sys.argv[1])
    settings: JobSettings = pickle.loads(path.read_bytes())  # noqa: S301  our own file
    path.unlink()
    guarded(lambda: submit(settings, sys.argv[2:], []))


if __name__ == "__main__":
    main()
