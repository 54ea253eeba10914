"""A table's columns: what kind of value each seems to hold, what is missing, and which are title, category and price.

Kinds are guessed from the values first and the name second; a wrong guess costs a plot, never a row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from hangtag.catalogue.describing.spread import Histogram, Spread, cut, histogram, number, spread
from hangtag.catalogue.paths import path_separator
from hangtag.catalogue.split import fold
from hangtag.catalogue.table import Row
from hangtag.errors import TableError, nearest_name

Kind = Literal["number", "category", "date", "text", "identifier", "URL", "path", "constant", "empty"]

MOST_CATEGORIES = 1000
FREQUENT = 4
_MOSTLY = 0.95
_PATTERNS: dict[Kind, re.Pattern[str]] = {
    "date": re.compile(r"\d{4}([-/])\d\d?\1\d\d?([T ]\d\d?:\d\d.*)?|\d\d?([./])\d\d?\3\d{4}", re.ASCII),
    "URL": re.compile(r"https?://\S+", re.IGNORECASE),
    "path": re.compile(r"\S*[\w)]\.(jpe?g|png|webp|gif|bmp|tiff?)", re.IGNORECASE),
}
_IDENTIFIER = re.compile(r"(^|_)(id|code|sku|ean|gtin|upc|asin|mpn|number|no)$")
_LEVEL = re.compile(r"\D*categor\D*(\d+)\D*", re.IGNORECASE)

PRICES = ("full_price", "price")
TITLES = ("title", "name", "product_name", "product_title", "product")
CATEGORIES = ("category", "categories", "type", "product_type", "department", "class", "kind")


@dataclass(frozen=True)
class Column:
    """One column. `frequent` are its most frequent values, cut short; `spread` and `histogram` are a number's."""

    name: str
    kind: Kind
    missing: int
    distinct: int
    frequent: list[tuple[str, int]]
    spread: Spread | None = None
    histogram: Histogram | None = None


@dataclass(frozen=True)
class Roles:
    """Which columns hold title, category and price, and where the tree of categories stands.

    `levels` are columns from coarse to fine; with a `separator`, the one column whose values are paths. `currency` is
    the one value of a column of that name, or empty.
    """

    title: str | None
    category: str | None
    price: str | None
    levels: list[str]
    separator: str | None
    currency: str


def describe_columns(names: Sequence[str], rows: Sequence[Row]) -> list[Column]:
    """Every column's facts, in the table's order."""
    return [_column(name, Counter(row[name] for row in rows), len(rows)) for name in names]


def _column(name: str, cells: Counter[str], rows: int) -> Column:
    values = {text: count for text, count in cells.items() if fold(text)}
    missing = rows - sum(values.values())
    kind = _kind(name, values)
    frequent = sorted(values.items(), key=lambda each: (-each[1], each[0]))[:FREQUENT]
    shown = [(cut(text), count) for text, count in frequent]
    if kind != "number":
        return Column(name, kind, missing, len(values), shown)
    numbers = [value for text, count in values.items() if (value := number(text)) is not None for _ in range(count)]
    return Column(name, kind, missing, len(values), shown, spread(numbers), histogram(numbers))


def _kind(name: str, values: Mapping[str, int]) -> Kind:
    rows = sum(values.values())
    if not rows:
        return "empty"
    if len(values) == 1 and rows > 1:
        return "constant"
    if _share(values, lambda text: number(text) is not None) >= _MOSTLY:
        named = _IDENTIFIER.search(name.lower()) is not None
        return "identifier" if named and len(values) > 0.5 * rows and _all_digits(values) else "number"
    for kind, pattern in _PATTERNS.items():
        if _share(values, partial(_matches, pattern)) >= _MOSTLY:
            return kind
    if name.lower() in TITLES:
        return "text"
    if len(values) <= MOST_CATEGORIES and (5 * len(values) <= rows or (len(values) <= 30 and 2 * len(values) <= rows)):
        return "category"
    one_word = _share(values, lambda text: len(text.split()) == 1) >= _MOSTLY
    return "identifier" if one_word and _IDENTIFIER.search(name.lower()) else "text"


def _matches(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.fullmatch(text.strip()) is not None


def _share(values: Mapping[str, int], holds: Callable[[str], bool]) -> float:
    """The share of distinct values for which something holds; a thousand of very many are enough to tell."""
    sample = list(values)[:: max(1, len(values) // 1000)]
    return sum(map(holds, sample)) / len(sample)


def _all_digits(values: Iterable[str]) -> bool:
    return all(text.strip().isdigit() for text in values)


def choose_roles(
    columns: Sequence[Column], title: str | None = None, category: str | None = None, price: str | None = None
) -> Roles:
    """The columns named by the user, and for the others a guess by name and kind.

    Raises:
        TableError: a named column is absent.
    """
    known = {column.name: column for column in columns}
    absent = [
        f"no column {name!r} (given as --{role}-column){nearest_name(name, known)}"
        for role, name in (("title", title), ("category", category), ("price", price))
        if name is not None and name not in known
    ]
    if absent:
        raise TableError("\n".join(absent))
    levels = _levels(columns)
    path, separator = _path_column(columns)
    category = category or _category(columns, path)
    if len(levels) < 2:
        levels, separator = ([path], separator) if path else ([category] if category else [], None)
    else:
        separator = None
    return Roles(title or _title(columns), category, price or _price(columns), levels, separator, _currency(columns))


def _named(columns: Sequence[Column], names: Sequence[str], kinds: set[Kind]) -> str | None:
    found = {column.name.lower(): column.name for column in reversed(columns) if column.kind in kinds}
    return next((found[name] for name in names if name in found), None)


def _title(columns: Sequence[Column]) -> str | None:
    texts: set[Kind] = {"text", "category", "identifier"}
    named = _named(columns, TITLES, texts)
    return named or next((column.name for column in columns if column.kind == "text"), None)


def _price(columns: Sequence[Column]) -> str | None:
    numbers: set[Kind] = {"number", "constant"}
    holding = [each.name.lower() for each in columns if "price" in each.name.lower()]
    return _named(columns, [*PRICES, *holding], numbers)


def _currency(columns: Sequence[Column]) -> str:
    named = (each for each in columns if "currency" in each.name.lower() and each.distinct == 1)
    return next((each.frequent[0][0] for each in named), "")


def _category(columns: Sequence[Column], path: str | None) -> str | None:
    """The most specific column that is called a category; else one of another usual name; else any category."""
    several = [each for each in columns if each.kind in ("category", "text") and 2 <= each.distinct <= MOST_CATEGORIES]
    called = [each for each in several if "categor" in each.name.lower()]
    called = [each for each in called if each.name != path] or called
    if called:
        return max(called, key=lambda each: each.distinct).name
    kinds: set[Kind] = {"category"}
    return _named(columns, CATEGORIES, kinds) or next((each.name for each in columns if each.kind == "category"), None)


def _levels(columns: Sequence[Column]) -> list[str]:
    """Columns such as category1_code, category2_code by their number; those that are empty are left out."""
    found = [(int(match[1]), each) for each in columns if (match := _LEVEL.fullmatch(each.name))]
    return [each.name for _, each in sorted(found, key=lambda each: each[0]) if each.kind != "empty"]


def _path_column(columns: Sequence[Column]) -> tuple[str | None, str | None]:
    """The column of paths such as Men/Tops/Tees, and what separates their parts."""
    for column in columns:
        if column.kind not in ("category", "text") or not re.search("categor|path|taxonom", column.name.lower()):
            continue
        if separator := path_separator(text for text, _ in column.frequent):
            return column.name, separator
    return None, None
