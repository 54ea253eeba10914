"""Splits: no group crosses, shares hold, order does not matter, added rows hardly move any."""

import hashlib
import json
import random
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.catalogue.split import SPLITS, TOLERANCE, Coded, assign_splits, assign_splits_by_column, fold, group_rows

titles = st.sampled_from(["Tote", "TOTE ", "to  te", "Ｔote", "Belt", "belt", "N.A.", "", "Straße", "STRASSE", "Cap"])
codes = st.sampled_from(["1", "2", "3", "4", "5", "6", "n/a", ""])
pictures = st.sampled_from(["images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg"])
steady = settings(deadline=None, derandomize=True)
rows = st.lists(
    st.fixed_dictionaries({"product_code": codes, "title": titles}, optional={"file_name": pictures}), max_size=30
)


def groups_by_search(rows):
    """The slow way: walk from row to row along any shared value."""
    keys = [{(n, fold(row[n])) for n in ("product_code", "title", "file_name") if fold(row.get(n, ""))} for row in rows]
    group = {}
    for start in range(len(rows)):
        open_ = [] if start in group else [start]
        while open_:
            here = open_.pop()
            group[here] = start
            open_ += [there for there in range(len(rows)) if there not in group and keys[there] & keys[here]]
    return [group[place] for place in range(len(rows))]


def distinct(names):
    seen = {}
    return [seen.setdefault(name, len(seen)) for name in names]


def keys_by_union(rows, keys, alike):
    """Each row's first key, one union after the other."""
    ranks = {name: rank for rank, name in enumerate([*reversed([k for k in keys if k != "file_name"]), "file_name"])}
    parent = {}

    def first(key):
        return key if parent[key] == key else first(parent[key])

    def join(one, other):
        low, high = sorted((first(one), first(other)))
        parent[high] = low

    own = []
    for row in rows:
        found = [(rank, fold(row.get(name, ""))) for name, rank in ranks.items() if fold(row.get(name, ""))]
        content = hashlib.sha256(json.dumps(sorted(row.items())).encode()).hexdigest()
        found = found or [(len(ranks), content)]
        for key in found:
            parent.setdefault(key, key)
            join(found[0], key)
        own.append(found[0])
    for one, other in alike:
        join((ranks["file_name"], fold(one)), (ranks["file_name"], fold(other)))
    return [first(key) for key in own]


def splits_by_sorting(groups, seed, shares):
    """Group by group in the order of their hashes; an end lies at its hash or at the nearest place that will do."""
    sizes = Counter(groups)
    points = {}
    for group in sizes:
        digest = hashlib.sha256(f"{seed}\0{group[1]}".encode("utf-8", "surrogatepass")).digest()
        points[group] = int.from_bytes(digest[:7], "big") / 2**56
    ordered = sorted(sizes, key=lambda group: (points[group], group))
    before, cuts = [0, *accumulate(sizes[group] for group in ordered)], []
    for split, share in enumerate(shares[:-1]):
        end = sum(shares[: split + 1])
        own = bisect_left([points[group] for group in ordered], end)
        off = [max(abs(count / max(before[-1], 1) - end), TOLERANCE) for count in before]
        cut = min(range(len(before)), key=lambda place: (off[place], abs(place - own)))
        least = cuts[-1] if cuts else 0
        most = len(ordered) - sum(later > 0 for later in shares[split + 1 :])
        cuts.append(least if share == 0 else max(min(cut, most), min(least + 1, len(ordered))))
    names = {group: SPLITS[bisect_right(cuts, place)] for place, group in enumerate(ordered)}
    return [names[group] for group in groups]


@settings(steady, max_examples=300)
@given(
    rows,
    st.sampled_from([("product_code", "title"), ("title",), ("title", "file_name"), (), ("absent", "title")]),
    st.lists(st.tuples(pictures, pictures), max_size=3),
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0, 0.5), (1, 0, 0), (0.2, 0.3, 0.5)]),
    st.integers(0, 3),
)
def test_keys_and_splits_are_those_of_the_slow_way(rows, keys, pairs, shares, seed):
    here = {row.get("file_name") for row in rows}
    pairs = [(one, other) for one, other in pairs if {one, other} <= here]
    groups = keys_by_union(rows, keys, pairs)
    assert group_rows(rows, keys, pairs) == groups
    expected = splits_by_sorting(groups, seed, shares)
    assert assign_splits(rows, keys, seed, shares, pairs) == expected
    names = sorted({name for row in rows for name in row})
    if rows and all(len(row) == len(names) for row in rows):
        values = {name: sorted({row[name] for row in rows} | {"unused"}) for name in names}
        columns = {
            name: Coded(np.array([values[name].index(row[name]) for row in rows]), values[name]) for name in names
        }
        places = assign_splits_by_column(columns, keys, seed, shares, pairs)
        assert [SPLITS[place] for place in places] == expected


@steady
@given(st.text(max_size=12) | st.text(st.sampled_from("Aa \t\x1c\u13a0\uab70\u00df\u0130nN-./"), max_size=6))
def test_texts_fold_as_unicode_says(text):
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = " ".join(folded.split())
    assert fold(text) == ("" if folded in {"", "-", "n.a.", "n/a", "na", "nan", "none", "null"} else folded)


