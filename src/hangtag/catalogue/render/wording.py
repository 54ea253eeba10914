"""What a row's text says about how its product looks.

Words are looked up as they stand, joined with the next ones ("off-white", "borsa a tracolla"), and without a plural's
ending; a kind also at the end of a compound ("Regenjacke"). Chinese is cut into the longest words that are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from hangtag.catalogue.render.palette import RGB
from hangtag.catalogue.render.vocabulary import (
    COLOUR_WORD,
    DARKER,
    FAMILIES,
    FAMILY_WORDS,
    FITTING_WORDS,
    HEAD_FIRST,
    KIND_WORDS,
    LIGHTER,
    MATERIAL_WORDS,
    PATTERN_WORDS,
    PEOPLE,
    SHADE,
    SIZE_WORDS,
    SLEEVE_WORDS,
    STOP_WORDS,
    WITH,
    plain,
    words_of,
)
from hangtag.catalogue.split import fold

LONGEST_TEXT = 500
"""Characters of a text that are read; what stands behind them changes nothing."""
LONGEST_PHRASE = 4
LONGEST_WORD = 40
SHORTEST_HEAD = 5
SAME_COLOUR = 90.0

Value = TypeVar("Value")
Match = tuple[int, int, Value]
"""Where a phrase begins, how many words it has, and what it means."""


@dataclass(frozen=True)
class Said:
    """What the text says; "", None or () where it says nothing.

    kind: a kind that can be drawn, or a family of them; name: the folded name of an unknown category; colours: the
    first and the second; size, sleeves: "-" or "+"; unknown: the last word that no list has.
    """

    kind: str
    name: str
    colours: tuple[RGB, ...]
    pattern: str
    material: str
    size: str
    sleeves: str
    fitting: str
    unknown: str


def read(category: str, words: str) -> Said:
    """What a category and a title, with its colours and patterns, say. The category decides on the kind where it has
    one; where it names a family, the title may choose within it; where it is missing, the title decides."""
    folded = fold(category[:LONGEST_TEXT])[:LONGEST_TEXT]
    text = plain(words[:LONGEST_TEXT])[:LONGEST_TEXT]
    tokens = _tokens(text)
    kind = _named(folded)
    if kind in FAMILIES or not folded:
        titled = _kinds(WITH.split(text)[0])
        members = FAMILIES[kind] if folded else FAMILIES[PEOPLE]
        kind = next((kind for each in titled for kind in _within(each) if kind in members), members[0])
    return Said(
        kind=kind,
        name="" if kind else folded,
        colours=_colours(tokens),
        pattern=_only(tokens, PATTERN_WORDS),
        material=_only(tokens, MATERIAL_WORDS),
        size=_only(tokens, SIZE_WORDS),
        sleeves=_only(tokens, SLEEVE_WORDS),
        fitting=_only(tokens, FITTING_WORDS),
        unknown=_unknown(tokens),
    )


@lru_cache(maxsize=1024)
def _named(folded: str) -> str:
    """The kind or the family that a category names, "" if none."""
    return next(iter(_kinds(plain(folded))), "")


_WORD = re.compile(r"[^\W\d_]+|[/&,+|;>、，／＆]")
_HAN = re.compile(r"([\u3400-\u9fff]+)")
_BREAKS = frozenset("/&,+|;>、，／＆")
_AND = frozenset({"and", "und", "et", "e", "y", "oder", "or", "和", "与"})
BREAK = "|"

_TABLES = (PATTERN_WORDS, MATERIAL_WORDS, FITTING_WORDS, SIZE_WORDS, SLEEVE_WORDS)
_HAN_WORDS = frozenset(
    word
    for table in (KIND_WORDS, FAMILY_WORDS, COLOUR_WORD, *_TABLES, LIGHTER, DARKER, STOP_WORDS, _AND)
    for word in table
    if _HAN.match(word)
)
_LONGEST_HAN = max(map(len, _HAN_WORDS))


def _tokens(text: str) -> list[str]:
    """The words of a plain text, BREAK where two things are told apart."""
    tokens: list[str] = []
    for word in _WORD.findall(text):
        for part in _HAN.split(word):
            if _HAN.match(part):
                tokens += _cut(part)
            elif part:
                tokens.append(BREAK if part in _BREAKS or part in _AND else part)
    return tokens


def _cut(run: str) -> list[str]:
    """A run of Chinese characters as words, longest first; what is between known words stays together."""
    words, start, at = [], 0, 0
    while at < len(run):
        length = next((n for n in range(_LONGEST_HAN, 0, -1) if run[at : at + n] in _HAN_WORDS), 0)
        if length:
            words += [run[start:at]] if at > start else []
            word = run[at : at + length]
            words.append(BREAK if word in _AND else word)
            start = at + length
        at += length or 1
    return [*words, run[start:]] if start < len(run) else words


def _singulars(word: str) -> list[str]:
    forms = [word]
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if word.endswith("es"):
        forms.append(word[:-2])
    if word.endswith("s"):
        forms.append(word[:-1])
    return forms


def _look_up(word: str, table: Mapping[str, Value]) -> Value | None:
    return next((table[form] for form in _singulars(word) if form in table), None)


def _matches(tokens: Sequence[str], find: Callable[[Sequence[str]], Value | None]) -> list[Match[Value]]:
    """The longest phrases that `find` knows, from left to right, none within another."""
    found: list[Match[Value]] = []
    at = 0
    while at < len(tokens):
        step = 1
        for count in range(min(LONGEST_PHRASE, len(tokens) - at), 0, -1):
            phrase = tokens[at : at + count]
            value = None if BREAK in phrase else find(phrase)
            if value is not None:
                found.append((at, count, value))
                step = count
                break
        at += step
    return found


def _in(table: Mapping[str, Value]) -> Callable[[Sequence[str]], Value | None]:
    return lambda phrase: _look_up("".join(phrase), table)


def _only(tokens: Sequence[str], table: Mapping[str, str]) -> str:
    """What the first of a table's words that a text has stands for."""
    found = _matches(tokens, _in(table))
    return found[0][2] if found else ""


