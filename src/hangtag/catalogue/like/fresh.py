"""Identifiers and URLs that are nobody's: of the source's form, none of them the source's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hangtag.catalogue.like.invented import Inventor
from hangtag.catalogue.like.pieces import Piece, Vocabulary, anew, by_form
from hangtag.catalogue.like.texts import Places, Taken, as_list, joined_texts, ragged, strings
from hangtag.catalogue.like.words import slug

MOST_FORMS = 200
"""Forms of identifiers that are kept; those of the others are drawn among these."""
_ROUNDS, _ROUNDS_IN_RANGE = 30, 10
_HEX_LENGTH = 8
_AT_ONCE = 50_000
_TITLE, _CODE = -1, -2
_DIGITS, _LOWER, _UPPER = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CLASSES = str.maketrans(_DIGITS + _LOWER + _UPPER, "9" * 10 + "a" * 26 + "A" * 26)
_HEX_CLASSES = (("0-9a-f", "x"), ("0-9A-F", "X"))


def form(code: str) -> str:
    """9 for a digit, a and A for a letter (hexadecimal ones: x and X), every other sign as it stands."""
    for signs, sign in _HEX_CLASSES:
        letters = signs.removeprefix("0-9")
        shape = f"[{signs}-]*[{letters}][{signs}-]*"
        if len(code) >= _HEX_LENGTH and re.fullmatch(shape, code) and re.search(r"\d", code):
            return re.sub(f"[{signs}]", sign, code)
    made = code.translate(_CLASSES)
    return made if made.isascii() else "".join("a" if sign.isalpha() and not sign.isascii() else sign for sign in made)


def forms_of(codes: Any) -> tuple[Places, list[str]]:
    """`form` of every code: for each its place among the distinct ones, and those."""
    formed = _translated(codes, _CLASSES)
    long = pc.and_(pc.greater_equal(pc.utf8_length(codes), _HEX_LENGTH), pc.match_substring_regex(codes, "[0-9]"))
    for signs, sign in _HEX_CLASSES:
        letters = signs.removeprefix("0-9")
        hexadecimal = pc.and_(long, pc.match_substring_regex(codes, f"^[{signs}-]*[{letters}][{signs}-]*$"))
        if pc.any(hexadecimal).as_py():
            classes = str.maketrans(_DIGITS + ("abcdef" if sign == "x" else "ABCDEF"), sign * 16)
            formed = pc.if_else(hexadecimal, _translated(codes, classes), formed)
    foreign = np.flatnonzero(~pc.string_is_ascii(codes).to_numpy(zero_copy_only=False)).tolist()
    if foreign:
        listed = as_list(formed)
        for place in foreign:
            listed[place] = form(codes[place].as_py())
        formed = strings(listed)
    encoded = formed.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _translated(texts: Any, classes: Mapping[int, int | str]) -> Any:
    """ASCII signs for others, byte by byte."""
    texts = joined_texts(texts)
    table = np.arange(256, dtype=np.uint8)
    for sign, other in classes.items():
        table[sign] = other
    _, offsets, data = texts.buffers()
    bytes_ = table[np.frombuffer(data, np.uint8)] if data is not None else np.empty(0, np.uint8)
    return pa.LargeStringArray.from_buffers(len(texts), offsets, pa.py_buffer(bytes_), offset=texts.offset)


class Codes:
    """Fresh identifiers; each is given out once."""

    def __init__(self, known: Any, min_count: int, rng: np.random.Generator) -> None:
        """`known`: the source's distinct ones, none of which is ever given out."""
        self.taken = Taken(as_list(known))
        self.rng = rng
        codes, forms = forms_of(known)
        counts = np.bincount(codes)
        most = np.argsort(-counts, kind="stable")[:MOST_FORMS]
        self.forms = [forms[place] for place in most.tolist()]
        self.shares = counts[most] / counts[most].sum()
        self.fixed = [self._fixed_signs(known.filter(pa.array(codes == place)), min_count) for place in most]
        whole = pc.all(pc.match_substring_regex(known, r"^[1-9][0-9]{0,17}$")).as_py()
        ends = pc.min_max(known.cast(pa.int64())).as_py() if whole else {"min": 0, "max": -1}
        self.low, self.high = int(ends["min"]), int(ends["max"]) + 1

    def _fixed_signs(self, codes: Any, min_count: int) -> list[str]:
        """Signs that all codes of a form share, such as a prefix; "" where they differ or the codes are few."""
        listed = codes.take(pa.array(np.arange(0, len(codes), max(1, len(codes) // 20_000)))).to_pylist()
        return [
            signs[0] if len(listed) >= min_count and len(set(signs)) == 1 else "" for signs in zip(*listed, strict=True)
        ]

    def draw(self, like: Any) -> Any:
        """One new identifier of the form of each of `like`."""
        made = [strings([])]
        rows = [np.empty(0, np.int64)]
        waiting = np.arange(len(like))
        if self.high - self.low > 4 * (len(like) + len(self.taken.hashes)):
            for _ in range(_ROUNDS_IN_RANGE):
                drawn = pa.array(self.rng.integers(self.low, self.high, len(waiting)))
                waiting = self._keep(drawn.cast(pa.large_string()), waiting, rows, made)
        wanted = self._wanted(like.take(pa.array(waiting)))
        forms, fixed = list(self.forms), list(self.fixed)
        for attempt in range(_ROUNDS):
            if not len(waiting):
                break
            if attempt >= 3:  # its form is used up
                used, wanted = np.unique(wanted, return_inverse=True)
                forms, fixed = [forms[place] + "9" for place in used], [fixed[place] + [""] for place in used]
            leading = ["1" + each[1:] if each.startswith("9") else each for each in forms]
            before = waiting
            waiting = self._keep(by_form(wanted, leading, self.rng, fixed), waiting, rows, made)
            wanted = wanted[np.isin(before, waiting)]
        assert not len(waiting)
        back = np.empty(len(like), np.int64)
        back[np.concatenate(rows)] = np.arange(len(like))
        return joined_texts(*made).take(pa.array(back))

    def _wanted(self, like: Any) -> Places:
        """The place of the form of each of `like`; where it is none of the kept ones, of another."""
        codes, forms = forms_of(like)
        places = {each: place for place, each in enumerate(self.forms)}
        wanted = np.array([places.get(each, -1) for each in forms], np.int64)[codes]
        others = self.rng.choice(len(self.forms), len(like), p=self.shares)
        return np.where(wanted < 0, others, wanted)

    def _keep(self, codes: Any, waiting: Places, rows: list[Places], made: list[Any]) -> Places:
        """Keep the codes that are new; return those that still wait."""
        new = self.taken.admit(as_list(codes))
        rows.append(waiting[new])
        made.append(codes.filter(pa.array(new)))
        return waiting[~new]


class Links:
    """Fresh URLs: under `.example`, with the path segments that many URLs share, and new ones for the rest."""

    def __init__(
        self, known: Any, learned: Sequence[tuple[str, str, str]], min_count: int, rng: np.random.Generator
    ) -> None:
        """
        Args:
            known: the source's URLs, none of which is ever given out.
            learned: some of them, each with the title and the identifier of its row, or "".
        """
        self.taken = Taken(as_list(known))
        self.rng = rng
        hosts = Counter(_host(url) for url, _, _ in learned)
        self.hosts = {host: f"https://shop{place or ''}.example" for place, (host, _) in enumerate(hosts.most_common())}
        counts = Counter(word for url, _, _ in learned for word in set(re.findall(r"[A-Za-z0-9]+", _path(url))))
        self.kept = {word for word, count in counts.items() if count >= min_count}
        shapes = [self._shape(*each) for each in learned]
        places = {
            piece: place for place, piece in enumerate(dict.fromkeys(piece for shape in shapes for piece in shape))
        }
        self.pieces = Vocabulary([piece for _, piece in places], Inventor((), rng), rng)
        self.given = np.array([given for given, _ in places], np.int64)
        self.flat = np.array([places[piece] for shape in shapes for piece in shape], np.int64)
        self.lengths = np.array([len(shape) for shape in shapes], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths

    def _shape(self, url: str, title: str, code: str) -> list[tuple[int, Piece]]:
        """What a URL is made of: pieces, each with _TITLE or _CODE where the new row's own stands instead."""
        made = [(0, Piece(self.hosts[_host(url)]))]
        held = set(slug(title).split("-"))
        for piece in re.split(r"(/)", _path(url)):
            words = re.findall(r"[a-z0-9]+", piece.lower())
            if title and len(held & set(words)) > len(held) / 2:
                made.append((_TITLE, anew("word")))
                rest = [word for word in re.findall(r"[A-Za-z0-9]+", piece) if word.lower() not in held]
                for word in (word for word in rest if any(sign.isdigit() for sign in word)):
                    made += [(0, Piece("-")), *self._tokens(word, code)]
            else:
                for word in re.split(r"([^A-Za-z0-9]+)", piece):
                    made += self._tokens(word, code)
        return made

    def _tokens(self, word: str, code: str) -> list[tuple[int, Piece]]:
        if code and word.endswith(code) and len(word) - len(code) <= 1:
            return [(0, Piece(word.removesuffix(code))), (_CODE, anew(code))]
        if not word or not word.isalnum() or word in self.kept:
            return [(0, Piece(word))]
        if len(word) > 3 and re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", word) and not word.isalpha() and not word.isdigit():
            return [(0, Piece(word, form=("X" if word.isupper() else "x") * len(word)))]
        return [(0, anew(word))]

    def write(self, shapes: Places, titles: Any, codes: Any) -> Any:
        """URLs in the shapes of learned ones, that show titles (as slugs) and identifiers where those did."""
        made = []
        for start in range(0, len(shapes), _AT_ONCE):
            given = [each.slice(start, _AT_ONCE) for each in (titles, codes)]
            made.append(self._write(shapes[start : start + _AT_ONCE], given))
        return joined_texts(*made) if made else strings([])

    def _write(self, shapes: Places, given: Sequence[Any]) -> Any:
        lengths = self.lengths[shapes]
        pieces = self.flat[ragged(self.starts[shapes], lengths)]
        rows = np.repeat(np.arange(len(shapes)), lengths)
        own = self.given[pieces]
        for kind, texts in zip((_TITLE, _CODE), given, strict=True):
            there = pc.not_equal(texts, "").to_numpy(zero_copy_only=False)
            pieces[(own == kind) & there[rows]] = kind
        urls = self.pieces.write(pieces, lengths, "", given)
        new = self.taken.admit(as_list(urls))
        while not new.all():
            old = np.flatnonzero(~new)
            ends = by_form(np.zeros(len(old), np.int64), ["x" * 10], self.rng)
            other = pc.binary_join_element_wise(urls.take(pa.array(old)), ends, pa.scalar("-", pa.large_string()))
            places = np.arange(len(urls))
            places[old] = len(urls) + np.arange(len(old))
            urls = joined_texts(urls, other).take(pa.array(places))
            new[old] = self.taken.admit(as_list(other))
        return urls


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _path(url: str) -> str:
    """All after the host."""
    found = re.match(r"^(?:[a-zA-Z]+:)?//[^/?#]*(.*)$", url, re.DOTALL)
    return found.group(1) if found else f"/{url}"
