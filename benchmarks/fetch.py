"""`hangtag fetch` beside img2dataset, on a server of this machine with latency and faults (photo_server.py).

    python benchmarks/fetch.py [--part one-host|many-hosts|memory] [--quick] [--rounds 1]

one-host     1,000 photos on one host, 100 ms latency, 10 % faulty: img2dataset with 2 retries and with none
many-hosts   4,000 photos on 40 hosts, the same latency; without faults, and with 10 %
memory       100,000 small photos on 40 hosts, no latency: the most memory that hangtag held

img2dataset lives in a venv of its own under --work, which also keeps the photos. It runs as it does by default, but
reads no EXIF and does not compress again; 2 processes of 64 threads were its fastest on two cores (1 or 2 processes of
32 to 256 threads tried). A picture counts as obtained if its file has the very bytes of a photo that may be had. Time
is from a command's start to its end; where others use the processor too, read CPU seconds beside it. "In URL's wait"
counts requests for a photo, "in host's wait" those for any photo of a host, that came before a Retry-After was over.
Prints a table for each part and, last, one JSON line; with --rounds, medians.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import photo_server
import psutil
import pyarrow.parquet

REQUIREMENTS = Path(__file__).with_name("img2dataset.txt")
HANGTAG = [sys.executable, "-c", "from hangtag.cli import main; main()", "fetch"]
LIMIT_SECONDS = 600


@dataclass(frozen=True)
class Scene:
    """A server and the table of its photos' URLs."""

    urls: int
    hosts: int
    latency: float = 0.1
    faults: float = 0.1
    small: bool = False
    kinds: str = ",".join(photo_server.PERMANENT + photo_server.TRANSIENT)

    def faulty(self) -> dict[int, str]:
        return photo_server.draw_faults(self.urls, self.faults, 0, self.kinds.split(","))

    def lawful(self) -> set[int]:
        """The photos that a patient client may have."""
        return set(range(self.urls)) - {n for n, kind in self.faulty().items() if kind in photo_server.PERMANENT}

    def fewest_requests(self) -> int:
        again = sum(kind in photo_server.TRANSIENT for kind in self.faulty().values())
        return self.urls + again + self.hosts

    def url(self, number: int, port: int) -> str:
        return f"http://{photo_server.host_of(number, self.hosts)}:{port}/photos/{number:06}.jpg"

    def photo(self, number: int, photos: Path) -> bytes:
        return photo_server.small_photo(number) if self.small else photo_server.photo_path(photos, number).read_bytes()


class Server:
    """A fresh server process; `counts` are there when it has stopped."""

    def __init__(self, scene: Scene, photos: Path) -> None:
        command = [sys.executable, photo_server.__file__, str(photos)]
        for name in ("urls", "hosts", "latency", "faults", "kinds"):
            command += [f"--{name}", str(getattr(scene, name))]
        command += ["--small"] if scene.small else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.counts: dict[str, Any] = {}

    def __enter__(self) -> Server:
        assert self.process.stdout
        self.port = json.loads(self.process.stdout.readline())["port"]
        return self

    def __exit__(self, *_: object) -> None:
        self.counts = json.loads(self.process.communicate()[0])


