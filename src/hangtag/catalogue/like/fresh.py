"""Identifiers and URLs that are nobody's: of the source's form, none of them the source's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np

from hangtag.catalogue.like.words import Inventor, slug

MOST_FORMS = 200
"""Forms of identifiers that are kept; those of the others are drawn among these."""
_ROUNDS = 20
_HEX_LENGTH = 8
_CLASSES = str.maketrans({
    **dict.fromkeys("0123456789", "9"), **dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "a"),
    **dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "A"),
})  # fmt: skip
_SIGNS = {
    "9": "0123456789", "a": "abcdefghijklmnopqrstuvwxyz", "A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "x": "0123456789abcdef", "X": "0123456789ABCDEF",
}  # fmt: skip


def form(code: str) -> str:
    """9 for a digit, a and A for a letter (hexadecimal ones: x and X), every other sign as it stands."""
    if len(code) >= _HEX_LENGTH and re.fullmatch(r"[0-9a-f-]*[a-f][0-9a-f-]*", code) and re.search(r"\d", code):
        return re.sub(r"[0-9a-f]", "x", code)
    if len(code) >= _HEX_LENGTH and re.fullmatch(r"[0-9A-F-]*[A-F][0-9A-F-]*", code) and re.search(r"\d", code):
        return re.sub(r"[0-9A-F]", "X", code)
    made = code.translate(_CLASSES)
    return made if made.isascii() else "".join("a" if sign.isalpha() and not sign.isascii() else sign for sign in made)


class Codes:
    """Fresh identifiers; each is given out once."""

    def __init__(self, known: Sequence[str], min_count: int, rng: np.random.Generator) -> None:
        """`known`: the source's distinct ones, none of which is ever given out."""
        self.taken = set(known)
        self.rng = rng
        self.min_count = min_count
        forms = Counter(map(form, known))
        self.forms = [each for each, _ in forms.most_common(MOST_FORMS)]
        self.shares = np.array([forms[each] for each in self.forms], float)
        self.shares /= self.shares.sum()
        self.fixed = self._fixed_signs(known)
        whole = all(re.fullmatch(r"[1-9]\d{0,17}", code) for code in known)
        self.range = (min(map(int, known)), max(map(int, known)) + 1) if whole else None

    def _fixed_signs(self, known: Sequence[str]) -> dict[str, list[str]]:
        """Signs that all codes of a form share, such as a prefix; "" where they differ or the codes are few."""
        groups: dict[str, list[str]] = {}
        for code in known[:: max(1, len(known) // 20_000)]:
            groups.setdefault(form(code), []).append(code)
        return {
            each: [
                signs[0] if len(codes) >= self.min_count and len(set(signs)) == 1 else ""
                for signs in zip(*codes, strict=True)
            ]
            for each, codes in groups.items()
        }

    def draw(self, like: Sequence[str]) -> list[str]:
        """One new identifier of the form of each of `like`."""
        if self.range and (self.range[1] - self.range[0]) > 4 * (len(like) + len(self.taken)):
            return self._fill(
                [""] * len(like), lambda forms: self.rng.integers(*self.range, len(forms)).astype("U20").tolist()
            )  # type: ignore[misc]
        others = self.rng.choice(len(self.forms), len(like), p=self.shares)
        known = set(self.forms)
        wanted = [each if each in known else self.forms[others[place]] for place, each in enumerate(map(form, like))]
        return self._fill(wanted, self._like_forms)

    def _fill(self, forms: list[str], make: object) -> list[str]:
        assert callable(make)
        result = [""] * len(forms)
        waiting = list(range(len(forms)))
        for attempt in range(_ROUNDS):
            left = []
            for place, code in zip(waiting, make([forms[place] for place in waiting]), strict=True):
                if code in self.taken:
                    left.append(place)
                else:
                    self.taken.add(code)
                    result[place] = code
            waiting = left
            if not waiting:
                break
            if attempt >= 2:  # its form is used up
                for place in waiting:
                    forms[place] += "9"
                make = self._like_forms
        assert not waiting
        return result

    def _like_forms(self, forms: Sequence[str]) -> list[str]:
        places: dict[str, list[int]] = {}
        for place, each in enumerate(forms):
            places.setdefault(each, []).append(place)
        result = [""] * len(forms)
        for each, where in places.items():
            for place, code in zip(where, self._of_form(each, len(where)), strict=True):
                result[place] = code
        return result

    def _of_form(self, shape: str, count: int) -> list[str]:
        fixed = self.fixed.get(shape, [""] * len(shape))
        if not shape:
            shape, fixed = "9", [""]
        columns = np.empty((count, len(shape)), "U1")
        for place, kind in enumerate(shape):
            choice = _SIGNS.get(kind, kind)
            if place == 0 and kind == "9":
                choice = choice[1:]
            columns[:, place] = fixed[place] or np.array(list(choice))[self.rng.integers(0, len(choice), count)]
        return columns.view(f"U{len(shape)}")[:, 0].tolist()


class Links:
    """Fresh URLs: under `.example`, with the path segments that many URLs share, and new ones for the rest."""

    def __init__(
        self, known: Sequence[str], learned: Sequence[tuple[str, str, str]], min_count: int, rng: np.random.Generator
    ) -> None:
        """
        Args:
            known: the source's URLs, none of which is ever given out.
            learned: some of them, each with the title and the identifier of its row, or "".
        """
        self.taken = set(known)
        self.inventor = Inventor((), rng)
        hosts = Counter(_host(url) for url, _, _ in learned)
        self.hosts = {host: f"https://shop{place or ''}.example" for place, (host, _) in enumerate(hosts.most_common())}
        counts = Counter(word for url, _, _ in learned for word in set(re.findall(r"[A-Za-z0-9]+", _path(url))))
        self.kept = {word for word, count in counts.items() if count >= min_count}
        self.shapes = [self._shape(*each) for each in learned]

    def _shape(self, url: str, title: str, code: str) -> list[tuple[str, str]]:
        """What a URL is made of: (kind, text), where the kind says what a new one has there."""
        made = [("kept", self.hosts[_host(url)])]
        held = set(slug(title).split("-"))
        for piece in re.split(r"(/)", _path(url)):
            words = re.findall(r"[a-z0-9]+", piece.lower())
            if title and len(held & set(words)) > len(held) / 2:
                made.append(("title", ""))
                rest = [word for word in re.findall(r"[A-Za-z0-9]+", piece) if word.lower() not in held]
                for word in (word for word in rest if any(sign.isdigit() for sign in word)):
                    made += [("kept", "-"), *self._tokens(word, code)]
            else:
                for word in re.split(r"([^A-Za-z0-9]+)", piece):
                    made += self._tokens(word, code)
        return made

    def _tokens(self, word: str, code: str) -> list[tuple[str, str]]:
        if code and word.endswith(code) and len(word) - len(code) <= 1:
            return [("kept", word.removesuffix(code)), ("code", code)]
        if not word or not word.isalnum() or word in self.kept:
            return [("kept", word)]
        if len(word) > 3 and re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", word) and not word.isalpha() and not word.isdigit():
            return [("HEX" if word.isupper() else "hex", word)]
        return [("word", word)]

    def write(self, shape: int, title: str, code: str) -> str:
        """A URL in the shape of a learned one, that shows the title and the identifier where that did."""
        made = "".join([self._fill(kind, text, title, code) for kind, text in self.shapes[shape]])
        url = made
        while url in self.taken:
            url = f"{made}-{self.inventor.below(1 << 40):x}"
        self.taken.add(url)
        return url

    def _fill(self, kind: str, text: str, title: str, code: str) -> str:
        if kind == "kept":
            return text
        if kind == "title" and title:
            return slug(title)
        if kind == "code" and code:
            return code
        if kind in ("hex", "HEX"):
            made = f"{self.inventor.below(1 << 60):015x}{self.inventor.below(1 << 60):015x}"[-len(text) :]
            return made if kind == "hex" else made.upper()
        return self.inventor.word(text or "word")


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _path(url: str) -> str:
    """All after the host."""
    found = re.match(r"^(?:[a-zA-Z]+:)?//[^/?#]*(.*)$", url, re.DOTALL)
    return found.group(1) if found else f"/{url}"
