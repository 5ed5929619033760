"""`python -m pipeline` is `medstream run`, for launchers that start a module (Dataflow's, for one)."""

from typer.main import get_command

from pipeline.cli import guarded
from pipeline.cli.run import app

if __name__ == "__main__":
    guarded(lambda: get_command(app)(prog_name="python -m pipeline"))
