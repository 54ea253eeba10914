"""Which rows are one product, why, and whether any such group stands on both sides of a split.

Rows are tied by an equal value of a key column, by one picture file, and by near-duplicate pictures; a group is
whatever hangs together through ties. It is found here anew from the rows as they stand, whoever made the splits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hangtag.catalogue.split import GROUP_KEYS, SPLITS, fold
from hangtag.catalogue.spread import cut
from hangtag.catalogue.table import Row

SHOWN_GROUPS, SHOWN_CROSSING, SHOWN_ROWS, SHOWN_TIES = 6, 20, 12, 6
SHOWN_PAIRS = 24
FILE, NEAR = "picture file", "near-duplicate pictures"

Pair = tuple[str, str, int]
"""Two picture files and how many bits their hashes differ by."""
Near = tuple[list[int], list[int], int]
"""The rows of both files of a pair."""


@dataclass(frozen=True)
class Tie:
    """Why some rows belong together: the kind of tie, the shared value or the pair's distance, and how many rows."""

    kind: str
    value: str
    rows: int


@dataclass(frozen=True)
class Group:
    """`size` rows that hang together; of `rows` (their places in the table) and `ties` only the first."""

    size: int
    rows: list[int]
    splits: dict[str, int]
    ties: list[Tie]


@dataclass(frozen=True)
class Proof:
    """One kind of tie over the whole table: its values, those in several rows, and those in several splits."""

    kind: str
    values: int
    shared: int
    crossing: int


@dataclass(frozen=True)
class NearPair:
    """Two files of nearly the same picture, as the first row of each; `tied` where a key says the same."""

    first: int
    second: int
    distance: int
    tied: bool
    crosses: bool


@dataclass(frozen=True)
class Groups:
    """The groups of a table. `of_split` gives rows and groups of each split."""

    count: int
    several: int
    crossing: int
    crossing_rows: int
    keys: list[str]
    proofs: list[Proof]
    of_split: dict[str, tuple[int, int]]
    largest: list[Group]
    leaks: list[Group]
    pairs: list[NearPair]


@dataclass
class _Ties:
    """One kind of tie: its values with the rows of each."""

    kind: str
    values: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def group_keys(columns: Sequence[str], info: Mapping[str, Any]) -> list[str]:
    """The columns by which a catalogue's splits were made, as catalogue.json says; else those of the usual ones."""
    options, renamed = info.get("options"), info.get("renamed")
    named = options.get("keys") if isinstance(options, dict) else None
    if not isinstance(named, list):
        return [name for name in GROUP_KEYS if name in columns]
    own = renamed if isinstance(renamed, dict) else {}
    return [str(own.get(key, key)) for key in map(str, named) if own.get(key, key) in columns]


def find_groups(rows: Sequence[Row], keys: Sequence[str], pairs: Sequence[Pair]) -> Groups:
    """The groups of some rows, each with `file_name` and `split`.

    Args:
        keys: columns whose equal values, folded, tie rows.
        pairs: near-duplicate pictures, at least so many that they hold together all that are alike.
    """
    kinds = [_by_value(rows, key) for key in keys] + [_by_value(rows, "file_name")]
    files = kinds[-1].values
    near = [(files[a], files[b], distance) for a, b, distance in pairs]
    kinds.append(_by_likeness(len(rows), near))
    group_of = _connect(len(rows), [tied for ties in kinds for tied in ties.values.values()])
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(group_of):
        members[group].append(row)
    splits = {group: Counter(rows[row]["split"] for row in found) for group, found in members.items()}
    several = _by_size(members, (group for group in members if len(members[group]) > 1))
    crossing = _by_size(members, (group for group in members if len(splits[group]) > 1))
    shown = {*several[:SHOWN_GROUPS], *crossing[:SHOWN_CROSSING]}
    ties = _ties_of(shown, group_of, kinds, rows)
    made = {
        group: Group(len(members[group]), _in_turn(members[group], rows), dict(splits[group]), ties[group])
        for group in shown
    }
    return Groups(
        count=len(members),
        several=len(several),
        crossing=len(crossing),
        crossing_rows=sum(len(members[group]) for group in crossing),
        keys=list(keys),
        proofs=[_proof(rows, ties) for ties in kinds],
        of_split=_of_split(rows, splits.values()),
        largest=[made[group] for group in several[:SHOWN_GROUPS]],
        leaks=[made[group] for group in crossing[:SHOWN_CROSSING]],
        pairs=_pairs(rows, keys, near),
    )


