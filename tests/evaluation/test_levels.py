"""Paths scored level by level, scores by category, and categories that training never showed."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from hangtag.catalogue.paths import path_parts, path_separator
from hangtag.evaluation.by_category import score_by_category, unseen_categories
from hangtag.evaluation.levels import score_levels
from hangtag.evaluation.metrics import field_rows, score_field

FIELDS = {"title": "text", "kind": "category", "price": "number"}
SHOP = ["Men/Tops/Tees", "Men/Tops/Polos", "Men/Shoes/Boots", "Women/Tops/Tees", "Women/Bags/Totes", "Sale"]


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (SHOP, "/"),
        (["Men > Tops", "Men > Shoes", "Gifts"], ">"),
        (["A|B", "A|C"], "|"),
        (["A/B|C", "A/D|E"], "/"),
        (["T-shirt/Top", "Coat", "Hat", "Shoe"], None),
        (["/", "//", "a/"], None),
        (["Coat"] * 3, None),
        (["Coat", *["Men/Tops"] * 9], None),
        ([], None),
    ],
)
def test_paths_are_recognised_by_most_distinct_values(values, separator):
    assert path_separator(values) == separator


def test_parts_of_a_path():
    assert path_parts("/Men / Tops//Tees/", "/") == ("Men", "Tops", "Tees")
    assert path_parts("  ", "/") == ()


def rows_of(values, **rest):
    return [{"kind": value, **rest} for value in values]


def levels_of(truths, answers, training=()):
    fields = {"kind": "category"}
    written = [None if each is None else {"kind": each} for each in answers]
    return score_levels(fields, rows_of(truths), written, rows_of(training)).get("kind")


def test_each_level_compares_its_first_parts():
    truths = ["Men/Tops/Tees", "Men/Tops/Tees", "Women/Bags/Totes", "Sale", "Men/Shoes/Boots"]
    answers = ["Men/Tops/Tees", "Men/Tops/Polos", "Women/Tops/Tees", "Sale", None]
    levels = levels_of(truths, answers)
    assert [each["level"] for each in levels] == [1, 2, 3]
    assert [each["accuracy"]["value"] for each in levels] == pytest.approx([0.8, 0.6, 0.4])
    first = sk.f1_score(
        ["Men", "Men", "Women", "Sale", "Men"], ["Men", "Men", "Women", "Sale", "-"], average="macro",
        labels=["Men", "Women", "Sale"], zero_division=0,
    )  # fmt: skip
    assert levels[0]["macro_f1"]["value"] == pytest.approx(first)


paths = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(paths, paths | st.none()), min_size=1, max_size=20))
def test_a_finer_level_is_never_better_and_the_last_is_the_field_s_own(rows):
    truths, answers = zip(*rows, strict=True)
    levels = levels_of(truths, answers, training=["x/y", "x/z"] * 40 + [f"x/{n}" for n in range(40)])
    accuracy = [each["accuracy"]["value"] for each in levels]
    assert accuracy == sorted(accuracy, reverse=True)
    whole = score_field("category", field_rows("category", truths, answers, ""), seed=0)
    assert levels[-1] == {"level": max(1 + each.count("/") for each in truths), **whole}
    json.dumps(levels, allow_nan=False)


def test_only_category_fields_of_paths_have_levels():
    assert levels_of(["Coat", "Hat"], ["Coat", "Hat"], training=["Shoe"]) is None
    titles = [{"title": each} for each in SHOP]
    assert score_levels({"title": "text"}, titles, titles, titles) == {}
    deep = ["/".join(map(str, range(12)))]
    assert [each["level"] for each in levels_of(deep, deep)] == [1, 2, 3, 4, 5, 6, 7, 12]


def shop(kinds, seed=0):
    generator = np.random.default_rng(seed)
    truths = [{"title": f"a {kind} {n % 3}", "kind": kind, "price": float(10 + n)} for n, kind in enumerate(kinds)]
    answers = [
        None
        if generator.random() < 0.1
        else {
            "title": each["title"] if generator.random() < 0.5 else "something",
            "kind": each["kind"] if generator.random() < 0.7 else "COAT",
            "price": each["price"] * generator.lognormal(0, 0.2),
        }
        for each in truths
    ]
    columns = {
        name: field_rows(kind, [each[name] for each in truths], [None if a is None else a[name] for a in answers], 20.0)
        for name, kind in FIELDS.items()
    }
    return truths, answers, columns


def test_scores_by_category_are_those_of_its_rows_alone():
    truths, answers, columns = shop(["COAT"] * 9 + ["HAT"] * 20 + ["BAG"] * 9)
    found = score_by_category(FIELDS, truths, columns, seed=1)
    assert list(found) == ["kind"]
    assert [(each["category"], each["rows"]) for each in found["kind"]] == [("HAT", 20), ("BAG", 9), ("COAT", 9)]
    for entry in found["kind"]:
        places = [place for place, each in enumerate(truths) if each["kind"] == entry["category"]]
        for name, kind in FIELDS.items():
            written = [None if answers[place] is None else answers[place][name] for place in places]
            rows = field_rows(kind, [truths[place][name] for place in places], written, 20.0)
            whole = score_field(kind, rows, seed=1)
            shown = entry["fields"][name]
            assert shown == {metric: whole[metric] for metric in shown}
        assert set(entry["fields"]["price"]) == {"mae", "median_ape"}


def test_many_categories_end_in_one_of_all_others():
    kinds = [f"K{number:02}" for number in range(70) for _ in range(2)] + ["K00"]
    truths, _, columns = shop(kinds)
    found = score_by_category(FIELDS, truths, columns)["kind"]
    assert len(found) == 61
    assert (found[0]["category"], found[0]["rows"]) == ("K00", 3)
    assert (found[-1]["category"], found[-1]["rows"]) == ("(all others)", 20)
    assert sum(each["rows"] for each in found) == len(truths)
    json.dumps(found, allow_nan=False)


def test_a_single_row_and_no_category():
    truths, _, columns = shop(["COAT"])
    assert len(score_by_category(FIELDS, truths, columns)["kind"]) == 1
    assert score_by_category({"title": "text"}, truths, columns) == {}


def test_categories_that_training_never_showed():
    truths = rows_of(["KILT", "COAT", "KILT", "APRON"])
    found = unseen_categories({"kind": "category"}, truths, rows_of(["COAT", "HAT"]))
    assert found == {"kind": [{"category": "KILT", "rows": 2}, {"category": "APRON", "rows": 1}]}
    assert unseen_categories({"kind": "category"}, truths, truths) == {}
