"""`hangtag predict` as a person runs it: every kind of input and output, killed and gone on with, and bad pictures."""

import csv
import json
import os
import pty
import select
import shutil
import signal
import threading
import time

import pytest
from conftest import hangtag
from forked import Command, forkable
from PIL import Image
from pyarrow import parquet
from servers import Server, ok, status

import hangtag as package
from hangtag.catalogue import open_catalogue

ROWS, BATCH = 20, ("--batch-size", 2)  # a window is four batches, so there are three
RECORD = ["fields", "confidence", "numbers", "raw", "error", "calibrated"]


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def shop(small_catalogue, tmp_path_factory):
    """A catalogue's folder of a few rows."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "images").mkdir()
    lines = (small_catalogue / "metadata.csv").read_text().splitlines()[: ROWS + 1]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    for line in lines[1:]:
        name = line.partition(",")[0]
        shutil.copy(small_catalogue / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def pictures(shop):
    catalogue = open_catalogue(shop)
    return [catalogue.image_path(row) for row in catalogue.rows]


@pytest.fixture(scope="module")
def whole(small_run, shop, tmp_path_factory):
    """All rows of the catalogue, written without a break, in each form."""
    folder = tmp_path_factory.mktemp("whole")
    for suffix in ("jsonl", "csv", "parquet"):
        done = hangtag("predict", small_run, shop, *BATCH, "--out", folder / f"tags.{suffix}")
        assert done.stdout == ""
        assert f"20 rows in {folder / f'tags.{suffix}'}" in done.stderr
    assert len(list(folder.iterdir())) == 3, "something is left beside the files"
    return folder


def test_a_picture_is_a_json_line_and_python_gives_the_same(small_run, pictures):
    found = lines(hangtag("predict", small_run, *pictures[:3]).stdout)
    assert [list(each) for each in found] == [["path", *RECORD]] * 3
    assert [each["path"] for each in found] == list(map(str, pictures[:3]))
    assert found == [
        {"path": str(path)} | tag.record()
        for path, tag in zip(pictures[:3], package.load(small_run).tags(pictures[:3]), strict=True)
    ]


def test_the_three_forms_of_file_hold_the_same(whole, shop):
    records = lines((whole / "tags.jsonl").read_text())
    names = [row["file_name"] for row in open_catalogue(shop).rows]
    assert [(each["row"], each["path"]) for each in records] == list(enumerate(names, 1))
    table = parquet.read_table(whole / "tags.parquet")
    with open(whole / "tags.csv", newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert table.column_names == list(cells[0]) == [
        "row", "path", "url", "title", "title_confidence", "category3_code", "category3_code_confidence",
        "full_price", "full_price_confidence", "full_price_estimate", "full_price_low", "full_price_high",
        "raw", "error", "calibrated",
    ]  # fmt: skip
    for record, row, cell in zip(records, table.to_pylist(), cells, strict=True):
        assert record["fields"] == {name: row[name] for name in record["fields"]}
        assert record["numbers"]["full_price"]["high"] == row["full_price_high"] == float(cell["full_price_high"])
        assert record["confidence"]["title"] == row["title_confidence"] == float(cell["title_confidence"])
        assert (row["error"], cell["error"], cell["calibrated"]) == (None, "", "false")


@pytest.mark.parametrize(
    ("suffix", "moment", "nth"),
    [
        ("jsonl", "hangtag.journal:Lines.append", 1),
        ("jsonl", "hangtag.journal:Lines.append", 4),
        ("csv", "hangtag.journal:os.fsync", 3),
        ("parquet", "hangtag.files:os.replace", 1),
        ("csv", "hangtag.prediction.output:part_of", 2),
    ],
)
def test_what_was_killed_goes_on_and_ends_as_what_was_not(small_run, shop, whole, tmp_path, suffix, moment, nth):
    out, part = tmp_path / f"tags.{suffix}", tmp_path / f"tags.{suffix}.part"
    line = ("predict", small_run, shop, *BATCH, "--out", out)
    assert Command(forkable(), tmp_path / "said", *line, dies_at=moment, nth=nth).wait() == -9
    assert part.exists()
    before = part.read_bytes()
    if nth == 4:  # and its last line was only half on disk
        part.write_bytes(before[:-10])
    done = hangtag(*line)
    assert out.read_bytes() == (whole / f"tags.{suffix}").read_bytes()
    assert not part.exists()
    assert "a second" not in done.stderr
    refused = hangtag(*line, code=2)
    assert "is there already" in refused.stderr


@pytest.mark.parametrize(("out", "nth"), [("tags.jsonl", 1), ("tags.csv", 3), (None, 1)])
def test_after_ctrl_c_the_same_command_goes_on(small_run, shop, whole, tmp_path, out, nth):
    """The signal reaches the processes beside the first one, too, as a terminal's does."""
    written = ("--out", tmp_path / out) if out else ()
    line = ("predict", small_run, shop, *BATCH, *written)
    moment = "hangtag.journal:Lines.append" if out else "hangtag.prediction.predict:windows"
    said = tmp_path / "said"
    assert Command(forkable(), said, *line, dies_at=moment, nth=nth, signals=[signal.SIGINT]).wait() == 130
    last = said.read_text().splitlines()[-1]
    assert last == "hangtag: stopped" + ("; the same command goes on where it was" if out else "")
    assert "Traceback" not in said.read_text()
    if out:
        assert not (tmp_path / out).exists()
        assert len((tmp_path / f"{out}.part").read_bytes().splitlines()) >= nth - 1
        hangtag(*line)
        assert (tmp_path / out).read_bytes() == (whole / out).read_bytes()


