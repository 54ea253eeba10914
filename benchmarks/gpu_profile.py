"""What bounds a piece of work: time by kind of kernel, and how long the device stood idle."""

from __future__ import annotations

import re
import time
from typing import Any

from gpu_common import Machine
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

KINDS = {
    "attention": r"flash|fmha|attention|attn|softmax",
    "matrix products": r"gemm|nvjet|cutlass|cublas|xmma|addmm|\bmm\b|bmm|linear|matmul|conv",
    "copies": r"memcpy|memset|copy|_to_copy|cat",
    "compiled": r"triton|CompiledFxGraph|Torch-Compiled",
}
"""By a kernel's or, on a CPU, an operator's name; the first that fits. What fits none is `other`."""


class Profile:
    """Profiles repeated work: the second and later repetitions, as the first is compiled anew for the profiler.

    Args:
        repeats: how many there will be, the first included.
    """

    def __init__(self, machine: Machine, repeats: int = 3) -> None:
        self.machine = machine
        self.repeats = repeats
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if machine.gpu else [])]
        self._profiler = profile(activities=activities, schedule=schedule(wait=0, warmup=1, active=repeats - 1))
        self._times: list[float] = []

    def step(self) -> None:
        """Say that the work begins, and after each repetition that it ended."""
        self.machine.wait()
        self._times.append(time.perf_counter())
        if len(self._times) == 1:
            self._profiler.start()
        elif len(self._times) <= self.repeats:
            self._profiler.step()
        elif len(self._times) == self.repeats + 1:
            self._profiler.stop()

    def found(self) -> dict[str, Any]:
        """Seconds in all and by kind, the share in which nothing ran, and the ten longest kernels."""
        seconds = self._times[-1] - self._times[1]
        times: dict[str, float] = {}
        spans: list[tuple[float, float]] = []
        for event in self._profiler.events() or []:
            if self.machine.gpu and event.device_type == DeviceType.CUDA:
                times[event.name] = times.get(event.name, 0.0) + event.device_time_total / 1e6
                spans.append((event.time_range.start, event.time_range.end))
            elif not self.machine.gpu:
                times[event.name] = times.get(event.name, 0.0) + event.self_cpu_time_total / 1e6
                spans.append((event.time_range.start, event.time_range.end))
        kinds = dict.fromkeys([*KINDS, "other"], 0.0)
        for name, each in times.items():
            kinds[_kind(name)] += each
        longest = sorted(times.items(), key=lambda each: -each[1])[:10]
        return {
            "seconds": seconds,
            "idle": max(0.0, 1 - _covered(spans) / 1e6 / seconds),
            "kinds": {name: each for name, each in kinds.items() if each},
            "longest": {name[:80]: each for name, each in longest},
        }


def _kind(name: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE)), "other")


def _covered(spans: list[tuple[float, float]]) -> float:
    """Length of what at least one span covers."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total
