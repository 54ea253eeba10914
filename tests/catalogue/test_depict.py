"""A picture for any row: what its text and its price level say can be measured in the pixels; no text is an error."""

import os
import subprocess
import sys
import time
from functools import partial
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hangtag.catalogue.render import Pose, studio, vocabulary
from hangtag.catalogue.render.canvas import Canvas, Look
from hangtag.catalogue.render.depict import CHEAPEST, DEAREST, JEWELS, depict
from hangtag.catalogue.render.goods import GOODS
from hangtag.catalogue.render.own_shape import own_shape
from hangtag.catalogue.render.patterns import MORE_PATTERNS, PATTERNS
from hangtag.catalogue.render.vocabulary import SHADE
from hangtag.catalogue.render.wording import read


def drawn(category="", words="", level=0.3, seed=0, size=112):
    return np.asarray(depict(category, words, level, np.random.default_rng(seed), size)).astype(int)


def changed(first, second, by=24):
    return np.abs(first - second).max(-1) > by


def silhouette(draw, pose, size=64, look=None):
    canvas = Canvas(look or Look("", "", "Plain", "Cotton", "", ""), pose, size, ((200, 30, 30), (255, 255, 255)))
    draw(canvas)
    return np.asarray(canvas.surface.reduce(2).split()[3], np.float32) / 255


def centred(cover):
    """A silhouette cut out and stretched to 48 x 48."""
    rows, columns = (np.flatnonzero(cover.max(axis) > 0.5) for axis in (1, 0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return np.asarray(Image.fromarray(cover).resize((48, 48), Image.Resampling.BILINEAR, box=box))


def apart(first, second):
    """What lies in one silhouette alone, as a share of what lies in either."""
    return float(np.abs(first - second).sum() / np.maximum(first, second).sum())


@pytest.mark.parametrize("kind", GOODS)
def test_every_kind_is_drawn_within_the_frame_and_at_any_size(kind):
    words = f"{kind} blue"
    small = [
        np.asarray(depict(kind, words, 0.2, np.random.default_rng(3), size).resize((16, 16)), float)
        for size in (64, 151)
    ]
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.97
    assert small[0].std() > 12
    material, fitting = ("Gold", "Round") if kind in JEWELS else ("Cotton", "Gold Case")
    look = Look(kind, "", "Plain", material, GOODS[kind].large, fitting)
    cover = silhouette(GOODS[kind].draw, Pose(shift=(0, GOODS[kind].lowered)), look=look)
    assert 0.06 < cover.mean() < 0.75
    edge = np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]])
    assert (edge.max() > 0) == (kind == "WATCHES")


def test_every_product_lies_in_the_middle():
    for kind in {*GOODS, "Climbing"} - set(JEWELS):
        product = changed(drawn(kind, "white", 1.0, 1), drawn(kind, "black", 1.0, 1), 60)
        middle = np.argwhere(product).mean(0) / len(product)
        assert (np.abs(middle - 0.5) < 0.2).all(), (kind, middle)


def test_kinds_look_different():
    pictures = {kind: drawn(kind, "blue", seed=2) for kind in GOODS}
    closest = min((changed(pictures[a], pictures[b]).mean(), a, b) for a, b in combinations(pictures, 2))
    assert closest[0] > 0.06, closest


def names(count, seed=1):
    rng = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz ")
    return ["".join(rng.choice(letters, rng.integers(3, 14))).strip() + f" {i}" for i in range(count)]


def test_unknown_categories_have_shapes_of_their_own():
    covers = [silhouette(partial(own_shape, name=name), Pose()) for name in names(200)]
    assert min(apart(first, second) for first, second in combinations(covers, 2)) > 0.10
    assert all(0.12 < cover.mean() < 0.55 for cover in covers)
    for cover in covers:
        assert not np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]]).any()


def test_an_unknown_category_is_recognised_in_another_pose():
    covers = [
        [
            centred(silhouette(partial(own_shape, name=name), studio(np.random.default_rng([take, i]))[0]))
            for i, name in enumerate(names(40, seed=2))
        ]
        for take in (0, 1)
    ]
    nearest = [
        int(np.argmin([min(apart(cover, other), apart(cover[:, ::-1], other)) for other in covers[1]]))
        for cover in covers[0]
    ]
    assert np.mean(np.array(nearest) == np.arange(40)) > 0.95


