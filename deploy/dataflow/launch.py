"""What Dataflow's launcher starts (FLEX_TEMPLATE_PYTHON_PY_FILE): `python -m pipeline` with its parameters.

Nothing of the job is defined here: workers could not load what belongs to the launcher's `__main__`.
"""

from __future__ import annotations

import runpy
import sys

from deploy.dataflow.parameters import command_line

if __name__ == "__main__":
    sys.argv[1:] = command_line(sys.argv[1:])
    runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
