"""From files on the disk to a model that has answered: seconds, and at what share of the disk's and the link's rate.

    python benchmarks/gpu_loading.py WORK [--device auto] [--seconds 60]

WORK holds `base`, as gpu.py makes it. "Cold" is after the kernel was told to forget the files, "warm" with the files in
its cache. The disk's rate is that of plain reading by four threads, the link's that of a copy from pinned memory; a
loaded model has computed one token, so every weight has arrived. Medians of three, and the loaded weights' checksum
must be the same each time.
Prints a table and, last, one JSON line; ends with 1 where results differ.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from full_size import forget
from gpu_common import Deadline, Machine, median
from transformers import AutoModelForImageTextToText
from transformers.utils import logging

PIECE = 1 << 25
WAYS: dict[str, dict[str, Any]] = {"on the host, then moved": {}, "on the device at once": {"device_map": True}}


def read(files: list[Path]) -> int:
    """Read files whole by four threads, in pieces; the bytes."""

    def part(piece: tuple[Path, int]) -> int:
        with open(piece[0], "rb", buffering=0) as file:
            file.seek(piece[1])
            return len(file.read(PIECE))

    pieces = [(file, start) for file in files for start in range(0, file.stat().st_size, PIECE)]
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(part, pieces))


def link(machine: Machine) -> float | None:
    """Bytes a second from pinned memory to the device; None on a CPU."""
    if not machine.gpu:
        return None
    source = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device=machine.device)
    times = [machine.seconds(lambda: target.copy_(source, non_blocking=True)) for _ in range(6)][1:]
    return source.numel() / min(times)


def load(machine: Machine, folder: Path, options: dict[str, Any]) -> Any:
    """The model on the device, having computed one token."""
    given = dict.fromkeys(options, machine.device.type)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=machine.dtype, **given).to(machine.device).eval()
    with torch.inference_mode():
        model(input_ids=torch.tensor([[1]], device=machine.device))
    return model


@torch.inference_mode()
def checksum(model: Any) -> float:
    return float(sum(each.double().abs().sum().cpu() for each in model.parameters()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    logging.disable_progress_bar()
    machine, deadline = Machine.found(options.device), Deadline.within(options.seconds)
    folder = options.work / "base"
    files = sorted(folder.glob("*.safetensors"))
    size = sum(each.stat().st_size for each in files)
    os.sync()
    found: dict[str, Any] = {"bytes": size, "link": link(machine), "ways": {}}
    forget(folder)
    found["disk"] = size / machine.seconds(lambda: read(files))
    sums = set()
    for way, given in WAYS.items():
        for state in ("warm", "cold"):
            times: list[float] = []
            while len(times) < 3 and (not times or deadline.left > 1.5 * times[-1]):
                if state == "cold":
                    forget(folder)
                held: list[Any] = []
                times.append(machine.seconds(lambda held=held, given=given: held.append(load(machine, folder, given))))
                sums.add(checksum(held.pop()))
                gc.collect()
                machine.forget_peak()
            seconds = median(times)
            limit = min(found["disk"], found["link"] or found["disk"]) if state == "cold" else found["link"]
            share = size / seconds / limit if limit else None
            found["ways"][f"{way}, {state}"] = {"seconds": seconds, "times": len(times), "share_of_limit": share}
            print(f"{way}, {state}: {seconds:.2f} s, {size / seconds / 1e9:.2f} GB/s", flush=True)
            print(json.dumps(found), flush=True)
    if len(sums) != 1:
        print(f"the loaded weights differ: {sums}", file=sys.stderr)
    return 0 if len(sums) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
