"""`hangtag fetch` beside scripts as people write them, on a server of this machine with latency.

    python benchmarks/fetch_plain.py [--photos 400] [--hosts 8] [--latency 0.05] [--plain 60] [--rounds 5]

`fetch`    the whole command, start-up, hashes, comparison and splits included
`pool`     `requests.get` in a pool of 8 threads, each picture decoded and saved under its content's name
`plain`    the same for one URL after another, of the first --plain photos
They take turns within a round, and the kept files must be equal byte for byte. Prints a line a round and, last, one
JSON line; a ratio is the median over rounds of one round's times a picture.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import photo_server
import requests
from fetch import HANGTAG, Scene, Server, kept_by_hangtag
from PIL import Image

THREADS = 8
MAX_SIDE = 1024
Kept = dict[str, Path]
"""Files by their pictures' URLs."""


def download(folder: Path, url: str) -> Path:
    """The file of a picture that was asked for, checked, made smaller where it is too large, and saved."""
    answer = requests.get(url, timeout=10)
    answer.raise_for_status()
    data = answer.content
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if max(image.size) > MAX_SIDE:
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=92)
        data = file.getvalue()
    path = folder / f"{hashlib.sha256(data).hexdigest()[:32]}.jpg"
    path.write_bytes(data)
    return path


def plain(folder: Path, urls: list[str]) -> Kept:
    return {url: download(folder, url) for url in urls}


def pool(folder: Path, urls: list[str]) -> Kept:
    with ThreadPoolExecutor(THREADS) as threads:
        return dict(zip(urls, threads.map(partial(download, folder), urls), strict=True))


def fetch(out: Path, urls: list[str]) -> Kept:
    table = out.with_suffix(".csv")
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["url", "title"], *([url, f"Product {at}"] for at, url in enumerate(urls))])
    command = [*HANGTAG, table, out, "--image-column", "url", "--allow-private"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return kept_by_hangtag(out)


def run(way: Callable[[Path, list[str]], Kept], folder: Path, urls: list[str]) -> tuple[float, dict[str, bytes]]:
    """Seconds of a way into a new folder, and what it kept, by URL."""
    if way is not fetch:
        folder.mkdir()
    started = time.perf_counter()
    kept = way(folder, urls)
    taken = time.perf_counter() - started
    contents = {url: path.read_bytes() for url, path in kept.items()}
    shutil.rmtree(folder)
    return taken, contents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--plain", type=int, default=60, help="photos that are asked for one after another")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    scene = Scene(options.photos, options.hosts, options.latency, faults=0)
    ways = {"fetch": (fetch, options.photos), "pool": (pool, options.photos), "plain": (plain, options.plain)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place) / "photos"
        photo_server.make_photos(photos, options.photos)
        with Server(scene, photos) as server:
            urls = [scene.url(number, server.port) for number in range(options.photos)]
            expected = {url: scene.photo(number, photos) for number, url in enumerate(urls)}
            for number in range(options.rounds):
                for name, (way, count) in ways.items():
                    taken, kept = run(way, Path(place) / name, urls[:count])
                    assert kept == {url: expected[url] for url in urls[:count]}, f"{name} kept other pictures"
                    times[name].append(1000 * taken / count)
                print(f"round {number + 1}: " + ", ".join(f"{name} {each[-1]:.1f}" for name, each in times.items()))
    ratios = {
        name: [slow / fast for slow, fast in zip(times[name], times["fetch"], strict=True)]
        for name in ("pool", "plain")
    }
    print("ms a picture above; times as long as fetch, medians:")
    for name, each in ratios.items():
        print(f"{name} {statistics.median(each):.1f} (least {min(each):.1f})")

    from hangtag.training.environment import environment

    found = {
        "photos": options.photos,
        "hosts": options.hosts,
        "latency": options.latency,
        **{f"{name}_ratio": statistics.median(each) for name, each in ratios.items()},
        **{f"{name}_per_second": 1000 / statistics.median(each) for name, each in times.items()},
    }
    print(json.dumps({"benchmark": "fetch_plain", "environment": environment(), **found, "rounds": times}))


if __name__ == "__main__":
    main()
