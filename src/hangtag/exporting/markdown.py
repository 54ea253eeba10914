"""Text from elsewhere on a page of Markdown: a product's name must not become a heading, a link or a script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# A colon before a word or an at sign makes a link of what surrounds it, a dollar a formula.
_MARKS = re.compile(r"[\\`*_{}\[\]#!|~@$^]|:(?=\S)|(?<=\bwww)\.")
_AT_THE_START = re.compile(r"^(\d*)([-+=.)])")
_UNSEEN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")


class Markdown(str):
    """Text that is Markdown already and is put on the page as it is."""

    __slots__ = ()


def one_line(text: object) -> str:
    """The text in one line, without what is not seen: line ends, control characters, marks of direction."""
    return _UNSEEN.sub(" ", str(text)).strip()


def plain(text: object) -> str:
    """Text to be read as it stands: in one line, its marks of Markdown and HTML escaped. `Markdown` is left alone."""
    if isinstance(text, Markdown):
        return text
    escaped = _AT_THE_START.sub(r"\1\\\2", _MARKS.sub(r"\\\g<0>", one_line(text)))
    return Markdown("".join(_ENTITIES.get(letter, letter) for letter in escaped))


def code(text: object) -> Markdown:
    """Text as code inside a line."""
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return Markdown(f"{fence}{space}{line}{space}{fence}")


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table; its first column to the left, the others to the right."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    lines = [[plain(each) for each in head], ruler, *([plain(each) for each in row] for row in rows)]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))