def _kind(phrase: Sequence[str]) -> str | None:
    """The kind or the family that a phrase names; one word also as the end of a compound."""
    word = "".join(phrase)
    ends = range(1, min(len(word), LONGEST_WORD) - SHORTEST_HEAD + 1) if len(phrase) == 1 else ()
    for form in (word, *(word[at:] for at in ends)):
        found = _look_up(form, KIND_WORDS) or _look_up(form, FAMILY_WORDS)
        if found:
            return found
    return None


def _kinds(text: str) -> list[str]:
    """What each of the things is that a plain text names: the first's first, but kinds before families."""
    kinds: list[str] = []
    thing: list[str] = []
    for token in [*_tokens(text), BREAK]:
        if token != BREAK:
            thing.append(token)
        elif thing:
            kinds += _head(thing)
            thing = []
    return sorted(kinds, key=lambda kind: (kind in FAMILIES) + (kind == PEOPLE))


def _head(thing: Sequence[str]) -> list[str]:
    """What a thing is, or nothing: of its words the last counts ("shirt dress"), or the first where a preposition
    follows ("borsa di tela"); a family gives way to one of its members ("backpack bag")."""
    found = [value for _, _, value in _matches(thing, _kind)]
    named = [kind for kind in found if kind != PEOPLE] or found
    if not named:
        return []
    head = named[0 if HEAD_FIRST.search(" ".join(thing)) else -1]
    return [next((kind for kind in named if kind in FAMILIES.get(head, ())), head)]


def _within(kind: str) -> tuple[str, ...]:
    """A kind; or what a family is where nothing tells more."""
    return FAMILIES.get(kind, (kind,))[:1]


def _colours(tokens: Sequence[str]) -> tuple[RGB, ...]:
    """The first two colours that a text names and that differ; "dark red" is one, and so is "olive green"."""
    found = _matches(tokens, _colour)
    colours: list[RGB] = []
    nuance = -1  # where a hue would only say what the colour before it is like
    for at, count, (rgb, hue) in found:
        if hue and at == nuance:
            continue
        nuance = -1 if hue or rgb in _PURE else at + count
        rgb = _modified(rgb, tokens[at - 1 : at] if at else [], tokens[at + count : at + count + 1])
        if all(sum((a - b) ** 2 for a, b in zip(rgb, other, strict=True)) > SAME_COLOUR**2 for other in colours):
            colours.append(rgb)
    return tuple(colours[:2])


# A hue that directly follows another colour only says what that one is like ("navy blue", but not "black red").
_PURE = tuple(SHADE[name] for name in ("Black", "White", "Gold", "Silver"))
_HUES = words_of("blue green red pink brown grey gray purple yellow beige orange")


def _colour(phrase: Sequence[str]) -> tuple[RGB, bool] | None:
    """The colour that a phrase names, and whether it is a hue."""
    word = "".join(phrase)
    if (rgb := _look_up(word, COLOUR_WORD)) is not None:
        return rgb, word in _HUES
    for prefix in ("dunkel", "hell", "dark", "light"):
        rest = word.removeprefix(prefix)
        if rest != word and (rgb := _look_up(rest, COLOUR_WORD)) is not None:
            return _shifted(rgb, lighter=prefix in LIGHTER), False
    return None


def _modified(rgb: RGB, before: Sequence[str], after: Sequence[str]) -> RGB:
    for word in (*before, *after):
        if word in LIGHTER or word in DARKER:
            return _shifted(rgb, lighter=word in LIGHTER)
    return rgb


def _shifted(rgb: RGB, lighter: bool) -> RGB:
    r, g, b = (round(each + 0.45 * (255 - each)) if lighter else round(0.55 * each) for each in rgb)
    return r, g, b


def _unknown(tokens: Sequence[str]) -> str:
    """The last word that no list has: the only thing that such a row says about its product's colour."""
    known = {BREAK: None, **dict.fromkeys(STOP_WORDS), **dict.fromkeys(LIGHTER), **dict.fromkeys(DARKER)}
    finders: list[Callable[[Sequence[str]], object]] = [_kind, _colour, *map(_in, _TABLES)]
    said = {at + i for find in finders for at, count, _ in _matches(tokens, find) for i in range(count)}
    left = (word for at, word in reversed(list(enumerate(tokens))) if at not in said and word not in known)
    return next((word for word in left if len(word) > 2 or _HAN.match(word)), "")
