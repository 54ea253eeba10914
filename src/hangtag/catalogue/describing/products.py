"""What a catalogue's products are like: prices by category, the tree of categories, titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hangtag.catalogue.describing.columns import Roles
from hangtag.catalogue.describing.spread import Histogram, Spread, cut, histogram, number, spread
from hangtag.catalogue.paths import path_parts
from hangtag.catalogue.split import fold
from hangtag.catalogue.table import Row

MOST_STRIPS = 30
OTHERS, NONE = "(all others)", "(none)"
SHOWN_DOTS = 40
MOST_NODES, MOST_LEVELS = 240, 6
SHOWN_TITLES = 10
SAMPLED_CATEGORIES, SAMPLED_ROWS = 16, 6


@dataclass(frozen=True)
class CategoryPrices:
    """The prices above zero of one category, and some of its rows, evenly spread from the cheapest to the dearest."""

    name: str
    spread: Spread
    examples: list[tuple[int, float]]


@dataclass(frozen=True)
class Prices:
    """Prices above zero by category, the largest categories first; the other counts are rows that are left out."""

    column: str
    spread: Spread | None
    categories: list[CategoryPrices]
    pooled: int
    missing: int
    unreadable: int
    zero: int
    negative: int


@dataclass(frozen=True)
class Node:
    """A category with its rows and its children, the largest first; the smallest of many are pooled in the last."""

    name: str
    rows: int
    children: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """A category, how many rows it has, and a few of them with different titles and pictures, cheapest first."""

    name: str
    count: int
    rows: list[int]


@dataclass(frozen=True)
class Titles:
    """Lengths of the titles that are there, and those that stand in more than one row, folded."""

    column: str
    missing: int
    distinct: int
    words: Spread
    characters: Spread
    word_histogram: Histogram
    character_histogram: Histogram
    repeated: int
    repeated_rows: int
    most_repeated: list[tuple[str, int]]


def describe_prices(rows: Sequence[Row], price: str, category: str | None) -> Prices:
    """Prices by category; the categories after the MOST_STRIPS largest are pooled."""
    read: dict[str, float | None] = {}
    found: dict[str, list[tuple[float, int]]] = {}
    left_out: Counter[str] = Counter()
    for place, row in enumerate(rows):
        text = row[price]
        if text not in read:
            read[text] = number(text)
        value = read[text]
        if value is None or value <= 0:
            missing = "unreadable" if fold(text) else "missing"
            left_out[missing if value is None else "zero" if value == 0 else "negative"] += 1
            continue
        name = cut(row[category]) if category and fold(row[category]) else NONE
        found.setdefault(name if category else price, []).append((value, place))
    ordered = sorted(found, key=lambda name: (-len(found[name]), name))
    kept = ordered[:MOST_STRIPS] if len(ordered) > MOST_STRIPS + 1 else ordered
    strips = [(name, found[name]) for name in kept]
    if rest := [each for name in ordered[len(kept) :] for each in found[name]]:
        strips.append((OTHERS, rest))
    values = [value for prices in found.values() for value, _ in prices]
    counts = [left_out[name] for name in ("missing", "unreadable", "zero", "negative")]
    every = spread(values) if values else None
    return Prices(price, every, [_strip(*strip) for strip in strips], len(ordered) - len(kept), *counts)


def _strip(name: str, prices: list[tuple[float, int]]) -> CategoryPrices:
    ordered = sorted(prices)
    examples = [(ordered[rank][1], ordered[rank][0]) for rank in _evenly(range(len(ordered)), SHOWN_DOTS)]
    return CategoryPrices(name, spread([value for value, _ in ordered]), examples)


def describe_tree(rows: Sequence[Row], roles: Roles) -> Node:
    """The categories as a tree of at most MOST_NODES nodes, and one more for the pooled children of each."""
    paths: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        if roles.separator:
            parts = path_parts(row[roles.levels[0]], roles.separator)
        else:
            parts = tuple(row[level].strip() for level in roles.levels)
        path = []
        for part in parts[:MOST_LEVELS]:
            if not fold(part):
                break
            path.append(cut(part))
        paths[tuple(path) or (NONE,)] += 1
    counts: Counter[tuple[str, ...]] = Counter()
    for path_, count in paths.items():
        for depth in range(1, len(path_) + 1):
            counts[path_[:depth]] += count
    kept = set(sorted(counts, key=lambda path: (-counts[path], len(path), path))[:MOST_NODES])
    children: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for each in counts:
        children.setdefault(each[:-1], []).append(each)

    def node(path: tuple[str, ...], name: str, count: int) -> Node:
        below = sorted(children.get(path, []), key=lambda each: (-counts[each], each))
        shown = [node(each, each[-1], counts[each]) for each in below if each in kept]
        if pooled := [each for each in below if each not in kept]:
            shown.append(Node(f"({len(pooled)} more)", sum(counts[each] for each in pooled)))
        return Node(name, count, shown)

    return node((), "all", len(rows))


def describe_titles(rows: Sequence[Row], column: str) -> Titles | None:
    """Lengths and repetitions of a column of texts; None where it is empty."""
    texts = Counter(" ".join(row[column].split()) for row in rows)
    present = {text: count for text, count in texts.items() if fold(text)}
    if not present:
        return None
    words = [len(text.split()) for text, count in present.items() for _ in range(count)]
    characters = [len(text) for text, count in present.items() for _ in range(count)]
    folded: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    for text, count in present.items():
        folded[fold(text)] += count
        spelling.setdefault(fold(text), cut(text))
    repeated = {text: count for text, count in folded.items() if count > 1}
    most = sorted(repeated.items(), key=lambda each: (-each[1], each[0]))[:SHOWN_TITLES]
    return Titles(
        column=column,
        missing=len(rows) - len(words),
        distinct=len(folded),
        words=spread(words),
        characters=spread(characters),
        word_histogram=histogram(words, whole=True),
        character_histogram=histogram(characters, whole=True),
        repeated=len(repeated),
        repeated_rows=sum(repeated.values()),
        most_repeated=[(spelling[text], count) for text, count in most],
    )


def sample_rows(rows: Sequence[Row], roles: Roles) -> tuple[list[Sample], int]:
    """Some rows of the largest categories, and how many categories are left out; of all rows if there are none."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        name = cut(row[roles.category]) if roles.category and fold(row[roles.category]) else NONE
        found.setdefault(name, []).append(place)
    ordered = sorted(found, key=lambda name: (-len(found[name]), name))
    shown = SAMPLED_ROWS if len(ordered) > 1 else 4 * SAMPLED_ROWS
    samples = [
        Sample(name, len(found[name]), _evenly(_by_price(_distinct(found[name], rows, roles), rows, roles), shown))
        for name in ordered[:SAMPLED_CATEGORIES]
    ]
    return samples, len(ordered) - len(samples)


def _distinct(places: Sequence[int], rows: Sequence[Row], roles: Roles) -> list[int]:
    """The first row of each title and picture."""
    seen: set[str] = set()
    kept = []
    for place in places:
        marks = {rows[place]["file_name"], *([rows[place][roles.title]] if roles.title else [])}
        if not marks & seen:
            kept.append(place)
        seen |= marks
    return kept


def _by_price(places: list[int], rows: Sequence[Row], roles: Roles) -> list[int]:
    price = roles.price
    return places if price is None else sorted(places, key=lambda place: number(rows[place][price]) or 0.0)


def _evenly(items: Sequence[int], shown: int) -> list[int]:
    """At most `shown` of some items, evenly spread, the first and the last among them."""
    last, shown = len(items) - 1, min(len(items), shown)
    return [items[round(last * step / max(shown - 1, 1))] for step in range(shown)]
