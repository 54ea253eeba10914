"""A catalogue in figures: what its columns, prices, categories, titles and pictures are like. Numbers only; no page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hangtag.catalogue.columns import Column, Roles, choose_roles, describe_columns
from hangtag.catalogue.duplicates import near_duplicates
from hangtag.catalogue.facts import PictureFacts
from hangtag.catalogue.groups import Groups, Pair, find_groups, group_keys
from hangtag.catalogue.products import (
    NONE,
    OTHERS,
    Node,
    Prices,
    Sample,
    Titles,
    describe_prices,
    describe_titles,
    describe_tree,
    sample_rows,
)
from hangtag.catalogue.split import SPLITS
from hangtag.catalogue.spread import Histogram, Spread, cut, histogram, spread
from hangtag.catalogue.store import Catalogue
from hangtag.catalogue.table import Row, read_table
from hangtag.cost import NUM_CROPS, EpochCost, epoch_cost
from hangtag.errors import TableError

MOST_SIZES = 400
SHOWN_REASONS, SHOWN_REJECTED, SHOWN_REFUSED = 20, 3, 20


@dataclass(frozen=True)
class Pictures:
    """Sizes of the picture files, each counted once.

    `sizes` are (width, height, files), the most frequent first; where there are very many, sides are rounded to
    `rounded_to` pixels.
    """

    files: int
    bytes: int
    file_bytes: Spread
    byte_histogram: Histogram
    widths: Spread
    heights: Spread
    distinct_sizes: int
    sizes: list[tuple[int, int, int]]
    rounded_to: int


@dataclass(frozen=True)
class Rejected:
    """One reason why rows of the source are not in the catalogue, with its first rows."""

    reason: str
    count: int
    examples: list[Row]


@dataclass(frozen=True)
class Description:
    """Everything a page about a catalogue shows."""

    path: str
    source: str
    rows: int
    splits: dict[str, int]
    columns: list[Column]
    roles: Roles
    prices: Prices | None
    tree: Node | None
    titles: Titles | None
    samples: list[Sample]
    unsampled: int
    pictures: Pictures | None
    refused: dict[str, str]
    refused_count: int
    epoch_split: str
    epochs: list[EpochCost]
    groups: Groups
    rejected: list[Rejected]
    rejected_problem: str


def describe(
    catalogue: Catalogue,
    pictures: Mapping[str, PictureFacts],
    refused: Mapping[str, str],
    title: str | None = None,
    category: str | None = None,
    price: str | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Description:
    """Describe a catalogue whose pictures have been looked at.

    Args:
        pictures: the facts of every file that can be read.
        refused: why each of the others cannot.
        title, category, price: columns, where the guess by name and kind is wrong.
        progress: called with pictures compared with all others, and all.

    Raises:
        TableError: a named column is absent.
    """
    rows = catalogue.rows
    columns = describe_columns(catalogue.columns, rows)
    roles = choose_roles(columns, title, category, price)
    split = "train" if any(row["split"] == "train" for row in rows) else "all"
    sizes = Counter(
        (facts.width, facts.height)
        for row in rows
        if split in (row["split"], "all") and (facts := pictures.get(row["file_name"]))
    )
    splits = Counter(row["split"] for row in rows)
    samples, unsampled = sample_rows(rows, roles)
    rejected, problem = _rejected(catalogue.path / "rejected.csv")
    return Description(
        path=str(catalogue.path),
        source=cut(str(catalogue.info.get("source", ""))),
        rows=len(rows),
        splits={name: splits[name] for name in SPLITS},
        columns=columns,
        roles=roles,
        prices=describe_prices(rows, roles.price, roles.category) if roles.price else None,
        tree=describe_tree(rows, roles) if roles.levels else None,
        titles=describe_titles(rows, roles.title) if roles.title else None,
        samples=samples,
        unsampled=unsampled,
        pictures=describe_pictures(pictures.values()) if pictures else None,
        refused=dict(islice(refused.items(), SHOWN_REFUSED)),
        refused_count=len(refused),
        epoch_split=split,
        epochs=[epoch_cost(sizes, num_crops) for num_crops in NUM_CROPS],
        groups=find_groups(rows, group_keys(catalogue.columns, catalogue.info), near_pairs(pictures, progress)),
        rejected=rejected,
        rejected_problem=problem,
    )


def near_pairs(pictures: Mapping[str, PictureFacts], progress: Callable[[int, int], Any] | None = None) -> list[Pair]:
    """Pairs of files with nearly equal pictures, enough of them to hold together all that are alike."""
    names = list(pictures)
    pairs = near_duplicates([each.hash for each in pictures.values()], progress=progress)
    return [(names[one], names[other], distance) for one, other, distance in pairs]


def describe_pictures(pictures: Iterable[PictureFacts]) -> Pictures:
    """Sizes of at least one picture."""
    facts = list(pictures)
    weights = [each.bytes for each in facts]
    sizes = Counter((each.width, each.height) for each in facts)
    step, pooled = 1, sizes
    while len(pooled) > MOST_SIZES:
        step, pooled = 2 * step, Counter()
        for (width, height), count in sizes.items():
            pooled[_rounded(width, step), _rounded(height, step)] += count
    return Pictures(
        files=len(facts),
        bytes=sum(weights),
        file_bytes=spread(weights),
        byte_histogram=histogram(weights),
        widths=spread([each.width for each in facts]),
        heights=spread([each.height for each in facts]),
        distinct_sizes=len(sizes),
        sizes=[(*size, count) for size, count in sorted(pooled.items(), key=lambda each: (-each[1], each[0]))],
        rounded_to=step,
    )


def _rounded(side: int, step: int) -> int:
    return max(step, step * round(side / step))


def _rejected(path: Path) -> tuple[list[Rejected], str]:
    """The rejected rows by reason, the most frequent first; or nothing and why they cannot be read."""
    if not path.is_file():
        return [], ""
    try:
        with open(path, "rb") as file:
            if len(file.readlines(1)) and not file.readline():
                return [], ""  # a header alone
        table = read_table(path)
    except (TableError, OSError) as error:
        return [], str(error)
    found: dict[str, list[Row]] = {}
    for row in table.rows:
        found.setdefault(cut(row.get("reason", "")) or NONE, []).append(row)
    ordered = sorted(found.items(), key=lambda each: -len(each[1]))
    if rest := [row for _, bad in ordered[SHOWN_REASONS:] for row in bad]:
        ordered = [*ordered[:SHOWN_REASONS], (OTHERS, rest)]
    return [Rejected(reason, len(bad), [_short(row) for row in bad[:SHOWN_REJECTED]]) for reason, bad in ordered], ""


def _short(row: Row) -> Row:
    return {name: cut(row.get(name, ""), 200) for name in ("row", "url", "detail")}
