"""The page about a catalogue: from a description and the catalogue's pictures to one file that holds all it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hangtag.catalogue import Catalogue
from hangtag.catalogue.columns import Column
from hangtag.catalogue.description import Description
from hangtag.catalogue.groups import FILE, NEAR, Group, Tie
from hangtag.catalogue.products import Sample
from hangtag.catalogue.spread import cut
from hangtag.cost import ANSWER_TOKENS, H200_FLOPS, PROMPT_TOKENS
from hangtag.evaluation.metrics import show_amount
from hangtag.report.charts import bars, icicle, price_strips, size_scatter, sparkline
from hangtag.report.templates import fill
from hangtag.report.thumbnails import Album
from hangtag.report.words import counted, weight

MOST_COLUMNS = 100
PICTURE_BYTES = 4_500_000
"""Of all thumbnails together, so that the page stays below 6 MB."""
SMALL, LARGE = 104, 150
_IN_STRIP = 6


@dataclass(frozen=True)
class Figure:
    """One number on a hang tag at the top of the page."""

    what: str
    value: str
    label: str
    rest: str
    bad: bool = False


@dataclass(frozen=True)
class Photo:
    """A thumbnail (None where there is none) with what stands below it."""

    picture: str | None
    name: str
    note: str = ""
    split: str = ""


@dataclass(frozen=True)
class GroupView:
    """A group as its pictures, the reasons why it is one, and how many rows are not shown."""

    size: int
    splits: str
    photos: list[Photo]
    more: int
    reasons: list[str]


@dataclass(frozen=True)
class PairView:
    """Two nearly equal pictures side by side."""

    first: Photo
    second: Photo
    apart: str
    tied: bool
    crosses: bool


def render_description(description: Description, catalogue: Catalogue) -> str:
    """The page's HTML."""
    return fill("description.html.jinja", ("page.css", "description.css"), **_Page(description, catalogue).values())