def _by_size(members: Mapping[int, list[int]], groups: Iterable[int]) -> list[int]:
    return sorted(groups, key=lambda group: (-len(members[group]), group))


def _by_value(rows: Sequence[Row], name: str) -> _Ties:
    ties = _Ties(FILE if name == "file_name" else name)
    folded: dict[str, str] = {}
    for place, row in enumerate(rows):
        value = row[name]
        if name != "file_name":
            value = folded[value] if value in folded else folded.setdefault(value, fold(value))
        if value:
            ties.values[value].append(place)
    return ties


def _by_likeness(count: int, near: Sequence[Near]) -> _Ties:
    """Ties between all rows whose pictures are alike, also through other pictures."""
    alike = _connect(count, [[*ones, *others] for ones, others, _ in near])
    bits: dict[int, list[int]] = defaultdict(list)
    for ones, _, distance in near:
        bits[alike[ones[0]]].append(distance)
    values = {first: _apart(min(found), max(found)) for first, found in bits.items()}
    ties = _Ties(NEAR)
    for row, first in enumerate(alike):
        if first in values:
            ties.values[f"{values[first]}\0{first}"].append(row)
    return ties


def _apart(least: int, most: int) -> str:
    return f"{most} bits apart" if least == most else f"{least} to {most} bits apart"


def _connect(count: int, tied: Iterable[Sequence[int]]) -> list[int]:
    """For each of `count` rows the first row of its group, from lists of rows that belong together."""
    parent = list(range(count))

    def first(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for rows in tied:
        for row in rows[1:]:
            low, high = sorted((first(rows[0]), first(row)))
            parent[high] = low
    return [first(row) for row in range(count)]


def _ties_of(
    wanted: set[int], group_of: Sequence[int], kinds: Sequence[_Ties], rows: Sequence[Row]
) -> dict[int, list[Tie]]:
    """Why the wanted groups hang together, the ties of most rows first."""
    found: dict[int, list[Tie]] = {group: [] for group in wanted}
    for ties in kinds:
        for value, tied in ties.values.items():
            if len(tied) > 1 and group_of[tied[0]] in wanted:
                shown = value.split("\0")[0] if ties.kind in (FILE, NEAR) else rows[tied[0]][ties.kind]
                found[group_of[tied[0]]].append(Tie(ties.kind, cut(shown), len(tied)))
    return {group: sorted(ties, key=lambda tie: -tie.rows)[:SHOWN_TIES] for group, ties in found.items()}


def _in_turn(members: Sequence[int], rows: Sequence[Row]) -> list[int]:
    """The first rows of a group, of every split in turn, so that a leak shows both of its sides."""
    turns: Counter[str] = Counter()
    ranked = []
    for row in members:
        ranked.append((turns[rows[row]["split"]], row))
        turns[rows[row]["split"]] += 1
    return [row for _, row in sorted(ranked)[:SHOWN_ROWS]]


def _proof(rows: Sequence[Row], ties: _Ties) -> Proof:
    shared = [tied for tied in ties.values.values() if len(tied) > 1]
    crossing = sum(len({rows[row]["split"] for row in tied}) > 1 for tied in shared)
    return Proof(ties.kind, len(ties.values), len(shared), crossing)


def _of_split(rows: Sequence[Row], splits: Iterable[Counter[str]]) -> dict[str, tuple[int, int]]:
    held = Counter(row["split"] for row in rows)
    groups = Counter(name for each in splits for name in each)
    return {name: (held[name], groups[name]) for name in SPLITS}


def _pairs(rows: Sequence[Row], keys: Sequence[str], near: Iterable[Near]) -> list[NearPair]:
    """Pairs to look at: those that cross, then those that only the pictures tell, then the most alike."""
    found = []
    for ones, others, distance in near:
        crosses = len({rows[row]["split"] for row in [*ones, *others]}) > 1
        first, second = rows[ones[0]], rows[others[0]]
        tied = any(fold(first[key]) and fold(first[key]) == fold(second[key]) for key in keys)
        found.append(NearPair(ones[0], others[0], distance, tied, crosses))
    return sorted(found, key=lambda pair: (not pair.crosses, pair.tied, pair.distance, pair.first))[:SHOWN_PAIRS]
