"""`hangtag` as real processes that start at once: forked, each time anew, from one that has imported everything.

Importing torch, transformers and peft takes a process 12 s of CPU, far more than most runs here take. A process can be
told to send itself a signal as it is about to make the nth call of a function, so that a moment of milliseconds - a
checkpoint half-written - is met every time.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

PATIENCE = 120
"""Seconds that a run may take; it takes two, and more on a machine that is busy with other things."""


@functools.cache
def forkable():
    """The process to fork from, for all tests; hand it to `Command`."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    # The models are so small that one thread is fastest, whatever else the machine does.
    made = subprocess.Popen([sys.executable, __file__], env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes)
    atexit.register(_end, made)
    return made


def _end(made):
    made.kill()  # closing its input is not enough: worker processes of runs in the tests' own process hold it too
    made.wait()
    made.stdin.close()
    made.stdout.close()


class Command:
    """`hangtag` with arguments, running in the tests' own environment; what it says goes into the file `said`.

    Args:
        fork: of `forkable`.
        errors: file for what it says on stderr, where that is not to go into `said`.
        cwd: its working folder.
        stdin: file that it reads; as a rule there is nothing to read.
        dies_at: `module:function` to be signalled at, as the module that calls it knows it.
        nth: which call.
        signals: sent one after another, to its whole process group, as a terminal's Ctrl-C is.
        file_limit: largest file that the process may write, bytes.
    """

    def __init__(self, fork, said, *arguments, errors=None, cwd=None, **moment):
        self.fork, self.said = fork, Path(said)
        order = {"arguments": [str(each) for each in arguments], "said": str(said), "errors": str(errors or said)}
        order |= {"cwd": str(cwd or Path.cwd()), "environment": dict(os.environ)}
        order |= {
            "stdin": os.devnull,
            "dies_at": None,
            "nth": 1,
            "signals": [signal.SIGKILL],
            "file_limit": None,
        } | moment
        fork.stdin.write(json.dumps(order).encode() + b"\n")
        self.pid = int(fork.stdout.readline())

    def wait(self):
        """The exit code, negative for a signal."""
        if not select.select([self.fork.stdout], [], [], PATIENCE)[0]:
            os.killpg(self.pid, signal.SIGKILL)
            self.fork.stdout.readline()
            raise TimeoutError(f"it hangs; it said: {self.said.read_text()}")
        return int(self.fork.stdout.readline())

    def running(self):
        """Whether it has neither ended nor died."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def workers(self):
        """Ids of its worker processes."""
        try:
            return [int(each) for each in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []


def _die_at(place, nth, signals):
    module, _, name = place.partition(":")
    *path, name = name.split(".")
    found = functools.reduce(getattr, path, importlib.import_module(module))
    true, calls = getattr(found, name), 0

    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == nth:
            for each in signals:
                os.killpg(os.getpgid(0), each)
        return true(*arguments, **options)

    setattr(found, name, counted)


def _run(order):
    os.setpgid(0, 0)
    os.dup2(os.open(order["stdin"], os.O_RDONLY), 0)
    for name, number in (("said", 1), ("errors", 2)):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND), number)
    os.chdir(order["cwd"])
    os.environ.update(order["environment"])
    for name in os.environ.keys() - order["environment"].keys():
        del os.environ[name]
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
    if order["file_limit"]:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_limit"],) * 2)
    if order["dies_at"]:
        _die_at(order["dies_at"], order["nth"], order["signals"])
    from hangtag.cli import main

    sys.argv = ["hangtag", *order["arguments"]]
    main()


def _serve():
    from hangtag.cli.app import _quiet_libraries

    _quiet_libraries(debug=False)  # as each command does before it imports more
    import hangtag.prediction.tagger
    import hangtag.report.assess
    import hangtag.serving.server
    import hangtag.terminal
    import hangtag.training.train  # noqa: F401

    gc.collect()
    gc.freeze()  # what is imported need not be looked through again in each process
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))
            sys.exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
