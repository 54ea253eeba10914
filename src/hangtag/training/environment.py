"""What a run was made with: versions and hardware, for environment.json and for choosing a number format."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

PACKAGES = ["hangtag", "torch", "transformers", "accelerate", "tokenizers", "safetensors", "pillow", "numpy"]


def environment() -> dict[str, Any]:
    """Versions, system, processor and accelerator of this process."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def precision(asked: Literal["auto", "float32", "bfloat16"]) -> torch.dtype:
    """The number format to compute in; `auto` takes bfloat16 where the hardware has instructions for it."""
    if asked == "float32":
        return torch.float32
    return torch.bfloat16 if asked == "bfloat16" or _bfloat16_is_fast() else torch.float32


def _bfloat16_is_fast() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
