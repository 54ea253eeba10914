"""How the cost of a catalogue grows: fetch, describe, split and the cache of vision features, 100 to 100,000 pictures.

    python benchmarks/growth_pictures.py [--largest 100000] [--rounds 5] [--run RUN] [--work FOLDER]

fetch           `hangtag fetch` of a table (shop_table.py) with paths of small photos: 128 pixels a side, 4 kB, every
                twentieth the one before it, saved worse; start-up included
fetch, URLs     the same from a server of this machine without latency, up to 10,000
describe        `hangtag describe` of what was fetched
near            near duplicates of the catalogue's hashes; and the same by comparing all with all
split           near duplicates, groups and splits of the catalogue's rows
cache, stored   nano's features of 5 crops a picture, each file flushed; and read back from the page cache

Then 100 and 1,000 pictures by one process and by two: `fetch` of product photos (threads), `synth`, and with --run
`predict`; equal results are asserted. "Fixed" is what one picture takes. A point is the median of five, of three where
it takes over 5 s, one over 20 s. Prints tables and, last, one JSON line. Why the curves bend stands in docs/log.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import photo_server
import shop_table
from fetch import Scene, Server
from growth import Sample, grown, measured, seconds, show
from PIL import Image

from hangtag.catalogue import hamming, open_catalogue
from hangtag.catalogue.duplicates import alike_pictures, near_duplicates
from hangtag.catalogue.fetch import fetch
from hangtag.catalogue.gather import Bounds
from hangtag.catalogue.split import assign_splits

PEAK = """
import atexit
from hangtag.cli import main
status = lambda: open("/proc/self/status").read()
atexit.register(lambda: print(status().partition("VmHWM:")[2].split()[0]))
main()
"""
"""The command, which says last how many kilobytes it held at most: what the system tells its parent counts that too."""
SYNTH = """
import sys
from pathlib import Path
from hangtag.catalogue.synth import synthesise
synthesise(Path(sys.argv[1]), int(sys.argv[2]), workers=int(sys.argv[3]))
"""
SIDE, CROPS, BATCH = 128, 5, 16
MOST_URLS = 10_000
Curves = dict[str, dict[int, dict[str, Any]]]


def draw(photos: Path, number: int) -> None:
    """A small photo of its number; every twentieth is nearly the one before it."""
    copy = number % 20 == 19
    coarse = np.random.default_rng(number - copy).integers(0, 256, (16, 16, 3), np.uint8)
    photo = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    photo.save(photo_server.photo_path(photos, number), "JPEG", quality=60 if copy else 85)


def write_table(path: Path, pictures: list[str]) -> None:
    """A shop's table whose column `imageurl` names these pictures."""
    place = shop_table.COLUMNS.index("imageurl")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(shop_table.COLUMNS)
        for row, picture in zip(shop_table.shop(len(pictures)), pictures, strict=True):
            writer.writerow([*row[:place], picture, *row[place + 1 :]])


def command(arguments: list[str | Path]) -> Sample:
    """Seconds of a command, those of processors, and the most memory that it held."""
    start, used = time.perf_counter(), _processor_seconds()
    done = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": _processor_seconds() - used,
        "peak_bytes": 1024 * int(done.stdout.split()[-1]),
    }


def _processor_seconds() -> float:
    """Of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def fetched(table: Path, out: Path) -> Sample:
    """`hangtag fetch` into a new folder."""
    shutil.rmtree(out, ignore_errors=True)
    return command(["fetch", table, out, "--allow-private"])


def measure_urls(size: int, work: Path, rounds: int) -> dict[str, Any]:
    """A point of fetching by URLs."""
    scene = Scene(size, hosts=40, latency=0, faults=0)

    def once() -> Sample:
        with Server(scene, work / "photos") as server:
            write_table(work / "urls.csv", [scene.url(number, server.port) for number in range(size)])
            return fetched(work / "urls.csv", work / "of-urls")

    return measured(once, rounds)


def measure_catalogue(size: int, work: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """A point of each curve of one catalogue."""
    table, out = work / "paths.csv", work / "catalogue"
    write_table(table, [f"photos/{number:06}.jpg" for number in range(size)])
    points = {
        "fetch": measured(partial(fetched, table, out), rounds),
        "describe": measured(partial(command, ["describe", out]), rounds),
    }
    catalogue = open_catalogue(out)
    assert len(catalogue.rows) == size
    hashes = {name: facts.hash for name, facts in catalogue.picture_facts().items()}

    found: dict[bool, Any] = {}

    def near(all_with_all: bool) -> None:
        with patch.object(hamming, "FEW", size if all_with_all else hamming.FEW):
            found[all_with_all] = near_duplicates(list(hashes.values()))

    def split() -> None:
        assign_splits(catalogue.rows, alike=alike_pictures(hashes)[0])

    points["split"] = measured(lambda: seconds(split), rounds)
    points["near"] = measured(lambda: seconds(lambda: near(False)), rounds)
    points["near, all with all"] = measured(lambda: seconds(lambda: near(True)), rounds)
    assert found[False] == found[True], "near duplicates differ"
    return points


def measure_cache(size: int, work: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """A point of storing nano's features and one of reading them back."""
    import torch
    from vision_cache import nano_vision, small_decoder

    from hangtag.examples.features import FeatureCache

    config = small_decoder(nano_vision()).config
    shape = (config.crop_grid**2, 4 * config.vision_config.hidden_size)
    features = torch.randn(CROPS, *shape).to(torch.bfloat16)
    pictures = [f"{number * 0x9E3779B97F4A7C15 % 2**64:064x}"[::-1] for number in range(size)]

    def opened() -> FeatureCache:
        return FeatureCache(work / "cache", "growth", 10**12, shape, torch.bfloat16)

    def store() -> Sample:
        shutil.rmtree(work / "cache", ignore_errors=True)
        cache = opened()
        return seconds(lambda: [cache.put(each, features) for each in pictures])

    def read() -> None:
        for start in range(0, size, BATCH):
            found = torch.cat([cache.get(each) for each in pictures[start : start + BATCH]])
            assert torch.equal(found[:CROPS], features)

    points = {"cache, stored": measured(store, rounds)}
    cache = opened()
    return {**points, "cache, read": measured(lambda: seconds(read), rounds)}


