"""`hangtag fetch` beside img2dataset, on a server of this machine with latency and faults (photo_server.py).

    python benchmarks/fetch.py [--part one-host|many-hosts|memory] [--quick] [--rounds 1]

one-host     1,000 photos on one host, 100 ms latency, 10 % faulty: img2dataset with 2 retries and with none
many-hosts   4,000 photos on 40 hosts, the same latency; without faults, and with 10 %
memory       100,000 small photos on 40 hosts, no latency: the most memory that hangtag held

img2dataset lives in a venv of its own under --work, which also keeps the photos; it checks certificates, headers and
hashes as it does by default, but reads no EXIF and does not compress again. A picture counts as obtained if its file has
the very bytes of a photo that may be had. Prints a table a part and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
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
LIMIT_SECONDS = 1800


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
        print(f"installing img2dataset in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
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
    # loopback addresses are never asked of a proxy, and nothing looks for updates of itself
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "PYTHONWARNINGS": "ignore"}
    peak = 0
    before = os.times()
    start = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen([str(each) for each in command], stdout=file, stderr=file, env=environment)
    ended = threading.Event()
    watched = psutil.Process(process.pid)

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.2):
            try:
                together = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(each.memory_info().rss for each in together))
            except psutil.Error:
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        code = process.wait(LIMIT_SECONDS)
        seconds = time.perf_counter() - start
    finally:
        process.kill()
        ended.set()
        thread.join()
    if code:
        raise SystemExit(f"{shlex.join(map(str, command))} ended with {code}:\n{log.read_text()[-3000:]}")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "processor_seconds": used, "peak_bytes": peak}


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
    work = options.work
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    table = work / "products.csv"
    program = img2dataset_venv(work)
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
    same = 0
    for url, path in kept.items():
        number = numbers[url]
        wanted = hashlib.sha256(scene.photo(number, work / "photos")).digest()
        same += number in lawful and hashlib.sha256(path.read_bytes()).digest() == wanted
    result |= {"pictures": same, "others_kept": len(kept) - same, **server.counts}
    result["requests_per_url"] = server.counts["requests"] / scene.urls
    result["pictures_per_second"] = same / result["seconds"]
    return result


def compare(title: str, tools: list[str], scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """Every tool in every round; a table of medians, and the ratios of time and speed to the last tool's."""
    rounds = [{tool: measure(tool, scene, options) for tool in tools} for _ in range(options.rounds)]
    middle = {
        tool: {name: statistics.median(each[tool][name] for each in rounds) for name in rounds[0][tool]}
        for tool in tools
    }
    faults = dict(Counter(scene.faulty().values()))
    print(f"\n{title}: {scene.urls:,} URLs on {scene.hosts} hosts, {1000 * scene.latency:.0f} ms latency", end="; ")
    print(", ".join(f"{count} {kind}" for kind, count in faults.items()) or "no faults")
    print(f"may be had: {len(scene.lawful())}; fewest requests: {scene.fewest_requests()}", end="; ")
    print(f"rounds: {options.rounds}")
    columns = {
        "seconds": ("seconds", ".1f"),
        "pictures": ("pictures", ".0f"),
        "others_kept": ("others kept", ".0f"),
        "pictures_per_second": ("pictures/s", ".1f"),
        "requests": ("requests", ".0f"),
        "requests_per_url": ("per URL", ".3f"),
        "most_connections_of_a_host": ("connections", ".0f"),
        "requests_to_a_waiting_host": ("in host's wait", ".0f"),
        "requests_of_a_waiting_photo": ("in URL's wait", ".0f"),
        "processor_seconds": ("CPU s", ".1f"),
        "peak_bytes": ("MB", ".0f"),
    }
    print(f"{'':14}" + "".join(f"{head:>{max(len(head) + 2, 9)}}" for head, _ in columns.values()))
    for tool, values in middle.items():
        cells = [
            f"{values[name] / (1e6 if head == 'MB' else 1):>{max(len(head) + 2, 9)}{form}}"
            for name, (head, form) in columns.items()
        ]
        print(f"{tool:14}" + "".join(cells))
    ratios = {
        tool: {
            "time": statistics.median(each["hangtag"]["seconds"] / each[tool]["seconds"] for each in rounds),
            "speed": statistics.median(
                each["hangtag"]["pictures_per_second"] / each[tool]["pictures_per_second"] for each in rounds
            ),
        }
        for tool in tools
        if tool != "hangtag" and "hangtag" in tools
    }
    for tool, ratio in ratios.items():
        print(f"hangtag to {tool}: {ratio['time']:.2f} of its time, {ratio['speed']:.2f} times its pictures a second")
    sys.stdout.flush()
    return {"scene": vars(scene) | {"faults": faults}, "tools": middle, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["one-host", "many-hosts", "memory"], help="as a rule all three")
    parser.add_argument("--quick", action="store_true", help="a tenth of the URLs")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tools", default="hangtag,img2dataset 2,img2dataset 0", help="the number: of retries")
    parser.add_argument("--threads", type=int, default=64, help="of img2dataset, each process")
    parser.add_argument("--processes", type=int, default=2, help="of img2dataset")
    parser.add_argument("--kinds", default=Scene.kinds, help="of faults, with commas")
    parser.add_argument("--hangtag", default="", metavar="OPTIONS", help="more options of hangtag fetch")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-fetch"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.work = options.work.resolve()
    tools = options.tools.split(",")
    few = 10 if options.quick else 1
    photo_server.make_photos(options.work / "photos", 4000 // few)

    parts: dict[str, Any] = {}
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
