"""Several runs one after another in the processes that a launcher has started: starting processes takes the longest.

Reads a JSON list of `[settings, out, event]`. An event is `stop:N` or `fail:N`: after step N the last process, and it
alone, gets a Ctrl-C or meets an error. An error ends a run but not those after it, unless it ends the last.
"""

import json
import os
import signal
import sys
from pathlib import Path

from hangtag.errors import DataError, HangtagError
from hangtag.recipe import load_recipe
from hangtag.training.train import train
from hangtag.training.watch import Watch

RANK, NUMBER = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
plain_step_end = Watch.on_step_end


def run(settings, out, event=None):
    """Train once; returns the error, if any."""

    def on_step_end(self, args, state, control, **kwargs):
        kind, _, step = (event or "").partition(":")
        if event and state.global_step == int(step) and RANK == NUMBER - 1:
            if kind == "fail":
                raise DataError(f"process {RANK} fails")
            os.kill(os.getpid(), signal.SIGINT)
        return plain_step_end(self, args, state, control, **kwargs)

    Watch.on_step_end = on_step_end
    try:
        train(load_recipe("demo", settings), out)
    except HangtagError as error:
        return error
    finally:
        Watch.on_step_end = plain_step_end
    return None


if __name__ == "__main__":
    error = None
    for job in json.loads(Path(sys.argv[1]).read_text()):
        error = run(*job)
        if error is not None and str(error):
            print(f"{job[1]}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    sys.exit(error.exit_code if error else 0)
