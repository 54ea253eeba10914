"""What can go wrong from outside while a run trains - a full disk, a killed worker process - told in one line."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from hangtag.errors import RunError
from hangtag.files import Run
from hangtag.training.checkpoints import checkpoints, remove_partial

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# safetensors' error, and torch.save's, which says no more than that the file is shorter than what was written.
_UNWRITTEN = re.compile(rf"os error ({'|'.join(map(str, _FULL))})\b|inline_container\.cc|PytorchStreamWriter")
_WORKER = re.compile(r"DataLoader worker.*(?:killed by signal: (?P<signal>[^.]+)|exited unexpectedly)", re.DOTALL)


@contextmanager
def told(run: Run) -> Iterator[None]:
    """Turn such failures into a RunError that says what happened and how the run goes on.

    Raises:
        RunError: the disk is full, or a worker process was killed.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _no_room(run, error) from None
    except SafetensorError as error:
        if not _UNWRITTEN.search(str(error)):
            raise
        raise _no_room(run, error) from None
    except RuntimeError as error:
        worker = _WORKER.search(str(error)) or _WORKER.search(str(error.__cause__))
        if worker:
            raise RunError(_killed(run, worker["signal"])) from None
        if not _UNWRITTEN.search(str(error)):
            raise
        raise _no_room(run, error) from None


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


def _killed(run: Run, signal: str | None) -> str:
    name = f" (signal: {signal.strip()})" if signal else ""
    return (
        f"a process that prepares pictures was killed{name}, probably for lack of memory or of room in /dev/shm; "
        f"run the same command again, with fewer train.workers or with 0; {_kept(run)}"
    )


def _kept(run: Run) -> str:
    found = checkpoints(run)
    return f"{found[-1].name} is whole, and it goes on from there" if found else "it begins anew"