class _Page:
    """Gathers what the template shows; what is most telling takes its thumbnails first."""

    def __init__(self, description: Description, catalogue: Catalogue) -> None:
        self.facts = description
        self.rows = catalogue.rows
        self.album = Album(catalogue.path, PICTURE_BYTES)

    def values(self) -> dict[str, Any]:
        facts = self.facts
        return {
            "name": cut(Path(facts.path).absolute().name),
            "facts": facts,
            "figures": self.figures(),
            "headline": self.headline(),
            "columns": [(each, _glance(each)) for each in facts.columns[:MOST_COLUMNS]],
            "strips": facts.prices and price_strips(facts.prices, self.unit(), self.title),
            "left_out": self.left_out(),
            "tree": facts.tree and facts.tree.children and icicle(facts.tree),
            "title_bars": facts.titles and self.title_bars(),
            "scatter": facts.pictures and size_scatter(facts.pictures.sizes),
            "byte_bars": facts.pictures and bars(facts.pictures.byte_histogram, "bytes", "pictures"),
            "proofs": [(_tie_name(each.kind), each) for each in facts.groups.proofs],
            "leaks": [self.group(each) for each in facts.groups.leaks],
            "largest": [self.group(each) for each in facts.groups.largest],
            "pairs": self.pairs(),
            "gallery": [(each, self.sample(each)) for each in facts.samples],
            "pictures_left_out": self.album.left_out,
            "text_tokens": PROMPT_TOKENS + ANSWER_TOKENS,
            "tera": H200_FLOPS / 1e12,
        }

    def title(self, row: int) -> str:
        column = self.facts.roles.title
        return cut(self.rows[row][column], 60) if column else cut(self.rows[row]["file_name"], 60)

    def price(self, row: int) -> str:
        return cut(self.rows[row][self.facts.roles.price], 24) if self.facts.roles.price else ""

    def unit(self) -> str:
        currency = self.facts.roles.currency
        return f"{cut(self.facts.roles.price or '', 40)}{f', {cut(currency, 12)}' if currency else ''}"

    def figures(self) -> list[Figure]:
        facts, pictures, groups = self.facts, self.facts.pictures, self.facts.groups
        splits = " · ".join(f"{count:,} {name}" for name, count in facts.splits.items())
        found = [Figure("rows", f"{facts.rows:,}", counted(len(facts.columns), "column"), splits)]
        if pictures:
            sides = f"{pictures.widths.median:,.0f} × {pictures.heights.median:,.0f} pixels (medians)"
            found.append(Figure("pictures", f"{pictures.files:,}", weight(pictures.bytes), sides))
        if facts.prices and facts.prices.spread:
            lies = facts.prices.spread
            rest = f"half from {show_amount(lies.p25)} to {show_amount(lies.p75)}"
            found.append(Figure(self.unit(), show_amount(lies.median), "median", rest))
        crossing = "groups cross" if groups.crossing != 1 else "group crosses"
        rest = f"of {counted(groups.count, 'group')}, {groups.several:,} of several rows"
        found.append(Figure("splits", f"{groups.crossing:,}", crossing, rest, groups.crossing > 0))
        return found

    def headline(self) -> str:
        facts = self.facts
        sorts = next((each.distinct for each in facts.columns if each.name == facts.roles.category), 0)
        parts = [counted(facts.rows, "row")]
        if sorts:
            parts.append(f"in {counted(sorts, 'category', 'categories')}")
        if facts.pictures:
            parts.append(f"on {counted(facts.pictures.files, 'picture')}")
        leak = facts.groups.crossing
        proof = "no group crosses a split" if not leak else f"{counted(leak, 'group')} on both sides of a split"
        rejected = sum(each.count for each in facts.rejected)
        refused = f"; {counted(rejected, 'row')} of the source rejected" if rejected else ""
        return f"{' '.join(parts)}; {proof}{refused}."

    def left_out(self) -> str:
        prices = self.facts.prices
        if prices is None:
            return ""
        counts = {
            "without a price": prices.missing,
            "with a price that is no plain number": prices.unreadable,
            "with a price of zero": prices.zero,
            "with a price below zero": prices.negative,
        }
        return "; ".join(f"{counted(count, 'row')} {what}" for what, count in counts.items() if count)

    def title_bars(self) -> tuple[Markup, Markup] | None:
        titles = self.facts.titles
        if titles is None:
            return None
        return (
            bars(titles.word_histogram, "words", "rows"),
            bars(titles.character_histogram, "characters", "rows"),
        )

    def photo(self, row: int, side: int, split: bool = False, note: str = "") -> Photo:
        picture = self.album.thumbnail(self.rows[row]["file_name"], side)
        return Photo(picture, self.title(row), note or self.price(row), self.rows[row]["split"] if split else "")

    def group(self, group: Group) -> GroupView:
        splits = ", ".join(f"{count:,} {name}" for name, count in group.splits.items())
        photos = [self.photo(row, SMALL, split=True) for row in group.rows[:_IN_STRIP]]
        return GroupView(group.size, splits, photos, group.size - len(photos), _reasons(group.ties))

    def pairs(self) -> list[PairView]:
        return [
            PairView(
                self.photo(each.first, SMALL, True),
                self.photo(each.second, SMALL, True),
                _apart(each.distance),
                each.tied,
                each.crosses,
            )
            for each in self.facts.groups.pairs
        ]

    def sample(self, sample: Sample) -> list[Photo]:
        return [self.photo(row, LARGE) for row in sample.rows]


def _glance(column: Column) -> Markup | None:
    return sparkline(column.histogram) if column.histogram else None


def _tie_name(kind: str) -> str:
    return {FILE: "the same picture file", NEAR: "near-duplicate pictures"}.get(kind, f"the same {cut(kind, 40)}")


def _apart(bits: int) -> str:
    return f"{counted(bits, 'bit')} apart" if bits else "equal but for colour or size"


def _reasons(ties: Sequence[Tie]) -> list[str]:
    """The ties in words, equal ones once."""
    found = Counter(_reason(tie) for tie in ties)
    return [f"{reason}, {count} times" if count > 1 else reason for reason, count in found.items()]


def _reason(tie: Tie) -> str:
    if tie.kind == FILE:
        return f"one picture file in {counted(tie.rows, 'row')}"
    if tie.kind == NEAR:
        return f"near-duplicate pictures in {counted(tie.rows, 'row')}, {tie.value}"
    return f"{cut(tie.kind, 40)} “{tie.value}” in {counted(tie.rows, 'row')}"