def measure_growth(sizes: list[int], work: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Every curve with its exponents."""
    curves: Curves = {}
    for size in [1, *sizes]:
        points = {**measure_catalogue(size, work, rounds), **measure_cache(size, work, rounds)}
        if size <= MOST_URLS:
            points["fetch, URLs"] = measure_urls(size, work, rounds)
        for name, point in points.items():
            curves.setdefault(name, {})[size] = point
        print(f"{size:,}: " + ", ".join(f"{name} {each['seconds']:.3g} s" for name, each in points.items()), flush=True)
    fixed = {name: points.pop(1)["seconds"] for name, points in curves.items()}
    return {name: grown(points, fixed[name]) for name, points in curves.items()}


def by_processes(work: Callable[[int, int], Any], sizes: list[int], rounds: int) -> dict[str, list[float]]:
    """Seconds of one and of two processes by size, and how many times as fast two are; equal results are asserted.

    Args:
        work: of pictures and processes, gives what must be equal.
    """
    found: dict[str, list[float]] = {"sizes": list(sizes), "one": [], "two": [], "faster": [], "rounds": []}
    for size in sizes:

        def once(size: int = size) -> Sample:
            results: list[Any] = []
            one = seconds(lambda: results.append(work(size, 1)))["seconds"]
            two = seconds(lambda: results.append(work(size, 2)))["seconds"]
            assert results[0] == results[1], "one process and two give unequal results"
            return {"seconds": one + two, "one": one, "two": two, "faster": one / two}

        point = measured(once, rounds)
        for name in ("one", "two", "faster", "rounds"):
            found[name].append(point[name])
    return found


def measure_processes(sizes: list[int], work: Path, rounds: int, run: Path | None) -> dict[str, dict[str, Any]]:
    """What one process and two take, of rooms that have the choice."""
    photo_server.make_photos(work / "products", max(sizes))

    def of_new_folder(make: Callable[[Path], Any]) -> bytes:
        shutil.rmtree(work / "out", ignore_errors=True)
        make(work / "out")
        return (work / "out" / "metadata.csv").read_bytes()

    def fetch_photos(size: int, threads: int) -> bytes:
        write_table(work / "products.csv", [f"products/{number:06}.jpg" for number in range(size)])
        return of_new_folder(lambda out: fetch(work / "products.csv", out, bounds=Bounds(workers=threads)))

    def synth(size: int, processes: int) -> bytes:
        arguments = [sys.executable, "-c", SYNTH, work / "out", str(size), str(processes)]
        return of_new_folder(lambda out: subprocess.run(arguments, check=True))

    rooms = {"fetch": fetch_photos, "synth": synth}
    if run:
        rooms["predict"] = predictor(run, work / "products")
    return {name: by_processes(room, sizes, rounds) for name, room in rooms.items()}


def predictor(run: Path, photos: Path) -> Callable[[int, int], Any]:
    """Of pictures and processes: a run's records of so many of a folder's photos."""
    from hangtag.prediction.inputs import Choice, open_inputs
    from hangtag.prediction.loading import load
    from hangtag.prediction.predict import Job
    from hangtag.prediction.processes import process_records

    tagger = load(run, BATCH)
    files = [str(path) for path in sorted(photos.iterdir())]

    def records(size: int, processes: int) -> Any:
        job = Job(run, open_inputs(files[:size], Choice()), batch_size=BATCH)
        return [each for window in process_records(tagger, job, job.windows(), processes) for each in window]

    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smallest", type=int, default=100, help="pictures; ten times as many follow, and so on")
    parser.add_argument("--largest", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5, help="at most, of a point")
    parser.add_argument("--run", type=Path, help="a trained run, for predict")
    parser.add_argument("--work", type=Path, help="a folder on the disk to be measured; absent, the system's temporary")
    options = parser.parse_args()
    sizes = [size for power in range(9) if (size := options.smallest * 10**power) <= options.largest]
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder).resolve()
        (work / "photos").mkdir()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(partial(draw, work / "photos"), range(max(sizes))))
        curves = measure_growth(sizes, work, options.rounds)
        processes = measure_processes(sizes[:2], work, options.rounds, options.run)
    print()
    show(curves, lambda size: f"{size:,}")
    for name, each in processes.items():
        for size, one, two, faster, _ in zip(*each.values(), strict=True):
            print(f"{name}, {size:,.0f} pictures: one process {one:.2f} s, two {two:.2f} s, {faster:.2f} times as fast")

    from hangtag.training.environment import environment

    named = {name.replace(", ", "_").replace(" ", "_").lower(): each for name, each in curves.items()}
    print(json.dumps({"benchmark": "growth_pictures", "environment": environment(), **named, "processes": processes}))


if __name__ == "__main__":
    main()
