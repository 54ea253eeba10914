"""Prices by category, the tree, titles and samples against slow obvious versions."""

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.catalogue.columns import choose_roles, describe_columns
from hangtag.catalogue.products import (
    MOST_NODES,
    MOST_STRIPS,
    NONE,
    OTHERS,
    describe_prices,
    describe_titles,
    describe_tree,
    sample_rows,
)
from hangtag.catalogue.split import fold
from hangtag.catalogue.spread import number, spread

steady = settings(deadline=None, derandomize=True, max_examples=60)
prices = st.sampled_from(["", "N.A.", "0", "-3", "12,50", "9.99", "20", "35", "1200", "0.00", "7e2"])
sorts = st.sampled_from(["Tees", "Bags", "Hats", "", "N.A."])


@steady
@given(st.lists(st.tuples(prices, sorts), min_size=1, max_size=40))
def test_prices_are_those_above_zero_and_the_rest_is_counted(cells):
    rows = [{"price": price, "sort": sort} for price, sort in cells]
    found = describe_prices(rows, "price", "sort")
    slow = defaultdict(list)
    for price, sort in cells:
        if number(price) is not None and number(price) > 0:
            slow[sort if fold(sort) else NONE].append(number(price))
    assert {each.name: each.spread for each in found.categories} == {name: spread(each) for name, each in slow.items()}
    left_out = Counter(price for price, _ in cells)
    assert found.missing == left_out[""] + left_out["N.A."]
    assert found.zero == left_out["0"] + left_out["0.00"]
    assert (found.negative, found.unreadable) == (left_out["-3"], left_out["12,50"])
    for each in found.categories:
        assert all(number(rows[row]["price"]) == price for row, price in each.examples)
    assert (found.spread is None) == (not slow)


def test_the_smallest_of_very_many_categories_are_pooled():
    rows = [{"price": "5", "sort": f"sort {place % 90}"} for place in range(300)]
    found = describe_prices(rows, "price", "sort")
    assert len(found.categories) == MOST_STRIPS + 1
    assert found.categories[-1].name == OTHERS
    assert found.pooled == 90 - MOST_STRIPS
    assert sum(each.spread.count for each in found.categories) == 300
    assert len(describe_prices(rows[:31], "price", "sort").categories) == 31


parts = st.sampled_from(["Men", "Women", "Tops", "Tees", "", "N.A."])


def walk(node, path=()):
    for child in node.children:
        here = (*path, child.name)
        yield here, child
        yield from walk(child, here)


@steady
@given(st.lists(st.tuples(parts, parts, parts), min_size=1, max_size=30))
def test_a_trees_counts_are_those_of_the_paths(cells):
    names = ["category1", "category2", "category3"]
    rows = [dict(zip(names, path, strict=True)) for path in cells]
    roles = choose_roles(describe_columns(names, rows))
    if len(roles.levels) < 2:
        return
    tree = describe_tree(rows, roles)
    slow = Counter()
    for row in rows:
        path = []
        for level in roles.levels:
            if not fold(row[level]):
                break
            path.append(row[level])
        for depth in range(1, len(path or [NONE]) + 1):
            slow[tuple((path or [NONE])[:depth])] += 1
    assert {path: node.rows for path, node in walk(tree)} == slow
    assert tree.rows == len(rows) == sum(each.rows for each in tree.children)


def test_a_tree_of_very_many_paths_keeps_its_largest_nodes():
    rows = [{"category": f"part {place % 40}/shelf {place}/{'a' * 500}"} for place in range(3000)]
    tree = describe_tree(rows, choose_roles(describe_columns(["category"], rows)))
    nodes = list(walk(tree))
    assert len(nodes) <= 2 * MOST_NODES
    assert len(tree.children) == 40
    for _, node in nodes:
        assert sum(each.rows for each in node.children) in (0, node.rows)
        assert len(node.name) <= 100


def test_titles_are_measured_row_by_row_and_repeated_ones_found_folded():
    texts = ["Red Tote", "RED  tote", "Belt", "", "n/a", "A very long coat", "Belt"]
    found = describe_titles([{"title": text} for text in texts], "title")
    assert (found.distinct, found.missing, found.repeated, found.repeated_rows) == (3, 2, 2, 4)
    assert found.most_repeated == [("Belt", 2), ("Red Tote", 2)]
    assert found.words == spread([2, 2, 1, 4, 1])
    assert found.characters == spread([8, 8, 4, 16, 4])
    assert describe_titles([{"title": "N.A."}], "title") is None


def test_samples_show_different_titles_and_pictures_from_cheap_to_dear():
    rows = [
        {"title": f"Tee {place // 3}", "file_name": f"{place}.jpg", "sort": "Tees", "price": f"{100 - place}"}
        for place in range(60)
    ] + [{"title": "Cap", "file_name": "cap.jpg", "sort": "", "price": "3"}] * 2
    roles = choose_roles(describe_columns(["title", "sort", "price"], rows), category="sort")
    samples, left_out = sample_rows(rows, roles)
    assert [(each.name, each.count) for each in samples] == [("Tees", 60), (NONE, 2)]
    tees = [rows[row] for row in samples[0].rows]
    assert len({row["title"] for row in tees}) == len(tees) == 6
    assert [number(row["price"]) for row in tees] == sorted(number(row["price"]) for row in tees)
    assert (len(samples[1].rows), left_out) == (1, 0)
