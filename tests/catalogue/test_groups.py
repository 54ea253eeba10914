"""Groups and leaks are those that a walk from row to row finds."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.catalogue.groups import FILE, NEAR, find_groups, group_keys
from hangtag.catalogue.split import fold

steady = settings(deadline=None, derandomize=True, max_examples=60)
titles = st.sampled_from(["Tote", "TOTE ", "Belt", "belt", "N.A.", "", "Cap"])
files = st.sampled_from(["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"])
splits = st.sampled_from(["train", "validation", "test"])
table = st.lists(st.fixed_dictionaries({"title": titles, "file_name": files, "split": splits}), min_size=1, max_size=14)
couples = st.lists(st.tuples(files, files, st.integers(0, 24)), max_size=4)


def groups_by_search(rows, pairs):
    """The slow way: walk from row to row along any tie."""

    def tied(one, other):
        return (
            (fold(one["title"]) and fold(one["title"]) == fold(other["title"]))
            or one["file_name"] == other["file_name"]
            or any({one["file_name"], other["file_name"]} == {a, b} for a, b, _ in pairs)
        )

    group = {}
    for start in range(len(rows)):
        open_ = [] if start in group else [start]
        while open_:
            here = open_.pop()
            group[here] = start
            open_ += [there for there in range(len(rows)) if there not in group and tied(rows[there], rows[here])]
    members = defaultdict(list)
    for row, first in group.items():
        members[first].append(row)
    return sorted(sorted(each) for each in members.values())


@steady
@given(table, couples)
def test_groups_and_leaks_are_those_found_by_search(rows, couples):
    there = {row["file_name"] for row in rows}
    pairs = [(a, b, bits) for a, b, bits in couples if a != b and {a, b} <= there]
    found = find_groups(rows, ["title"], pairs)
    slow = groups_by_search(rows, pairs)
    leaks = [group for group in slow if len({rows[row]["split"] for row in group}) > 1]
    assert (found.count, found.several) == (len(slow), sum(len(group) > 1 for group in slow))
    assert (found.crossing, found.crossing_rows) == (len(leaks), sum(map(len, leaks)))
    assert sorted(sorted(group.rows) for group in found.leaks) == sorted(group[:12] for group in leaks) or any(
        len(group) > 12 for group in leaks
    )
    for name, (count, groups) in found.of_split.items():
        assert count == sum(row["split"] == name for row in rows)
        assert groups == sum(any(rows[row]["split"] == name for row in group) for group in slow)
    proofs = {each.kind: each for each in found.proofs}
    for kind, value in (("title", lambda row: fold(row["title"])), (FILE, lambda row: row["file_name"])):
        rows_of = defaultdict(list)
        for row in rows:
            if value(row):
                rows_of[value(row)].append(row["split"])
        shared = [each for each in rows_of.values() if len(each) > 1]
        assert (proofs[kind].values, proofs[kind].shared) == (len(rows_of), len(shared))
        assert proofs[kind].crossing == sum(len(set(each)) > 1 for each in shared)
    assert (found.crossing == 0) == (not any(each.crossing for each in found.proofs))


def test_a_leak_says_why_its_rows_are_one_group_and_shows_both_sides():
    rows = [{"title": f"Coat {place}", "file_name": f"{place}.jpg", "split": "train"} for place in range(20)]
    rows += [{"title": "coat 3", "file_name": "20.jpg", "split": "test"}]
    found = find_groups(rows, ["title"], [("3.jpg", "4.jpg", 6), ("4.jpg", "5.jpg", 9)])
    (leak,) = found.leaks
    assert leak.rows == [3, 20, 4, 5]
    assert leak.splits == {"train": 3, "test": 1}
    assert {(tie.kind, tie.value, tie.rows) for tie in leak.ties} == {
        (NEAR, "6 to 9 bits apart", 3),
        ("title", "Coat 3", 2),
    }
    assert [(pair.first, pair.second, pair.distance) for pair in found.pairs] == [(3, 4, 6), (4, 5, 9)]
    assert not any(pair.tied or pair.crosses for pair in found.pairs)


def test_the_keys_are_those_the_splits_were_made_by():
    columns = ["product_code", "title", "split_source"]
    assert group_keys(columns, {}) == ["product_code", "title"]
    assert group_keys(columns, {"options": {"keys": ["title"]}}) == ["title"]
    renamed = {"options": {"keys": ["split", "gone"]}, "renamed": {"split": "split_source"}}
    assert group_keys(columns, renamed) == ["split_source"]
    assert group_keys(columns, {"options": 3, "renamed": [1]}) == ["product_code", "title"]