def test_a_large_table_has_the_splits_of_the_slow_way():
    rng = np.random.default_rng(0)
    rows = [
        {"product_code": f"{rng.integers(9000)}", "title": f"t{rng.integers(3000)}" * int(rng.random() < 0.4)}
        | {"file_name": f"images/{number % 5990}.jpg"}
        for number in range(6000)
    ]
    alike = [(f"images/{one}.jpg", f"images/{other}.jpg") for one, other in rng.integers(0, 5990, (30, 2))]
    groups = keys_by_union(rows, ("product_code", "title"), alike)
    assert group_rows(rows, alike=alike) == groups
    assert assign_splits(rows, alike=alike) == splits_by_sorting(groups, 0, (0.8, 0.1, 0.1))


@steady
@given(rows)
def test_groups_equal_those_found_by_search(rows):
    named = [{**row, "number": str(i)} for i, row in enumerate(rows)]  # rows without any key are all different
    assert distinct(group_rows(named)) == distinct(groups_by_search(rows))


@steady
@given(rows, st.lists(st.tuples(pictures, pictures), max_size=3))
def test_near_duplicates_join_groups_and_nothing_else_does(rows, pairs):
    named = [{**row, "number": str(i)} for i, row in enumerate(rows)]
    here = {row.get("file_name") for row in rows}
    pairs = [(one, other) for one, other in pairs if {one, other} <= here]
    own = {name: name for name in here}  # the same groups: near duplicates as if they were one picture
    for one, other in pairs:
        own = {name: own[one] if picture == own[other] else picture for name, picture in own.items()}
    renamed = [{**row, **({"file_name": own[row["file_name"]]} if "file_name" in row else {})} for row in named]
    assert distinct(group_rows(named, alike=pairs)) == distinct(groups_by_search(renamed))
    splits = assign_splits(named, alike=pairs)
    by_picture = {row["file_name"]: split for row, split in zip(named, splits, strict=True) if "file_name" in row}
    assert all(by_picture[one] == by_picture[other] for one, other in pairs)


@steady
@given(rows, st.integers(0, 5))
def test_no_shared_value_crosses_a_split(rows, seed):
    splits = assign_splits(rows, seed=seed)
    for name in ("product_code", "title", "file_name"):
        found = defaultdict(set)
        for row, split in zip(rows, splits, strict=True):
            if fold(row.get(name, "")):
                found[fold(row[name])].add(split)
        assert all(len(where) == 1 for where in found.values())


@steady
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, shuffler):
    order = list(range(len(rows)))
    shuffler.shuffle(order)
    splits = assign_splits(rows)
    assert assign_splits([rows[place] for place in order]) == [splits[place] for place in order]


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_single_rows_hold_within_one_percent(seed):
    splits = Counter(assign_splits([{"title": f"title {i}"} for i in range(3000)], seed=seed))
    for name, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        assert abs(splits[name] / 3000 - share) <= 0.01


@settings(steady, max_examples=20)
@given(st.lists(st.integers(1, 6), min_size=150, max_size=200), st.integers(0, 3))
def test_shares_of_small_groups_hold_within_their_size(sizes, seed):
    rows = [{"title": f"title {i}"} for i, size in enumerate(sizes) for _ in range(size)]
    splits = Counter(assign_splits(rows, seed=seed))
    for name, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        assert abs(splits[name] - share * len(rows)) <= 0.01 * len(rows) + 6


def test_another_seed_is_another_split():
    rows = [{"title": f"title {i}"} for i in range(200)]
    assert assign_splits(rows, seed=0) == assign_splits(rows, seed=0)
    assert assign_splits(rows, seed=0) != assign_splits(rows, seed=1)


def test_rows_added_in_new_groups_move_hardly_any_row():
    old = [{"title": f"old {i}"} for i in range(20_000)]
    before = assign_splits(old)
    after = assign_splits(old + [{"title": f"new {i}"} for i in range(5_000)])
    assert sum(a != b for a, b in zip(before, after[:20_000], strict=True)) <= 20


def test_a_colour_added_to_a_title_follows_it():
    old = [{"product_code": f"{i}", "title": f"title {i}"} for i in range(3000)]
    new = {"product_code": "0 new", "title": "TITLE 0"}
    after = assign_splits([*old, new])
    assert after[-1] == after[0]
    assert sum(a != b for a, b in zip(assign_splits(old), after[:-1], strict=True)) <= 3


@pytest.mark.parametrize("count", range(3, 30))
def test_few_rows_leave_no_split_empty(count):
    assert set(assign_splits([{"title": f"title {i}"} for i in range(count)])) == set(SPLITS)


@pytest.mark.parametrize(("shares", "expected"), [((1, 0, 0), {"train"}), ((0.5, 0, 0.5), {"train", "test"})])
def test_a_share_of_nothing_gets_nothing(shares, expected):
    assert set(assign_splits([{"title": f"title {i}"} for i in range(300)], shares=shares)) == expected


def test_given_keys_replace_the_usual_ones():
    rows = [{"title": "same", "sku": f"{i}"} for i in range(300)]
    assert len(set(assign_splits(rows))) == 1
    assert len(set(assign_splits(rows, keys=["sku"]))) == 3
    assert assign_splits([]) == []


def test_chains_of_many_rows_need_no_deep_stack():
    rows = [{"product_code": f"{i // 2}", "title": f"title {(i + 1) // 2}"} for i in range(20_000)]
    random.Random(0).shuffle(rows)
    assert len(set(group_rows(rows))) == 1