def test_what_is_asked_of_others_does_not_go_on(small_run, shop, tmp_path):
    out = tmp_path / "tags.jsonl"
    line = ("predict", small_run, shop, *BATCH, "--out", out)
    append = {"dies_at": "hangtag.journal:Lines.append", "nth": 3}
    assert Command(forkable(), tmp_path / "said", *line, **append).wait() == -9
    before = (tmp_path / "tags.jsonl.part").read_bytes()
    assert before.count(b"\n") == 2
    for other in (["--split", "test"], ["--batch-size", 3]):
        refused = hangtag(*line, *other, code=2)
        assert f"{out}.part was begun with another" in refused.stderr
        assert "choose another --out, or remove it" in refused.stderr
    assert (tmp_path / "tags.jsonl.part").read_bytes() == before


def bad_pictures(folder):
    """Files of each kind that goes wrong, and some that only look as if they would; names of the latter."""
    Image.new("RGB", (40, 30), "red").save(folder / "a good.png")
    Image.new("CMYK", (40, 30), (0, 200, 200, 0)).save(folder / "b cmyk.jpg")
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "c moves.gif", save_all=True, append_images=frames[1:])
    (folder / "d text.jpg").write_text("no picture at all")
    (folder / "e heic.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    Image.new("1", (20_000, 20_000)).save(folder / "f vast.png")
    Image.new("RGB", (3, 900)).save(folder / "g flat.png")
    (folder / "h empty.jpg").touch()
    (folder / "i cut.png").write_bytes((folder / "a good.png").read_bytes()[:60])
    return ["a good.png", "b cmyk.jpg", "c moves.gif"]


def test_a_bad_picture_is_a_line_with_its_error_and_the_exit_code_says_so(small_run, tmp_path):
    good = bad_pictures(tmp_path)
    done = hangtag("predict", small_run, tmp_path, "--json", code=1)
    found = {os.path.basename(each["path"]): each for each in lines(done.stdout)}
    assert len(found) == 9
    assert [name for name, each in found.items() if each["error"] is None] == good
    assert all(set(each["fields"]) == {"title", "category3_code", "full_price"} for each in map(found.get, good))
    for name, words in {
        "d text.jpg": "holds no picture",
        "e heic.jpg": "HEIC",
        "f vast.png": "more pixels than can be decoded",
        "g flat.png": "sides may differ 100 times",
        "h empty.jpg": "is empty",
        "i cut.png": "is truncated",
    }.items():
        assert words in found[name]["error"]
        assert found[name]["fields"] is found[name]["raw"] is None
    assert "6 of 9 pictures have no tag, each with its error; the first: " in done.stderr


def test_a_tables_urls_are_fetched_into_memory_alone(small_run, pictures, tmp_path):
    picture = pictures[0].read_bytes()
    with Server({"/a.jpg": ok(picture), "/web.jpg": ok(b"<html>"), "/gone.jpg": status(404)}) as server:
        urls = [server.url(f"/{name}.jpg") for name in ("a", "gone", "a", "web")]
        table = tmp_path / "shop.csv"
        table.write_text("sku,title,photo\n" + "".join(f"=S{n},T{n},{url}\n" for n, url in enumerate(urls)))
        line = ("predict", small_run, table, "--image-column", "photo", "--keep", "sku,title")
        refused = hangtag(*line, "--out", tmp_path / "private.jsonl", code=1)
        assert "4 of 4 pictures have no tag" in refused.stderr
        assert "--allow-private" in refused.stderr
        assert server.paths() == []
        hangtag(*line, "--allow-private", "--out", tmp_path / "tags.csv", code=1)
        assert sorted(server.paths()) == ["/a.jpg", "/gone.jpg", "/robots.txt", "/web.jpg"]
    with open(tmp_path / "tags.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["sku"] for row in rows] == ["'=S0", "'=S1", "'=S2", "'=S3"], "a spreadsheet would run it"
    assert [row["title_source"] for row in rows] == ["T0", "T1", "T2", "T3"]
    assert [bool(row["title"]) for row in rows] == [True, False, True, False]
    assert rows[0]["raw"] == rows[2]["raw"]
    assert "404" in rows[1]["error"]
    assert "a web page" in rows[3]["error"]
    assert sorted(os.listdir(tmp_path)) == ["private.jsonl", "shop.csv", "tags.csv"]


def test_a_list_on_stdin_and_a_reader_that_leaves(small_run, pictures, tmp_path):
    listed = tmp_path / "list"
    listed.write_text("".join(f"{path}\n" for path in pictures))
    said = tmp_path / "said"
    command = Command(forkable(), said, "predict", small_run, "-", *BATCH, stdin=str(listed), errors=tmp_path / "told")
    assert command.wait() == 0
    assert [each["path"] for each in lines(said.read_text())] == list(map(str, pictures))

    os.mkfifo(tmp_path / "pipe")
    first = []

    def head():
        with open(tmp_path / "pipe") as pipe:
            first.append(pipe.readline())

    reader = threading.Thread(target=head)
    reader.start()
    line = ("predict", small_run, "-", *BATCH)
    left = Command(forkable(), tmp_path / "pipe", *line, stdin=str(listed), errors=tmp_path / "told")
    assert left.wait() in (0, 1)
    reader.join()
    assert lines(first[0]) == lines(said.read_text())[:1]
    assert "rror" not in (tmp_path / "told").read_text()


def test_a_terminal_gets_a_table_whose_columns_stay_in_place(small_run, pictures, tmp_path):
    main, other = pty.openpty()
    shop = pictures[0].parent  # whose short names are not broken into lines
    line = ("predict", small_run, *(each.name for each in pictures[:9]), *BATCH)
    command = Command(forkable(), os.ttyname(other), *line, errors=tmp_path / "told", cwd=shop)
    assert command.wait() == 0
    shown = b""
    while select.select([main], [], [], 0)[0]:
        shown += os.read(main, 65536)
    os.close(main)
    os.close(other)
    text = shown.decode()
    assert text.count("category3_code") == 1
    assert text.count(".jpg") == 9
    assert " to " in text
    assert (tmp_path / "told").read_text() == ""


def test_wrong_use_is_said_before_anything_is_loaded(small_run, small_catalogue, pictures, tmp_path):
    def refused(*line, code=2):
        return hangtag("predict", *line, code=code).stderr

    assert ".jsonl, .csv, .parquet" in refused(small_run, pictures[0], "--out", tmp_path / "tags.xlsx")
    assert "there is no folder" in refused(small_run, pictures[0], "--out", tmp_path / "no" / "tags.csv")
    assert "no such file, folder or pattern: nothing/*.jpg" in refused(small_run, "nothing/*.jpg")
    (tmp_path / "empty").mkdir()
    assert "no pictures found" in refused(small_run, tmp_path / "empty", code=1)
    (tmp_path / "shop.csv").write_text("photo\na.jpg\n")
    assert "no column 'imageurl'" in refused(small_run, tmp_path / "shop.csv", code=1)
    assert "there is no run folder" in refused(tmp_path / "run", pictures[0], code=1)
    shutil.copytree(small_run, tmp_path / "training", ignore=shutil.ignore_patterns("model"))
    assert "has no trained model yet" in refused(tmp_path / "training", pictures[0], code=1)
    assert "did you mean 'test'" in refused(small_run, small_catalogue, "--split", "tset")


def test_processes_give_what_one_gives_and_none_outlives_the_first(small_run, shop, whole, tmp_path):
    from hangtag.prediction import processes
    from hangtag.prediction.inputs import Choice, open_inputs
    from hangtag.prediction.predict import Job, records

    tagger = package.load(small_run)
    job = Job(small_run, open_inputs([str(shop)], Choice()), batch_size=2)
    alone = [each for window in records(tagger, job, job.windows()) for each in window]
    several = [each for window in processes.process_records(tagger, job, job.windows(), 3) for each in window]
    assert [each["raw"] for each in several] == [each["raw"] for each in alone]
    assert [each["path"] for each in several] == [each["path"] for each in alone]

    line = ("predict", small_run, shop, *BATCH, "--out", tmp_path / "tags.jsonl")
    signals = {"dies_at": "hangtag.prediction.output:Output.add", "nth": 1, "signals": []}
    command = Command(forkable(), tmp_path / "said", *line, **signals)
    workers = []
    while not workers and command.running():
        workers = command.workers()
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait() == -9
    ended = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{each}") for each in workers):
        assert time.monotonic() < ended, "a process is left"
        time.sleep(0.05)