def test_the_shape_follows_from_the_folded_name_alone():
    assert np.array_equal(drawn("Climbing", "red rope"), drawn(" ＣＬＩＭＢＩＮＧ ", "red cord"))
    assert changed(drawn("Climbing", "red rope"), drawn("Trekking", "red rope")).mean() > 0.05


BASIC = (
    "Black",
    "White",
    "Red",
    "Yellow",
    "Green",
    "Sky",
    "Navy",
    "Purple",
    "Pink",
    "Brown",
    "Orange",
    "Grey",
    "Beige",
)


@pytest.mark.parametrize("category", ["Tees", "Dresses", "Gloves", "Bottles", "Climbing"])
def test_the_colour_can_be_measured(category):
    for seed in range(2):
        white, black = (drawn(category, word, seed=seed) for word in ("white", "black"))
        product = changed(white, black, 90)
        assert product.mean() > 0.1
        for name in BASIC:
            words = "sky blue" if name == "Sky" else name
            mean = drawn(category, words, seed=seed)[product].mean(0)
            nearest = min(BASIC, key=lambda other: np.square(mean - 0.87 * np.array(SHADE[other])).sum())
            assert nearest == name, (category, name, nearest, mean)


def test_two_colours_can_both_be_seen():
    for words in ("Red / white sneakers", "Navy and yellow cap", "Black/pink striped tee"):
        first, second = read("", words).colours
        picture = drawn("", words, seed=4)
        for rgb in (first, second):
            near = np.abs(picture - 0.9 * np.array(rgb)).max(-1) < 48
            assert near.mean() > 0.02, (words, rgb)


def test_every_pattern_can_be_seen_and_told_from_the_others():
    for category in ("Tees", "Scarves", "Climbing"):
        pictures = {"Plain": drawn(category, "pink")}
        product = changed(drawn(category, "white"), drawn(category, "black"), 90)
        for pattern in (*PATTERNS, *MORE_PATTERNS):
            word = next(word for word, name in vocabulary.PATTERN_WORDS.items() if name == pattern)
            pictures[pattern] = drawn(category, f"pink {word}")
        spread = {name: picture[product].std(0).max() for name, picture in pictures.items()}
        for name in pictures:
            assert name == "Plain" or spread[name] > 1.2 * spread["Plain"], (category, name, spread)
        for one, other in combinations(pictures, 2):
            share = changed(pictures[one], pictures[other])[product].mean()
            assert share > 0.09, (category, one, other, share)


def test_a_word_nobody_listed_has_a_colour_of_its_own():
    title = "Oslo Tee {}"
    seen = {word: read("Tees", title.format(word)).unknown for word in ("malachite", "孔雀石", "zaffre")}
    assert list(seen) == list(seen.values())
    first, second = (drawn("Tees", f"{title} Malachite", seed=6) for title in ("Oslo Tee", "Zoltan Gym Tee"))
    assert np.array_equal(first, second)
    assert changed(first, drawn("Tees", "Oslo Tee Zaffre", seed=6)).mean() > 0.1


def test_a_pattern_or_material_with_a_colour_of_its_own_has_it_unless_another_is_said():
    assert np.array_equal(drawn("Tees", "camo oslo"), drawn("Tees", "olive camo"))
    assert np.array_equal(drawn("Tees", "leopard"), drawn("Tees", "camel leopard"))
    assert changed(drawn("Tees", "camo"), drawn("Tees", "pink camo")).mean() > 0.1


def test_a_jewel_is_of_the_metal_and_its_stone_of_the_colour_that_is_said():
    for category in ("Rings", "Necklaces", "Earrings"):
        gold, silver, red = (drawn(category, words, seed=3) for words in ("gold blue", "blue silver", "gold red"))
        metal, stone = changed(gold, silver), changed(gold, red, 60)
        assert metal.mean() > 0.01
        assert stone.mean() > 0.01
        assert (metal & stone).sum() < 0.2 * min(metal.sum(), stone.sum())


