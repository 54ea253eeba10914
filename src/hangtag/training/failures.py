"""What can go wrong from outside while a run trains - a full disk, a killed worker process - told in one line."""

from __future__ import annotations

import errno
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError
from torch.utils.data._utils import signal_handling

from hangtag.errors import RunError
from hangtag.files import Run
from hangtag.training.checkpoints import checkpoints, remove_partial

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# safetensors' error, and torch.save's, which says no more than that the file is shorter than what was written.
_UNWRITTEN = re.compile(rf"os error ({'|'.join(map(str, _FULL))})\b|inline_container\.cc|PytorchStreamWriter")
_WORKER = re.compile(r"DataLoader worker.*exited unexpectedly")


@contextmanager
def told(run: Run) -> Iterator[None]:
    """Turn such failures into a RunError that says what happened and how the run goes on.

    Raises:
        RunError: the disk is full, or a worker process was killed.
    """
    _look_for_dead_workers_only_where_they_are_waited_for()
    try:
        yield
    except (ConnectionError, EOFError):  # what comes of asking a killed worker for its tensors
        raise RunError(_killed(run)) from None
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _no_room(run, error) from None
    except SafetensorError as error:
        if not _UNWRITTEN.search(str(error)):
            raise
        raise _no_room(run, error) from None
    except RuntimeError as error:
        if _WORKER.search(str(error)):
            raise RunError(_killed(run)) from None
        if not _UNWRITTEN.search(str(error)):
            raise
        raise _no_room(run, error) from None


def _look_for_dead_workers_only_where_they_are_waited_for() -> None:
    """Take torch's handler of SIGCHLD away, which raises wherever the program happens to be, at its end too.

    Without it, torch looks after its workers every few seconds while it waits for an item of theirs.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
        before = signal.getsignal(signal.SIGCHLD)
        signal_handling._set_SIGCHLD_handler()  # does nothing a second time
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def _no_room(run: Run, error: Exception) -> RunError:
    remove_partial(run)
    folder = next(each for each in (run.path, *run.path.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(folder).free
    if getattr(error, "errno", None) == errno.EFBIG or f"os error {errno.EFBIG}" in str(error):
        why = "a file would be larger than is allowed here (see `ulimit -f`): allow more"
    elif getattr(error, "errno", None) == errno.EDQUOT or f"os error {errno.EDQUOT}" in str(error):
        why = "the quota on the disk is used up: make room"
    else:
        why = f"the disk is full ({free:,} bytes are free after what was half-written is removed): make room"
    return RunError(f"{run.path}: {why}, and run the same command again; {_kept(run)}")


def _killed(run: Run) -> str:
    return (
        "a process that prepares pictures was killed, probably for lack of memory or of room in /dev/shm; "
        f"run the same command again, with fewer train.workers or with 0; {_kept(run)}"
    )


def _kept(run: Run) -> str:
    found = checkpoints(run)
    return f"{found[-1].name} is whole, and it goes on from there" if found else "it begins anew"
