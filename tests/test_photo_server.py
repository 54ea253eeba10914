"""The benchmark's photo server: every kind of fault as its page says, and what it counts."""

import http.client
import importlib.util
import io
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

SERVER = Path(__file__).parents[1] / "benchmarks" / "photo_server.py"
LATENCY = 0.05


@pytest.fixture(scope="module")
def photo_server():
    spec = importlib.util.spec_from_file_location("photo_server", SERVER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def started(urls, faults, hosts=1):
    """A server of small photos; the dictionary has its port and, afterwards, its counts."""
    command = [sys.executable, SERVER, ".", "--small", f"--latency={LATENCY}"]
    command += [f"--urls={urls}", f"--faults={faults}", f"--hosts={hosts}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            state = json.loads(process.stdout.readline())
            yield state
            state |= json.loads(process.communicate(timeout=20)[0])
        finally:
            process.kill()


@contextmanager
def connected(port, host="127.0.1.1", timeout=10.0):
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    connection.connect()
    yield connection
    connection.close()


def get(port, number, timeout=10.0):
    """Status, headers and body, or the error that the client sees."""
    with connected(port, timeout=timeout) as connection:
        try:
            connection.request("GET", f"/photos/{number:06}.jpg")
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return type(error)


def test_every_fault_is_what_its_name_says(photo_server):
    kinds = photo_server.PERMANENT + photo_server.TRANSIENT
    number_of = {kind: number for number, kind in photo_server.draw_faults(24, 0.5, 0, kinds).items()}
    assert sorted(number_of) == sorted(kinds)
    with started(24, 0.5) as server:
        first, second = (
            {kind: get(server["port"], n, 0.5 if kind in ("dead", "stall") else 10) for kind, n in number_of.items()}
            for _ in range(2)
        )
    photo = {kind: photo_server.small_photo(number) for kind, number in number_of.items()}
    for kind in ("404", "410", "403", "429", "503"):
        assert first[kind][0] == int(kind)
        assert first[kind][1].get("Retry-After") == ("1" if kind in ("429", "503") else None)
    for answers in (first, second):
        assert answers["html"][::2] == (200, photo_server.PAGE)
        status, headers, body = answers["truncated"]
        assert (status, int(headers["Content-Length"])) == (200, len(body))
        assert len(body) < len(photo["truncated"])
        assert photo["truncated"].startswith(body)
        assert answers["noai"][1]["X-Robots-Tag"] == "noai"
        assert answers["noai"][::2] == (200, photo["noai"])
        assert answers["dead"] is TimeoutError
    assert first["stall"] is TimeoutError
    assert first["reset"] is ConnectionResetError
    assert first["short"] is http.client.IncompleteRead
    for kind in photo_server.TRANSIENT:
        assert second[kind][::2] == (200, photo[kind])
    for kind in ("404", "410", "403"):
        assert second[kind][0] == int(kind)
    assert server["photo_requests"] == 24
    assert server["most_requests_of_a_url"] == 2


def test_it_counts_requests_and_open_connections(photo_server):
    with started(4, 0, hosts=2) as server:
        with connected(server["port"]) as one, connected(server["port"]), connected(server["port"], "127.0.1.2"):
            begin = time.perf_counter()
            for path in ("/robots.txt", "/photos/000000.jpg", "/photos/000002.jpg", "/photos/000009.jpg"):
                one.request("GET", path)
                answer = one.getresponse()
                answer.read()
                assert answer.status == (404 if "9" in path else 200)
            assert time.perf_counter() - begin >= 4 * LATENCY
        for _ in range(5):  # one after the other: never more than one is open
            assert get(server["port"], 1)[0] == 200
    assert server["most_connections_of_a_host"] == 2
    assert server["hosts_asked"] == 2
    assert (server["requests"], server["photo_requests"], server["robots_requests"]) == (9, 7, 1)
    assert (server["urls_asked"], server["most_requests_of_a_url"]) == (3, 5)


def test_it_counts_who_does_not_wait(photo_server):
    faults = photo_server.draw_faults(24, 0.5, 0, photo_server.PERMANENT + photo_server.TRANSIENT)
    busy = next(number for number, kind in faults.items() if kind == "429")
    fine = next(number for number in range(24) if number not in faults)
    with started(24, 0.5) as patient:
        assert get(patient["port"], busy)[0] == 429
        time.sleep(1)
        assert get(patient["port"], busy)[0] == 200
    assert (patient["requests_of_a_waiting_photo"], patient["requests_to_a_waiting_host"]) == (0, 0)
    with started(24, 0.5) as hasty:
        assert get(hasty["port"], busy)[0] == 429
        time.sleep(0.1)
        assert get(hasty["port"], busy)[0] == 200
        assert get(hasty["port"], fine)[0] == 200
    assert (hasty["requests_of_a_waiting_photo"], hasty["requests_to_a_waiting_host"]) == (1, 2)


def test_no_two_photos_are_alike(photo_server, tmp_path):
    assert len({photo_server.small_photo(number) for number in range(300)}) == 300
    photo_server.make_photos(tmp_path, 5)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(set(made.values())) == 5
    assert sorted(made) == [f"{number:06}.jpg" for number in range(5)]
    for data in made.values():
        with Image.open(io.BytesIO(data)) as image:
            assert 700 <= min(image.size) <= max(image.size) <= 1000
        assert 60_000 < len(data) < 160_000