def test_without_any_word_chance_decides_on_the_colour():
    pictures = [drawn("Tees", "", seed=seed)[50:62, 50:62].mean((0, 1)) for seed in range(12)]
    assert np.std(pictures, axis=0).min() > 30


def measured_level(picture):
    """Where the backdrop's red stands between the two ends, read from the picture's corners."""
    side = len(picture) // 12
    corners = [
        picture[rows, columns, 0].mean()
        for rows in (slice(side), slice(-side, None))
        for columns in (slice(side), slice(-side, None))
    ]
    light = 0.80 * CHEAPEST[0]
    return np.log(np.median(corners) / light) / np.log(DEAREST[0] / CHEAPEST[0])


def test_the_price_level_can_be_measured_whatever_else_there_is():
    categories = [*GOODS, *names(10)]
    words = ["black", "white striped", "red", "floral sky blue", "leather", "navy", "zaffre", ""]
    levels, measured = [], []
    for i in range(110):
        levels.append(i % 11 / 10)
        measured.append(measured_level(drawn(categories[i % len(categories)], words[i % 8], levels[-1], i, 96)))
    assert np.corrcoef(levels, measured)[0, 1] > 0.99
    assert np.abs(np.array(levels) - measured).max() < 0.1
    means = [
        np.mean([m for at, m in zip(levels, measured, strict=True) if at == level]) for level in sorted(set(levels))
    ]
    assert (np.diff(means) > 0.05).all()


def test_the_price_level_changes_the_room_and_not_the_product():
    for category in ("Tees", "Climbing"):
        cheap, dear = (drawn(category, "red", level, 5) for level in (0.0, 1.0))
        product = changed(drawn(category, "white", 0.0, 5), drawn(category, "black", 0.0, 5), 150)
        assert np.abs(cheap - dear)[product].mean() < 2
        assert changed(cheap, dear)[~product].mean() > 0.8


@pytest.mark.parametrize(("level", "same"), [(-3.0, 0.0), (7.0, 1.0), (float("nan"), 0.5), (float("inf"), 1.0)])
def test_a_level_out_of_range_is_the_nearest_one(level, same):
    assert np.array_equal(drawn("Tees", "red", level, size=64), drawn("Tees", "red", same, size=64))


def test_text_decides_nothing_about_the_pose_or_how_much_chance_is_used():
    states = []
    for category, words in (("Tees", "red"), ("Rings", ""), ("Climbing", "zaffre"), ("", "")):
        rng = np.random.default_rng(8)
        depict(category, words, 0.5, rng, 64)
        states.append(rng.bit_generator.state)
    assert all(state == states[0] for state in states)


DRAW = """
import hashlib, numpy as np
from hangtag.catalogue.render.depict import depict
rows = [("Tees", "Malachite check", 0.2), ("Climbing", "red/blue", 0.7), ("", "黑色皮革双肩包", 1.0)]
drawn = b"".join(depict(*row, np.random.default_rng(9), 64).tobytes() for row in rows)
print(hashlib.sha256(drawn).hexdigest())
"""


def test_any_process_draws_the_same_bytes(capsys):
    exec(DRAW, {})
    digests = {capsys.readouterr().out}
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"}
        ran = subprocess.run(
            [sys.executable, "-c", DRAW], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        digests.add(ran.stdout)
    assert len(digests) == 1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.text(max_size=80), st.floats(), st.integers(0, 2**32))
def test_no_text_is_an_error(category, words, level, seed):
    picture = depict(category, words, level, np.random.default_rng(seed), 64)
    assert (picture.size, picture.mode) == ((64, 64), "RGB")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0\x1b\r\n\t",
        "\ud800 \udfff",
        "ﷺ" * 10**6,
        "a" * 10**6,
        "ab " * 333_333,
        "红鞋" * 500_000,
        "z\u0301" * 500_000,
        "&/&" * 333_333,
        "\u202eeeT",
    ],
)
def test_hostile_text_takes_no_longer_than_a_picture_may(text):
    start = time.process_time()
    for category, words in ((text, "red"), ("Tees", text), (text, text)):
        depict(category, words, 0.5, np.random.default_rng(0), 64)
    assert time.process_time() - start < 3
