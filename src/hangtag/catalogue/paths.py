"""Categories that are paths, such as Men/Tops/Tees: what separates their parts, and the parts."""

from __future__ import annotations

from collections.abc import Iterable

SEPARATORS = ("/", ">", "|")


def path_separator(values: Iterable[str]) -> str | None:
    """The first of SEPARATORS that parts more than half of the distinct values in two or more; None if none does."""
    distinct = set(values)
    for separator in SEPARATORS:
        if 2 * sum(len(path_parts(value, separator)) > 1 for value in distinct) > len(distinct):
            return separator
    return None


def path_parts(value: str, separator: str) -> tuple[str, ...]:
    """The parts from coarse to fine, without white space around them; empty parts are left out."""
    return tuple(stripped for part in value.split(separator) if (stripped := part.strip()))