def img2dataset_venv(work: Path) -> Path:
    """The program, installed when it is asked for first."""
    folder = work / "img2dataset-venv"
    if not (folder / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", REQUIREMENTS], check=True)
        (folder / ".installed").touch()
    return folder / "bin" / "img2dataset"


def img2dataset(program: Path, table: Path, out: Path, rows: int, retries: int, options: argparse.Namespace) -> list:
    return [
        *(program, f"--url_list={table}", "--input_format=csv", "--url_col=url", f"--output_folder={out}"),
        *("--output_format=files", "--image_size=1024", "--resize_mode=keep_ratio_largest"),
        *("--resize_only_if_bigger=True", "--skip_reencode=True", "--extract_exif=False", "--enable_wandb=False"),
        *(f"--retries={retries}", "--timeout=10", f"--processes_count={options.processes}"),
        *(f"--thread_count={options.threads}", f"--number_sample_per_shard={-(-rows // options.processes)}"),
    ]


def run(command: list, log: Path) -> dict[str, float]:
    """Seconds by the clock and of processors, and the most memory of the command's processes together, in bytes."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "PYTHONWARNINGS": "ignore"}
    start = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen([str(each) for each in command], stdout=file, stderr=file, env=environment)
    memory = Memory(process.pid)
    limit = threading.Timer(LIMIT_SECONDS, process.kill)
    limit.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        limit.cancel()
        process.kill()  # does nothing to a process that has ended
        peak = memory.stop()
    if process.returncode:
        said = log.read_text(errors="replace")[-3000:]
        raise SystemExit(f"{shlex.join(map(str, command))} ended with {process.returncode}:\n{said}")
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": max(peak, 1024 * usage.ru_maxrss),
    }


class Memory:
    """The most that a process and its descendants held together, read every 200 ms; shared pages count in each."""

    def __init__(self, process: int) -> None:
        self.process = psutil.Process(process)
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            with contextlib.suppress(psutil.Error):  # one of them has just ended
                together = [self.process, *self.process.children(recursive=True)]
                self.peak = max(self.peak, sum(each.memory_info().rss for each in together))

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.peak


def kept_by_hangtag(out: Path) -> dict[str, Path]:
    with (out / "metadata.csv").open(newline="") as file:
        return {row["url"]: out / row["file_name"] for row in csv.DictReader(file)}


def kept_by_img2dataset(out: Path) -> dict[str, Path]:
    kept = {}
    for part in sorted(out.glob("*.parquet")):
        for row in pyarrow.parquet.read_table(part, columns=["url", "key", "status"]).to_pylist():
            if row["status"] == "success":
                kept[row["url"]] = out / part.stem / f"{row['key']}.jpg"
    return kept


def measure(tool: str, scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """One tool on a fresh server."""
    work, out = options.work, options.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    table = work / "products.csv"
    program = Path() if tool == "hangtag" else img2dataset_venv(work)
    if not scene.small:
        photo_server.make_photos(work / "photos", scene.urls)
    with Server(scene, work / "photos") as server:
        numbers = {scene.url(number, server.port): number for number in range(scene.urls)}
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["url", "title"])
            writer.writerows([url, f"Product {number}"] for url, number in numbers.items())
        if tool == "hangtag":
            command = [*HANGTAG, table, out, "--image-column", "url", "--allow-private", *shlex.split(options.hangtag)]
            result: dict[str, Any] = run(command, work / "log.txt")
            kept = kept_by_hangtag(out)
        else:
            command = img2dataset(program, table, out, scene.urls, int(tool[-1]), options)
            result = run(command, work / "log.txt")
            kept = kept_by_img2dataset(out)
    lawful = scene.lawful()
    same = sum(
        numbers[url] in lawful and path.read_bytes() == scene.photo(numbers[url], work / "photos")
        for url, path in kept.items()
    )
    result |= {"pictures": same, "others_kept": len(kept) - same, **server.counts}
    result["requests_per_url"] = server.counts["requests"] / scene.urls
    result["pictures_per_second"] = same / result["seconds"]
    return result


def compare(title: str, tools: list[str], scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """Every tool in every round: medians, and of hangtag's figures the ratios to the others' in the same round."""
    rounds = [{tool: measure(tool, scene, options) for tool in tools} for _ in range(options.rounds)]
    medians = {tool: _medians([each[tool] for each in rounds]) for tool in tools}
    ratios = {
        tool: _medians([{name: each["hangtag"][name] / each[tool][name] for name in RATIOS} for each in rounds])
        for tool in tools
        if tool != "hangtag" and "hangtag" in tools
    }
    faults = dict(Counter(scene.faulty().values()))
    show(title, scene, faults, medians, ratios)
    told = vars(scene) | {"faults": faults, "may_be_had": len(scene.lawful())}
    return {"scene": told, "tools": medians, "hangtag_to": ratios}


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(each[name] for each in rounds), 4) for name in rounds[0]}


RATIOS = ["seconds", "pictures_per_second"]
COLUMNS = {
    "seconds": ("seconds", ".1f", 1),
    "pictures": ("pictures", ".0f", 1),
    "others_kept": ("others kept", ".0f", 1),
    "pictures_per_second": ("pictures/s", ".1f", 1),
    "requests": ("requests", ".0f", 1),
    "requests_per_url": ("per URL", ".3f", 1),
    "most_connections_of_a_host": ("connections", ".0f", 1),
    "requests_to_a_waiting_host": ("in host's wait", ".0f", 1),
    "requests_of_a_waiting_photo": ("in URL's wait", ".0f", 1),
    "processor_seconds": ("CPU s", ".1f", 1),
    "peak_bytes": ("MB", ".0f", 1e6),
}


Figures = dict[str, dict[str, float]]


def show(title: str, scene: Scene, faults: dict[str, int], medians: Figures, ratios: Figures) -> None:
    where = f"{scene.urls:,} URLs, {scene.hosts} host(s), {1000 * scene.latency:.0f} ms latency"
    print(f"\n{title}: {where}; " + (", ".join(f"{count} {kind}" for kind, count in faults.items()) or "no faults"))
    fewest = scene.fewest_requests()
    least = fewest * scene.latency / scene.hosts / 8
    print(f"may be had: {len(scene.lawful()):,}; fewest requests: {fewest:,}, {fewest / scene.urls:.3f} per URL")
    print(f"8 connections to a host need {least:.1f} s for these; silent photos and waits come on top")
    widths = {name: max(len(head) + 2, 9) for name, (head, _, _) in COLUMNS.items()}
    print(f"{'':14}" + "".join(f"{head:>{widths[name]}}" for name, (head, _, _) in COLUMNS.items()))
    for tool, values in medians.items():
        cells = [f"{values[name] / unit:>{widths[name]}{form}}" for name, (_, form, unit) in COLUMNS.items()]
        print(f"{tool:14}" + "".join(cells))
    for tool, ratio in ratios.items():
        speed = ratio["pictures_per_second"]
        print(f"hangtag to {tool}: {ratio['seconds']:.2f} of its time, {speed:.2f} times its pictures a second")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["one-host", "many-hosts", "memory"], help="as a rule all three")
    parser.add_argument("--quick", action="store_true", help="a tenth of the URLs")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tools", default="hangtag,img2dataset 2,img2dataset 0", help="the number is of retries")
    for name, value in (("--processes", 2), ("--threads", 64)):
        parser.add_argument(name, type=int, default=value, help="of img2dataset; threads of each process")
    parser.add_argument("--kinds", default=Scene.kinds, help="of faults, with commas")
    parser.add_argument("--hangtag", default="", metavar="OPTIONS", help="more options of hangtag fetch")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-fetch"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.work = options.work.resolve()
    tools, few = options.tools.split(","), 10 if options.quick else 1
    parts = {}
    if options.part in (None, "one-host"):
        parts["one_host"] = compare("one host", tools, Scene(1000 // few, 1, kinds=options.kinds), options)
    if options.part in (None, "many-hosts"):
        retrying = [tool for tool in tools if tool != "img2dataset 0"]
        for name, share in (("many_hosts", 0.0), ("many_hosts_faulty", 0.1)):
            scene = Scene(4000 // few, 40, faults=share, kinds=options.kinds)
            parts[name] = compare(name.replace("_", " "), retrying, scene, options)
    if options.part in (None, "memory"):
        scene = Scene(100_000 // few, 40, latency=0, faults=0, small=True)
        parts["memory"] = compare("memory", tools[:1], scene, options)

    from hangtag.training.environment import environment

    print(json.dumps({"benchmark": "fetch", "environment": environment(), "rounds": options.rounds, **parts}))


if __name__ == "__main__":
    main()
