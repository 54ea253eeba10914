"""What an export takes of a machine: parameters, memory, disk."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch

from hangtag.errors import RunError
from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM

SHARE = 0.6
"""Of the free memory that a model in float32 may take; the rest is for keys and values, and for others."""


def parameters(config: Phi3VConfig) -> int:
    """How many a model of this configuration has."""
    with torch.device("meta"):
        return sum(each.numel() for each in Phi3VForCausalLM(config).parameters())


def free_memory() -> float:
    """Bytes that the device has free; infinity where the system does not tell."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    told = Path("/proc/meminfo")
    if not told.exists():
        return math.inf
    fields = dict(line.split(":", 1) for line in told.read_text(encoding="ascii").splitlines())
    return 1024 * int(fields["MemAvailable"].split()[0])


def arithmetic(count: int) -> torch.dtype:
    """What to compute in when models are compared: float32 where `count` parameters leave room, else bfloat16.

    In float32 nothing but the rounding of the weights themselves is left to be seen.
    """
    return torch.float32 if 4 * count <= SHARE * free_memory() else torch.bfloat16


def require_disk(out: Path, needed: int) -> None:
    """Whether the disk under `out` has room.

    Raises:
        RunError: it has not; the message names both sizes.
    """
    folder = next(each for each in out.absolute().parents if each.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunError(
            f"{folder} has {free / 1e9:.1f} GB free, the export needs {needed / 1e9:.1f} GB; "
            "make room, or choose another OUT"
        )
