"""The answer template both ways: a row to the text the model learns, a text to fields or "unreadable".

A template is literal text with one `{column}` for each field, for example
`Product: {title}, Category: {category}, Price: {price}`. Each field has a kind:

    text       any words; white space is collapsed
    category   one of the values seen in the training split
    number     a plain decimal number such as 1299 or 1299.95
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal

from hangtag.errors import RecipeError, ValueUnreadable, nearest_name

Kind = Literal["text", "category", "number"]
Value = str | float

_PLACE = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_MISSING = {"", "n.a.", "n/a", "na", "nan", "none", "null", "-"}


def parse_number(text: str) -> float:
    """Read a plain decimal number; no currency, no thousands separators.

    Raises:
        ValueUnreadable: anything else; where the intended number can be guessed, the message shows it.
    """
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped) and math.isfinite(value := float(stripped)):
        return value
    raise ValueUnreadable(f"{text[:40]!r} is not a plain number{_plain_form(stripped)}")


def _plain_form(text: str) -> str:
    """A hint for numbers with separators: the last of `.` and `,` is taken for the decimal mark."""
    digits = re.sub(r"[^\d.,]", "", text)
    if not re.search(r"\d", digits) or len(digits) > 30:
        return ""
    mark = max(digits.rfind("."), digits.rfind(","))
    whole, fraction = (digits[:mark], digits[mark + 1 :]) if mark >= 0 else (digits, "")
    if mark >= 0 and len(fraction) == 3 and not re.search(r"[.,]", whole):
        return "; write it without separators"
    plain = re.sub(r"[.,]", "", whole) + ("." + fraction if fraction else "")
    return f"; write {plain} if that is meant"


def format_number(value: float) -> str:
    """The shortest plain decimal form, at most two decimals: 1299.0 gives `1299`, 19.5 gives `19.5`."""
    text = f"{Decimal(repr(float(value))):.2f}"
    return text.rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Template:
    """An answer's form.

    Args:
        text: literal text with one `{column}` per field, at least one character between two of them.
        fields: each column's kind, in any order.

    Raises:
        RecipeError: places and fields do not match, a place stands twice, or two stand side by side.
    """

    text: str
    fields: Mapping[str, Kind]

    def __post_init__(self) -> None:
        problems = []
        for name in self.names:
            if name not in self.fields:
                problems.append(f"answer has {{{name}}}, which is not in task.fields{nearest_name(name, self.fields)}")
            if self.names.count(name) > 1:
                problems.append(f"answer has {{{name}}} more than once")
        problems += [
            f"task.fields has {name}, which the answer does not write; add {{{name}}} to it or drop the field"
            for name in self.fields
            if name not in self.names
        ]
        if re.search(r"\}\{", self.text):
            problems.append("answer has two fields side by side; put some text between them")
        if not self.names:
            problems.append("answer has no field; write at least one {column} in it")
        if problems:
            raise RecipeError("; ".join(dict.fromkeys(problems)))

    @cached_property
    def names(self) -> list[str]:
        """The fields in the order in which they are written."""
        return _PLACE.findall(self.text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        literals = _PLACE.split(self.text)
        parts = ["(.+?)" if index % 2 else re.escape(each) for index, each in enumerate(literals)]
        return re.compile("".join(parts), re.DOTALL)

    def clean(self, row: Mapping[str, str]) -> dict[str, Value]:
        """The fields of a table's row, as an answer holds them.

        Raises:
            ValueUnreadable: a value is missing or is no number; all problems of the row in one message.
        """
        values: dict[str, Value] = {}
        problems = []
        for name in self.names:
            text = " ".join(row[name].split())
            if text.casefold() in _MISSING:
                problems.append(f"{name} is {text!r}, a missing value" if text else f"{name} is empty")
                continue
            try:
                values[name] = float(format_number(parse_number(text))) if self.fields[name] == "number" else text
            except ValueUnreadable as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise ValueUnreadable("; ".join(problems))
        if self.read(self.write(values)) != values:
            raise ValueUnreadable(
                "the answer written from this row cannot be read back: a value holds the template's own words"
            )
        return values

    def write(self, values: Mapping[str, Value]) -> str:
        """The answer's text, from values as `clean` or `read` return them."""
        return _PLACE.sub(lambda place: written(values[place[1]]), self.text)

    def read(self, text: str) -> dict[str, Value] | None:
        """The fields of an answer, or None where it is unreadable: another form, or a number that is none."""
        match = self._pattern.fullmatch(text.strip())
        if match is None:
            return None
        values: dict[str, Value] = {}
        for name, found in zip(self.names, match.groups(), strict=True):
            try:
                values[name] = parse_number(found) if self.fields[name] == "number" else " ".join(found.split())
            except ValueUnreadable:
                return None
            if values[name] == "":
                return None
        return values

    def spans(self, text: str) -> dict[str, tuple[int, int]] | None:
        """Where each field's words stand in a text, from first to behind the last letter; None where it is unreadable.

        White space around a field's words is not part of them.
        """
        if self.read(text) is None:
            return None
        lead = len(text) - len(text.lstrip())
        match = self._pattern.fullmatch(text.strip())
        assert match is not None
        found = {}
        for place, name in enumerate(self.names, 1):
            start, words = match.start(place), match.group(place)
            start += len(words) - len(words.lstrip())
            found[name] = (lead + start, lead + start + len(words.strip()))
        return found

    @property
    def lead(self) -> str:
        """The literal text before the first field."""
        return _PLACE.split(self.text)[0]

    def before(self, name: str) -> str:
        """A pattern that an answer's text matches up to where a field's words begin."""
        place = 2 * self.names.index(name) + 1
        literals = _PLACE.split(self.text)[:place]
        return "".join("(.+?)" if index % 2 else re.escape(each) for index, each in enumerate(literals))

    def follows(self, name: str) -> str:
        """The literal text between a field and the next one, or the answer's end."""
        return _PLACE.split(self.text)[2 * self.names.index(name) + 2]


def written(value: Value) -> str:
    """A value as an answer holds it."""
    return value if isinstance(value, str) else format_number(value)


def known_categories(template: Template, rows: Iterable[Mapping[str, Value]]) -> dict[str, list[str]]:
    """Each category field's values in `rows`, sorted."""
    seen: dict[str, set[str]] = {name: set() for name in template.names if template.fields[name] == "category"}
    for row in rows:
        for name in seen:
            seen[name].add(str(row[name]))
    return {name: sorted(values) for name, values in seen.items()}
