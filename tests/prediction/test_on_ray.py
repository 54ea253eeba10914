"""`hangtag predict --ray`: a real Ray of two workers on this machine gives what is given without it, byte for byte."""

import sys

import pyarrow
import pytest
from conftest import hangtag
from forked import Command, forkable
from pyarrow import parquet

from hangtag.catalogue import open_catalogue
from hangtag.prediction.on_ray import _tasks

BATCH = ("--batch-size", 2)


@pytest.fixture(scope="module")
def table(small_catalogue, tmp_path_factory):
    """Pictures as bytes, one of them none, and a column of the shop's own."""
    catalogue = open_catalogue(small_catalogue)
    data = [catalogue.image_path(row).read_bytes() for row in catalogue.rows[:20]]
    data[9] = b"no picture"
    path = tmp_path_factory.mktemp("table") / "shop.parquet"
    parquet.write_table(pyarrow.table({"photo": data, "sku": [f"S{n}" for n in range(20)]}), path, row_group_size=5)
    return path


def test_two_workers_write_what_one_process_writes_also_when_they_were_killed(small_run, table, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray gives each worker; sums are rounded by how they are divided
    line = ("predict", small_run, table, "--image-column", "photo", "--keep", "sku", *BATCH, "--out")
    hangtag(*line, tmp_path / "alone.parquet", code=1)
    on_ray = (*line, tmp_path / "ray.parquet", "--ray", "local", "--workers", 2)
    dies = {"dies_at": "hangtag.journal:Lines.append", "nth": 3}
    assert Command(forkable(), tmp_path / "said", *on_ray, **dies).wait() == -9
    assert (tmp_path / "ray.parquet.part").read_bytes().count(b"\n") == 2
    done = hangtag(*on_ray, code=1)
    assert not (tmp_path / "ray.parquet.part").exists()
    assert "1 of 20 pictures have no tag" in done.stderr
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    rows = parquet.read_table(tmp_path / "ray.parquet").to_pylist()
    assert [(row["row"], row["sku"]) for row in rows] == [(n + 1, f"S{n}") for n in range(20)]
    assert [row["row"] for row in rows if row["error"]] == [10]
    noise = [line for line in done.stderr.splitlines() if not line.startswith(("hangtag: ", "writing tags: "))]
    assert all("Set ray log level" in line for line in noise), "Ray says that it says nothing, and nothing else"


def test_a_cluster_that_is_not_there_and_a_library_that_is_not_installed_are_said(
    small_run, table, monkeypatch, tmp_path
):
    line = ("predict", small_run, table, "--image-column", "photo")
    done = hangtag(*line, "--ray", "127.0.0.1:1", code=2)
    assert "--ray 127.0.0.1:1: no Ray cluster answers there" in done.stderr
    (tmp_path / "ray.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    done = hangtag(*line, "--ray", "local", code=2, anew=True)
    assert "pip install 'hangtag[ray]'" in done.stderr


def test_windows_are_divided_among_the_workers():
    windows = [(n, n + 1) for n in range(100)]
    assert len(_tasks(windows[:3], 2)) == 3
    assert len(_tasks(windows, 2)) == 13
    assert len(_tasks(windows, 50)) == 100
