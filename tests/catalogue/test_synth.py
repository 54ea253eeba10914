"""Invented catalogues: the same bytes again, rows in range, price and limit as promised, attributes one can see."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from hangtag.catalogue import open_catalogue, synth
from hangtag.catalogue.render import KINDS, Pose, Scene, render
from hangtag.catalogue.synth import COLUMNS, NOISE_SIGMA, invent, median_price, shop_price, synthesise
from hangtag.errors import OutputNotEmpty, UsageError

LOOKS = [(kind, look) for kind in KINDS.values() for look in kind.looks()]


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "out"
    seen = []
    info = synthesise(folder, rows=70, seed=3, size=64, workers=1, progress=lambda *counts: seen.append(counts))
    assert seen == [(done, 70) for done in range(1, 71)]
    return folder, info


def test_the_same_bytes_from_any_number_of_processes(made, tmp_path):
    synthesise(tmp_path / "again", rows=70, seed=3, size=64, workers=3)
    assert tree(tmp_path / "again") == tree(made[0])


def test_a_longer_catalogue_begins_with_the_shorter_one(made, tmp_path):
    synthesise(tmp_path / "short", rows=20, seed=3, size=64, workers=1)
    short, long = open_catalogue(tmp_path / "short").rows, open_catalogue(made[0]).rows
    assert [{**row, "split": ""} for row in short] == [{**row, "split": ""} for row in long[:20]]
    assert (made[0] / long[7]["file_name"]).read_bytes() == (tmp_path / "short" / long[7]["file_name"]).read_bytes()


def test_a_script_without_a_main_guard_is_told_what_to_do(tmp_path):
    script = "from hangtag.catalogue.synth import synthesise; synthesise('out', rows=64, size=64, workers=2)"
    ran = subprocess.run([sys.executable, "-"], input=script, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "call synthesise under `if __name__" in ran.stderr
    assert not any(tmp_path.iterdir())


def test_another_seed_is_another_catalogue():
    assert [invent(i, 0)[0] for i in range(20)] != [invent(i, 1)[0] for i in range(20)]


def test_the_catalogue_opens_and_holds_a_picture_for_every_row(made):
    folder, info = made
    catalogue = open_catalogue(folder)
    assert catalogue.columns == COLUMNS
    assert catalogue.info == info == json.loads((folder / "catalogue.json").read_text())
    assert info["counts"]["rows"] == len(catalogue.rows) == 70
    assert len({row["file_name"] for row in catalogue.rows}) == len(list((folder / "images").iterdir())) == 70
    with Image.open(folder / catalogue.rows[0]["file_name"]) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (64, 64), "RGB")
    assert (folder / "rejected.csv").read_text().splitlines() == ["row,url,reason,detail,attempts"]
    with open(folder / "metadata.csv", newline="") as file:
        assert next(csv.reader(file)) == ["file_name", *COLUMNS, "split"]


def test_rows_lie_in_the_ranges_of_the_price_tables():
    rows = [invent(number, 0)[1] for number in range(3040)]
    assert len({row["product_code"] for row in rows}) == len(rows)
    for row in rows:
        assert list(row) == COLUMNS
        assert (row["country_code"], row["currency_code"], row["flg_discount"]) == ("USA", "USD", "0")
        assert date.fromisoformat(row["competence_date"])
        assert 26_000_000 <= int(row["product_code"]) <= 80_900_000
        assert 3 <= len(row["category3_code"]) <= 28
        assert 42 <= len(row["itemurl"]) <= 105
        assert 4 <= len(row["imageurl"]) <= 89
        assert ".example/" in row["itemurl"]
        assert ".example/" in row["imageurl"]
        assert row["price"] == row["full_price"]
        assert row["price_eur"] == row["full_price_eur"]
        assert float(row["full_price_eur"]) == pytest.approx(0.9225 * float(row["full_price"]), abs=0.0051)
    prices = np.array([float(row["full_price"]) for row in rows])
    assert np.median(prices) < prices.mean() / 1.5
    assert prices.max() > 30 * np.median(prices)
    assert len({(row["category1_code"], row["category2_code"], row["category3_code"]) for row in rows}) == len(KINDS)


def test_codes_do_not_repeat():
    assert np.gcd(synth._CODE_STEP, synth._CODES) == 1


def test_every_title_fits_and_says_one_product():
    titles = [kind.title(look) for kind, look in LOOKS]
    assert len(set(titles)) == len(titles)
    assert min(map(len, titles)) >= 8
    assert max(map(len, titles)) <= 71
    words = {word for title in titles for word in title.split()}
    assert not words & {"Plain", "Left", "Right", synth.SHOP}
    assert len(words) < 90


def test_every_price_fits_whatever_the_noise():
    medians = np.array([median_price(look) for _, look in LOOKS])
    assert shop_price(medians.min() * np.exp(-5 * NOISE_SIGMA)) >= 32
    assert shop_price(medians.max() * np.exp(5 * NOISE_SIGMA)) <= 70_000


def test_no_kind_is_so_common_that_guessing_it_pays():
    shares = np.array([kind.share for kind in KINDS.values()])
    shares /= shares.sum()
    assert 16 <= len(shares) <= 20
    assert shares.max() <= 0.12
    assert shares.max() - (shares**2).sum() < 0.05


def test_the_noise_is_as_large_as_stated():
    made = [invent(number, 5) for number in range(4000)]
    error = np.log([float(row["full_price"]) / median_price(look) for look, row in made])
    assert error.std() == pytest.approx(NOISE_SIGMA, rel=0.05)
    assert abs(error.mean()) < 0.004


def test_the_limit_is_the_score_of_the_noise_free_price(made):
    folder, info = made
    look_of = {kind.title(look): look for kind, look in LOOKS}
    rows = open_catalogue(folder).rows

    def limit(rows):
        pairs = [(shop_price(median_price(look_of[row["title"]])), float(row["full_price"])) for row in rows]
        errors = [abs(estimate - price) for estimate, price in pairs]
        relative = sorted(error / price for error, (_, price) in zip(errors, pairs, strict=True))
        middle = (relative[(len(relative) - 1) // 2] + relative[len(relative) // 2]) / 2
        return {"full_price": {"median_ape": pytest.approx(middle), "mae": pytest.approx(sum(errors) / len(errors))}}

    assert info["limit"] == limit(rows)
    for name in ("train", "validation", "test"):
        assert info["limit_by_split"][name] == limit([row for row in rows if row["split"] == name])
    assert info["noise_sigma"] == NOISE_SIGMA


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [64, 151, 336])
def test_every_kind_can_be_drawn_at_any_size(name, size):
    kind = KINDS[name]
    pose = Pose(turn=4, shift=(0.02, -0.02), scale=0.95, mirror=True)
    look = next(kind.looks())
    picture = render(look, pose, Scene(), size)
    assert (picture.size, picture.mode) == ((size, size), "RGB")
    small = [np.asarray(each.resize((16, 16)), float).ravel() for each in (picture, render(look, pose, Scene(), 112))]
    assert np.corrcoef(*small)[0, 1] > 0.98
    assert small[0].std() > 12


# Of 12,544 pixels at 112 x 112, how many change by more than 24 levels with the attribute, all else being equal.
VISIBLE = {"colour": 900, "pattern": 550, "material": 700, "size": 1200, "fitting": 400}


@pytest.mark.parametrize("name", KINDS)
def test_every_attribute_can_be_seen(name):
    kind = KINDS[name]
    values = {
        "colour": kind.colours,
        "pattern": kind.patterns,
        "material": kind.materials,
        "size": kind.sizes,
        "fitting": kind.fittings,
    }
    base = list(kind.looks())[1]
    for colour in ("Black", "Pink"):
        for attribute, choices in values.items():
            looks = [replace(base, **{"colour": colour, attribute: value}) for value in choices]
            pictures = [np.asarray(render(look, Pose(), Scene(), 112)).astype(int) for look in looks]
            for (one, first), (other, second) in combinations(zip(choices, pictures, strict=True), 2):
                changed = int((np.abs(first - second).max(-1) > 24).sum())
                assert changed >= VISIBLE[attribute], (attribute, one, other, colour, changed)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"rows": 0}, "rows"), ({"size": 63}, "size"), ({"size": 2049}, "size"), ({"seed": -1}, "seed")],
)
def test_what_is_out_of_range_is_refused(tmp_path, options, word):
    with pytest.raises(UsageError, match=f"{word} is {options[word]}"):
        synthesise(tmp_path / "out", **options)
    assert not any(tmp_path.iterdir())


def test_all_problems_come_in_one_message(tmp_path):
    with pytest.raises(UsageError) as caught:
        synthesise(tmp_path / "out", rows=0, size=1, workers=0)
    assert len(str(caught.value).splitlines()) == 3


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputNotEmpty, match="not empty"):
        synthesise(tmp_path, rows=1, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_left_when_it_is_interrupted(tmp_path):
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path / "out", rows=5, size=64, workers=1, progress=stop)
    assert not any(tmp_path.iterdir())
