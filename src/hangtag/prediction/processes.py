"""The same records from one process a core: a small model's many short steps keep a core busy, but hardly two.

Each process is forked from the one that has loaded the model, so its weights are there once; each computes with one
thread. Windows are cut as in one process and come back in order.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

import torch

from hangtag.errors import RunError
from hangtag.machine import cores
from hangtag.prediction.predict import Job, Records, records
from hangtag.prediction.tagger import Tagger

SMALL = 50_000_000
"""Parameters up to which a model is computed by a process a core; a larger one keeps all cores busy by itself."""
_shared: tuple[Tagger, Job] | None = None


def can_fork(tagger: Tagger) -> bool:
    """Whether processes forked from this one can share its model: on the CPU, on Linux."""
    return tagger.model.device.type == "cpu" and sys.platform == "linux"


def useful_processes(tagger: Tagger, most: int) -> int:
    """How many processes, at most `most`, are of use; 1 for none besides this one."""
    small = sum(each.numel() for each in tagger.model.parameters()) <= SMALL
    return min(cores(), most) if small and can_fork(tagger) else 1


def all_records(tagger: Tagger, job: Job, asked: Sequence[tuple[int, int]]) -> Iterator[Records]:
    """As `records`, by as many processes as are of use."""
    count = useful_processes(tagger, len(asked))
    return process_records(tagger, job, asked, count) if count > 1 else records(tagger, job, asked)


def process_records(tagger: Tagger, job: Job, asked: Sequence[tuple[int, int]], count: int) -> Iterator[Records]:
    """As `records`, by so many processes.

    Raises:
        RunError: a process was killed.
    """
    global _shared
    _shared = tagger, job.shared_by(count)
    windows, waiting = iter(asked), deque[Future[Records]]()
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("fork"), _begin, (os.getpid(),))
    try:
        for each in islice(windows, 2 * count):
            waiting.append(pool.submit(_one, each))
        while waiting:
            yield waiting.popleft().result()
            for each in islice(windows, 1):
                waiting.append(pool.submit(_one, each))
    except BrokenProcessPool:
        raise RunError(
            "a process of this one was killed, maybe for want of memory; try a smaller --batch-size"
        ) from None
    except BaseException:
        for process in (pool._processes or {}).values():
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        _shared = None


def _begin(parent: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Do not outlive the process that asks: it may be killed without a word."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _one(window: tuple[int, int]) -> Records:
    assert _shared is not None
    (found,) = records(*_shared, [window])
    return found
