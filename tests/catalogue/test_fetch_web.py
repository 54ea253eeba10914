"""fetch over a network that misbehaves: the command as a person would run it, killed, without room, run again."""

import csv
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import time
import zlib
from collections import Counter, defaultdict
from functools import partial

import datasets
import numpy
import pyarrow
import pytest
from conftest import HANGTAG, hangtag
from disks import small_disk
from PIL import Image
from pyarrow import parquet
from servers import Hub, Reset, Server, ok, status

from hangtag.catalogue import open_catalogue
from hangtag.catalogue.fetch import fetch
from hangtag.catalogue.gather import Bounds
from hangtag.catalogue.pictures import encode_picture
from hangtag.catalogue.render import render, studio
from hangtag.catalogue.synth import invent
from hangtag.catalogue.web import Limits
from hangtag.errors import DataError, OutputNotEmpty, TableError, UsageError

LOCAL = Bounds(web=Limits(allow_private=True, first_wait=0.05, first_byte=1))
DBQ = [
    "website_name", "competence_date", "country_code", "currency_code", "brand", "category1_code", "category2_code",
    "category3_code", "product_code", "title", "itemurl", "imageurl", "full_price", "price", "full_price_eur",
    "price_eur", "flg_discount",
]  # fmt: skip


def picture(number, form="JPEG", size=(64, 48), **options):
    """Bytes of a picture unlike every other."""
    noise = numpy.random.default_rng(number).integers(0, 256, (6, 8, 3), numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(file, form, **options)
    return file.getvalue()


def write_table(path, columns, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def table_of(folder, urls, column="url"):
    return write_table(folder / "shop.csv", [column, "title"], [[url, f"Tote {i}"] for i, url in enumerate(urls)])


def rejected(out):
    with open(out / "rejected.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder, *but):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in but
    }


def test_every_row_is_kept_or_explained(tmp_path):
    whole = picture(1)
    routes = {
        "/good": whole,
        "/png": picture(2, "PNG"),
        "/again": lambda number: status(503) if number < 3 else picture(3),
        "/same": whole,
        "/moved": status(301, location="/good"),
        "/gone": status(410),
        "/page": ok(b"<!doctype html><title>Not found</title>"),
        "/drawing": ok(b'<svg xmlns="http://www.w3.org/2000/svg"/>', content_type="image/jpeg"),
        "/cut": ok(whole[: len(whole) // 2]),
        "/large": ok(b"", content_length=10_000_000_000),
        "/bomb": bomb(),
        "/loop": status(302, location="/loop"),
        "/noai": ok(whole, x_robots_tag="noai"),
        "/reset": Reset(),
    }
    with Server(routes) as server:
        urls = [server.url(path) for path in routes]
        urls += ["N.A.", "file:///etc/passwd", "http://nowhere.invalid/x", urls[0] + "#top", "http://"]
        table = table_of(tmp_path, urls)
        info = fetch(table, tmp_path / "out", "url", bounds=LOCAL)
    rows = open_catalogue(tmp_path / "out").rows
    assert [row["title"] for row in rows] == ["Tote 0", "Tote 1", "Tote 2", "Tote 3", "Tote 4", "Tote 17"]
    assert len({row["file_name"] for row in rows}) == 3
    assert (tmp_path / "out" / rows[0]["file_name"]).read_bytes() == whole
    assert [(bad["reason"], bad["attempts"]) for bad in rejected(tmp_path / "out")] == [
        ("http-410", "1"),
        ("not-a-picture", "1"),
        ("not-a-picture", "1"),
        ("truncated", "1"),
        ("too-large", "1"),
        ("too-large", "1"),
        ("redirects", "1"),
        ("noai", "1"),
        ("broken-off", "3"),
        ("empty", "0"),
        ("scheme", "0"),
        ("no-host", "1"),
        ("bad-url", "0"),
    ]
    assert server.counts["/good"] == 2  # once for itself, once for /moved
    assert info["counts"]["rejected"] == 13
    assert {path.name for path in tmp_path.iterdir()} == {"shop.csv", "out"}


def bomb():
    """A PNG that says it has 60,000 x 60,000 pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("moment", [0.15, 0.45, 0.75])
def test_killed_and_run_again_it_ends_as_an_unbroken_run(tmp_path, moment):
    """kill -9 after a share of the pictures; then only what is missing is asked for."""
    count = 120
    routes = {f"/{number}": picture(number % 100) for number in range(count)}
    routes |= {f"/{number}": status(404) for number in range(0, count, 11)}
    routes |= {f"/{number}": status(503) for number in range(5, count, 40)}
    with Server(routes, latency=0.03) as server:
        table = table_of(tmp_path, [server.url(path) for path in routes])
        options = ["--image-column", "url", "--allow-private"]
        hangtag("fetch", table, tmp_path / "unbroken", *options)
        server.requests.clear()
        run = subprocess.Popen([HANGTAG, "fetch", table, tmp_path / "out", *options], stderr=subprocess.PIPE)
        journal = tmp_path / "out/fetched.jsonl"
        while not journal.exists() or journal.read_bytes().count(b"\n") < moment * count:
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stderr.close()
        assert not (tmp_path / "out/metadata.csv").exists()
        known = {json.loads(line)["place"] for line in journal.read_text().rpartition("\n")[0].splitlines()[1:]}
        asked = len(server.requests)
        hangtag("fetch", table, tmp_path / "out", *options)
        again = {server.url(path) for path in server.paths()[asked:]} - {server.url("/robots.txt")}
    assert not again & known
    assert again | known == {server.url(path) for path in routes}
    assert contents(tmp_path / "out", "fetched.jsonl") == contents(tmp_path / "unbroken", "fetched.jsonl")
    lines = [sorted((tmp_path / name / "fetched.jsonl").read_text().splitlines()) for name in ("out", "unbroken")]
    assert lines[0] == lines[1]


def test_a_finished_catalogue_grows_with_its_table_and_tries_rejected_rows_only_when_asked(tmp_path):
    routes = {f"/{number}": picture(number) for number in range(6)}
    with Server({**routes, "/2": status(404), "/3": Reset()}) as server:
        urls = [server.url(path) for path in routes]
        table = table_of(tmp_path, urls[:4])
        first = fetch(table, tmp_path / "out", "url", bounds=LOCAL)
        assert (first["counts"]["rows"], first["reasons"]) == (2, {"http-404": 1, "broken-off": 1})
        server.routes = routes
        server.counts.clear()
        table_of(tmp_path, urls[1:])
        fetch(table, tmp_path / "out", "url", bounds=LOCAL)
        assert server.counts == {"/robots.txt": 1, "/4": 1, "/5": 1}
        assert len(open_catalogue(tmp_path / "out").rows) == 3
        assert len(list((tmp_path / "out/images").iterdir())) == 3  # the first row's has left with it
        server.counts.clear()
        info = fetch(table, tmp_path / "out", "url", retry_rejected=True, bounds=LOCAL)
        assert server.counts == {"/robots.txt": 1, "/2": 1, "/3": 1}
        assert info["counts"] == {**info["counts"], "rows": 5, "rejected": 0}
        server.counts.clear()
        before = contents(tmp_path / "out")
        fetch(table, tmp_path / "out", "url", retry_rejected=True, bounds=LOCAL)
        assert not server.counts
        assert contents(tmp_path / "out") == before
        (tmp_path / "out" / open_catalogue(tmp_path / "out").rows[0]["file_name"]).write_bytes(b"short")
        fetch(table, tmp_path / "out", "url", bounds=LOCAL)
        assert server.counts == {"/robots.txt": 1, "/1": 1}
        assert contents(tmp_path / "out", "fetched.jsonl") == {
            name: data for name, data in before.items() if name != "fetched.jsonl"
        }


def test_a_folder_belongs_to_one_table_one_size_and_one_process(tmp_path):
    with Server({"/1": picture(1), "/2": picture(2)}, latency=0.2) as server:
        table = table_of(tmp_path, [server.url("/1"), server.url("/2")])
        fetch(table, tmp_path / "out", "url", bounds=LOCAL)
        with pytest.raises(UsageError, match="max_side 1024, now 512; choose another folder"):
            fetch(table, tmp_path / "out", "url", bounds=Bounds(max_side=512))
        other = shutil.copy(table, tmp_path / "other.csv")
        with pytest.raises(UsageError, match="source 'shop.csv', now 'other.csv'"):
            fetch(other, tmp_path / "out", "url", bounds=LOCAL)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/thesis.txt").touch()
        with pytest.raises(OutputNotEmpty):
            fetch(table, tmp_path / "mine", "url", bounds=LOCAL)
        command = [HANGTAG, "fetch", table, tmp_path / "two", "--image-column", "url", "--allow-private"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while not server.counts["/2"] > 1:
                time.sleep(0.01)
            with pytest.raises(UsageError, match="another hangtag is fetching into"):
                fetch(table, tmp_path / "two", "url", bounds=LOCAL)
        assert run.returncode == 0
    (tmp_path / "two/fetched.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="does not begin as a journal"):
        fetch(table, tmp_path / "two", "url", bounds=LOCAL)


def test_a_full_disk_is_told_and_what_is_complete_stays(tmp_path):
    count = 60
    routes = {f"/{number}": picture(number, size=(400, 300)) for number in range(count)}
    with Server(routes) as server, small_disk(tmp_path / "disk", 512) as disk:
        table = table_of(tmp_path, [server.url(path) for path in routes])
        options = ["--image-column", "url", "--allow-private"]
        done = hangtag("fetch", table, disk / "out", *options, code=1)
        assert "the disk is full; what is complete so far is kept: run the same command again" in done.stderr
        kept = list((disk / "out/images").iterdir())
        assert 5 < len(kept) < count
        for path in kept:
            assert path.read_bytes() in routes.values()
        subprocess.run(["mount", "-o", "remount,size=8192k", disk], check=True)
        asked = len(server.requests)
        hangtag("fetch", table, disk / "out", *options)
        assert len(server.requests) - asked <= 1 + count - len(kept) + 8
        assert {path.read_bytes() for path in (disk / "out/images").iterdir()} == set(routes.values())


def test_ctrl_c_says_how_to_go_on(tmp_path):
    with Server(default=ok(picture(1)), latency=0.2) as server:
        table = table_of(tmp_path, [server.url(f"/{number}") for number in range(200)])
        command = [HANGTAG, "fetch", table, tmp_path / "out", "--image-column", "url", "--allow-private"]
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # whoever started the tests may have it ignored
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
        ) as run:
            while len(server.requests) < 10:
                time.sleep(0.01)
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=20)
    assert run.returncode == 130
    assert said.strip().splitlines()[-1].endswith("run the same command again and it goes on")
    assert "Traceback" not in said


def dbq_row(number, url, code=None, category="CROSSBODY", title=None, price=100.0, country="USA"):
    return [
        "Burberry", "2023-11-17", country, "USD", "BURBERRY", "WOMAN", "BAGS", category, code or 26_000_000 + number,
        title or f"Medium Bag {number}", f"https://us.shop.example/bag-p{number}", url, price, price,
        f"{price * 0.9225:.2f}", f"{price * 0.9225:.2f}", 0,
    ]  # fmt: skip


def test_a_table_to_the_tutorial_s_columns_in_one_command(tmp_path):
    """N.A. among URLs and categories, no file extensions, prices of 32 to 70,000, EUR columns."""
    pictures = {f"/is/image/Shop/{number:08X}-DC83-4AED": picture(number) for number in range(40)}
    with Server(pictures) as server:
        urls = [server.url(path) for path in pictures]
        rows = [dbq_row(n, url, price=float(32 * 70_000 ** (n / 39) / 32 ** (n / 39))) for n, url in enumerate(urls)]
        rows[3][11], rows[5][7], rows[7][14:16] = "N.A.", "N.A.", ["", ""]
        table = write_table(tmp_path / "burberry.csv", DBQ, rows)
        done = hangtag("fetch", table, tmp_path / "burberry", "--allow-private")
    assert "39 products in" in done.stdout
    assert "1 rejected (1 empty)" in done.stdout
    catalogue = open_catalogue(tmp_path / "burberry")
    assert catalogue.columns == DBQ
    assert catalogue.info["options"]["keys"] == ["product_code", "title"]
    assert (catalogue.rows[0]["full_price"], catalogue.rows[-1]["full_price"]) == ("32.0", "70000.0")
    assert catalogue.rows[4]["category3_code"] == "N.A."
    assert all(path.suffix == ".jpg" for path in (tmp_path / "burberry/images").iterdir())


def test_sister_tables_with_chinese_categories_and_one_product_in_several_countries(tmp_path):
    with Server({f"/{number}": picture(number) for number in range(60)}) as server:
        rows = []
        for number in range(30):
            for country, title in (
                ("CHN", f"中号手袋 {number}"),
                ("FRA", f"Sac moyen {number}"),
                ("USA", f"Bag {number}"),
            ):
                shot = number + 30 * (country == "FRA")  # another country, another picture
                rows.append(dbq_row(number, server.url(f"/{shot}"), category="斜挎包", title=title, country=country))
        table = write_table(tmp_path / "world.csv", DBQ, rows)
        fetch(table, tmp_path / "by_code", keys=["product_code"], bounds=LOCAL)
        info = fetch(table, tmp_path / "out", bounds=LOCAL)
    assert info["counts"]["rows"] == 90
    catalogue = open_catalogue(tmp_path / "out")
    assert {row["category3_code"] for row in catalogue.rows} == {"斜挎包"}
    for out in ("by_code", "out"):
        splits = defaultdict(set)
        for row in open_catalogue(tmp_path / out).rows:
            splits[row["product_code"]].add(row["split"])
        assert all(len(found) == 1 for found in splits.values())


def test_a_data_set_by_name_is_downloaded_from_the_hub(tmp_path):
    """The documented command, word for word, against a server that answers as the Hub does."""
    name = "DBQ/Burberry.Product.prices.United.States"
    with Server({f"/{number}": picture(number) for number in range(12)}) as photos:
        rows = [dbq_row(number, photos.url(f"/{number}")) for number in range(12)]
        columns = {column: [row[place] for row in rows] for place, column in enumerate(DBQ)}
        parquet.write_table(pyarrow.table(columns), tmp_path / "data.parquet")
        with Hub(name, (tmp_path / "data.parquet").read_bytes()) as hub:
            own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
            command = [HANGTAG, "fetch", name, "data/burberry", "--allow-private"]
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **own}, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            command[2:4] = ["DBQ/Nothing.of.the.kind", "data/nothing"]
            failed = subprocess.run(
                command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **own}, check=False
            )
    assert "12 products in data/burberry" in done.stdout
    catalogue = open_catalogue(tmp_path / "data/burberry")
    assert catalogue.columns == DBQ
    assert catalogue.rows[3]["full_price_eur"] == "92.25"
    assert catalogue.info["source"] == name
    assert failed.returncode == 1
    assert "DBQ/Nothing.of.the.kind cannot be loaded as a Hugging Face data set" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "data/nothing").exists()


@pytest.fixture
def photo_set():
    """A Hugging Face data set of pictures, one of them damaged and one absent."""
    features = datasets.Features({"image": datasets.Image(), "title": datasets.Value("string")})
    pictures = [{"bytes": picture(number), "path": f"{number}.jpg"} for number in range(12)]
    pictures[4], pictures[7] = {"bytes": picture(4)[:300], "path": "4.jpg"}, None
    titles = [f"Tote {number}" for number in range(12)]
    return datasets.Dataset.from_dict({"image": pictures, "title": titles}, features=features)


@pytest.mark.parametrize("form", ["saved", "saved in splits", "a Parquet file", "a repository"])
def test_pictures_in_the_table(tmp_path, photo_set, form, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    place = tmp_path / "set"
    if form == "saved":
        photo_set.save_to_disk(place)
    elif form == "saved in splits":
        both = {"train": photo_set.select(range(9)), "test": photo_set.select(range(9, 12))}
        datasets.DatasetDict(both).save_to_disk(place)
    else:
        place.mkdir()
        photo_set.to_parquet(place / "train.parquet")
        if form == "a repository":
            (place / "README.md").write_text(
                "---\nconfigs:\n- config_name: default\n  data_files: train.parquet\n---\n"
            )
    info = fetch(place, tmp_path / "out", "image")
    catalogue = open_catalogue(tmp_path / "out")
    assert [row["title"] for row in catalogue.rows] == [
        f"Tote {number}" for number in range(12) if number not in (4, 7)
    ]
    assert catalogue.image_path(catalogue.rows[0]).read_bytes() == picture(0)
    assert [(bad["row"], bad["reason"], bad["url"]) for bad in rejected(tmp_path / "out")] == [
        ("5", "truncated", "4.jpg"),
        ("8", "empty", ""),
    ]
    if form == "saved in splits":
        assert info["renamed"] == {"image": "image_source", "split": "split_source"}
        assert Counter(row["split_source"] for row in catalogue.rows) == {"train": 7, "test": 3}
    before = contents(tmp_path / "out")
    fetch(place, tmp_path / "out", "image")
    assert contents(tmp_path / "out") == before


def test_several_files_a_pattern_and_a_folder(tmp_path):
    (tmp_path / "shards/photos").mkdir(parents=True)
    for number in range(9):
        (tmp_path / f"shards/photos/{number}.jpg").write_bytes(picture(number))
    for shard in range(3):
        rows = [[f"photos/{shard * 3 + i}.jpg", f"Tote {shard * 3 + i}"] for i in range(3)]
        write_table(tmp_path / f"shards/{shard}.csv", ["photo", "title"], rows)
    for source in (tmp_path / "shards", tmp_path / "shards/*.csv"):
        out = tmp_path / ("pattern" if "*" in str(source) else "folder")
        fetch(source, out, "photo")
        assert [row["title"] for row in open_catalogue(out).rows] == [f"Tote {number}" for number in range(9)]
    assert contents(tmp_path / "folder", "catalogue.json", "fetched.jsonl") == contents(
        tmp_path / "pattern", "catalogue.json", "fetched.jsonl"
    )
    again = fetch(tmp_path / "folder", tmp_path / "again", "file_name")  # a catalogue is a table as well
    assert again["renamed"] == {"file_name": "file_name_source", "split": "split_source"}
    for name, words in [
        (tmp_path / "shards/*.tsv", "no file is called like this"),
        (tmp_path / "nothing.csv", "is missing"),
        (tmp_path / "shards/photos", "holds no table"),
    ]:
        with pytest.raises(TableError, match=words):
            fetch(name, tmp_path / "none", "photo")
    (tmp_path / "shards/more.jsonl").write_text('{"photo": "photos/1.jpg"}\n')
    with pytest.raises(TableError, match=r"tables of several kinds \(0.csv, 1.csv, 2.csv, more.jsonl\)"):
        fetch(tmp_path / "shards", tmp_path / "none", "photo")
    assert not (tmp_path / "none").exists()


def test_near_duplicate_pictures_stay_together_whatever_their_titles(tmp_path):
    routes = {}
    for number in range(60):
        product = render(invent(number, 0)[0], *studio(numpy.random.default_rng(number)), 160)
        routes[f"/{number}/large"] = encode_picture(product)
        routes[f"/{number}/small"] = encode_picture(product.convert("L").resize((90, 80)))
    with Server(routes) as server:
        table = table_of(tmp_path, [server.url(path) for path in routes])
        info = fetch(table, tmp_path / "out", "url", bounds=LOCAL)
    rows = open_catalogue(tmp_path / "out").rows
    assert len({row["file_name"] for row in rows}) == 120
    assert [row["split"] for row in rows[::2]] == [row["split"] for row in rows[1::2]]
    assert info["near_duplicates"] == {"distance": 24, "pictures": 120}
    assert {name: info["counts"][name] for name in ("train", "validation", "test")} == {
        "train": 96,
        "validation": 12,
        "test": 12,
    }
