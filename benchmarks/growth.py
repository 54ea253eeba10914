"""How cost grows with size: measured points, the exponent that fits them, and where it bends.

No program: growth_pictures.py and growth_tokens.py measure by this.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

LONG, VERY_LONG = 5.0, 20.0
"""Seconds above which a point is measured three times, or once, instead of five times."""
BEND = 0.15
"""Two neighbouring local exponents that differ by more make a bend."""
Sample = dict[str, float]
"""`seconds`, `cpu_seconds` of all threads, maybe `peak_bytes`."""


def measured(measure: Callable[[], Sample], rounds: int = 5) -> dict[str, Any]:
    """Medians of so many samples, or of three or one, by how long the first takes."""
    samples = [measure()]
    first = samples[0]["seconds"]
    samples += [measure() for _ in range(min(rounds, 1 if first > VERY_LONG else 3 if first > LONG else rounds) - 1)]
    medians = {name: statistics.median(each[name] for each in samples) for name in samples[0]}
    return {**medians, "rounds": len(samples)}


def seconds(work: Callable[[], Any], least: float = 0.0) -> Sample:
    """Of one call: the mean of as many as take `least` seconds together."""
    start, used, calls = time.perf_counter(), time.process_time(), 0
    while not calls or time.perf_counter() - start < least:
        work()
        calls += 1
    taken, used = time.perf_counter() - start, time.process_time() - used
    return {"seconds": taken / calls, "cpu_seconds": used / calls}


def grown(points: dict[int, dict[str, Any]], fixed: float) -> dict[str, Any]:
    """Points by size as lists, with their exponents; those of processor seconds too, which other processes hardly move.

    Args:
        fixed: seconds that the smallest possible input takes.
    """
    columns = {name: [each[name] for each in points.values()] for name in next(iter(points.values()))}
    sizes, used = list(points), columns["cpu_seconds"]
    of_cpu = {"cpu_exponent": slope(sizes, used), "cpu_local_exponents": local_exponents(sizes, used)}
    return {"sizes": sizes, **columns, **exponents(sizes, columns["seconds"], fixed), **of_cpu}


def exponents(sizes: Sequence[int], seconds: Sequence[float], fixed: float) -> dict[str, Any]:
    """The exponent of seconds by size, overall, beyond the fixed cost, between neighbouring sizes; and the bends.

    `exponent_beyond_fixed` is of the seconds less the fixed cost, over the sizes at which at least a fifth is left;
    None where these are fewer than two.
    """
    local = local_exponents(sizes, seconds)
    beyond = [(size, each - fixed) for size, each in zip(sizes, seconds, strict=True) if each >= 1.25 * fixed]
    bends = [
        {"size": sizes[at + 1], "before": before, "after": after}
        for at, (before, after) in enumerate(pairwise(local))
        if abs(after - before) > BEND
    ]
    return {
        "fixed_seconds": fixed,
        "exponent": slope(sizes, seconds),
        "exponent_beyond_fixed": slope(*zip(*beyond, strict=True)) if len(beyond) > 1 else None,
        "local_exponents": local,
        "bends": bends,
    }


def local_exponents(sizes: Sequence[int], seconds: Sequence[float]) -> list[float]:
    """Between each pair of neighbouring sizes."""
    return [slope(sizes[at : at + 2], seconds[at : at + 2]) for at in range(len(sizes) - 1)]


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Least squares of the logarithm of seconds on that of size."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def show(results: dict[str, dict[str, Any]], write: Callable[[int], str]) -> None:
    """A line for each curve: seconds at each size, once and after the fixed cost, and its exponents; then the bends."""
    sizes = sorted({size for each in results.values() for size in each["sizes"]})
    width = max(map(len, results))
    print(f"{'seconds':{width}} {'fixed':>9} " + " ".join(f"{write(size):>9}" for size in sizes) + "  exponent, beyond")
    for name, each in results.items():
        found = dict(zip(each["sizes"], each["seconds"], strict=True))
        cells = [f"{found[size]:9.3g}" if size in found else " " * 9 for size in sizes]
        beyond = each["exponent_beyond_fixed"]
        fits = f"{each['exponent']:8.2f} " + ("" if beyond is None else f"{beyond:8.2f}")
        print(f"{name:{width}} {each['fixed_seconds']:9.2g} " + " ".join(cells) + f"  {fits}")
    print(f"\n{'local exponents':{width}}")
    for name, each in results.items():
        bends = ", ".join(
            f"{write(bend['size'])} ({bend['before']:.2f} to {bend['after']:.2f})" for bend in each["bends"]
        )
        local = " ".join(f"{one:5.2f}" for one in each["local_exponents"])
        print(f"{name:{width}} {local}  bends at {bends or 'none'}")
