"""The same records from the workers of a Ray cluster: one model each, fed with windows of rows by Ray Data.

Windows are cut as without Ray and come back in order, so whatever takes the records need not know. Workers read rows
and pictures themselves: paths have to lead to the same files on every machine.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hangtag.errors import RunError, UsageError, first_line
from hangtag.machine import cores
from hangtag.prediction.predict import Job, Records, records

MOST_WINDOWS = 8
"""Of one task, within which pictures are read ahead."""
PATIENCE = 10.0
"""Seconds for a cluster to answer."""
QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong comes as an exception
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_METRICS_EXPORT_INTERVAL_MS": "0",
}


def ray_records(job: Job, asked: Sequence[tuple[int, int]], address: str, workers: int) -> Iterator[Records]:
    """As `records`, by so many workers.

    Args:
        address: of a cluster; "auto" for the one that this machine belongs to, "local" to start one here.

    Raises:
        UsageError: Ray is not installed, or there is no such cluster. RunError: the work failed there.
    """
    started = _connect(address, workers)
    from ray import data

    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    gpu = bool(started.cluster_resources().get("GPU"))
    try:
        tasks = _tasks(asked, workers)
        found = data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
            Worker,
            fn_constructor_args=(
                [started.put(job.shared_by(workers))],
            ),  # in a list, so that each worker fetches it itself
            batch_size=None,
            batch_format="numpy",
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=1,
            num_gpus=int(gpu),
        )
        for row in found.iter_rows():
            yield json.loads(row["records"])
    except started.exceptions.RayError as error:
        raise RunError(f"Ray's workers failed: {_cause(error)}; what is written so far is kept") from None
    finally:
        started.shutdown()


class Worker:
    """One model, on one process of the cluster."""

    def __init__(self, job: list[Any]) -> None:
        import ray

        from hangtag.prediction.loading import load

        self.job: Job = ray.get(job[0])
        self.tagger = load(self.job.run, self.job.batch_size)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
        for windows in batch["windows"]:
            for each in records(self.tagger, self.job, json.loads(windows)):
                yield {"records": np.array([json.dumps(each)], object)}


def _connect(address: str, workers: int) -> Any:
    os.environ.update(QUIET)
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError("--ray needs the library ray; install it: pip install 'hangtag[ray]'") from None
    _require_someone(address)
    here: dict[str, Any] = {"include_dashboard": False, "num_cpus": max(cores(), workers)} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **here)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _nobody(address, error) from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _require_someone(address: str) -> None:
    """Ray itself would try for minutes before it says that there is nobody."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise _nobody(address, error) from None


def _nobody(address: str, error: Exception) -> UsageError:
    return UsageError(
        f"--ray {address}: no Ray cluster answers there ({first_line(error)}); "
        "start one with `ray start --head`, or use --ray local"
    )


def _tasks(asked: Sequence[tuple[int, int]], workers: int) -> list[dict[str, str]]:
    """Some windows in a row for each task; at least four tasks a worker, where there are as many windows."""
    size = min(MOST_WINDOWS, max(1, len(asked) // (4 * workers)))
    return [{"windows": json.dumps(asked[start : start + size])} for start in range(0, len(asked), size)]


def _cause(error: BaseException) -> str:
    """What went wrong in a worker, without Ray's traceback of it."""
    cause = getattr(error, "cause", None)
    return first_line(cause) if isinstance(cause, BaseException) else first_line(error)
