"""Identifiers and URLs that are nobody's: of the source's form, none of them the source's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np

from hangtag.catalogue.words import Inventor, slug

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
            each: [signs[0] if len(codes) >= self.min_count and len(set(signs)) == 1 else "" for signs in zip(*codes, strict=True)]
            for each, codes in groups.items()
        }

    def draw(self, like: Sequence[str]) -> list[str]:
        """One new identifier of the form of each of `like`."""
        if self.range and (self.range[1] - self.range[0]) > 4 * (len(like) + len(self.taken)):
            return self._fill([""] * len(like), lambda forms: self.rng.integers(*self.range, len(forms)).astype("U20").tolist())  # type: ignore[misc]
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

    def __init__(self, known: Sequence[str], min_count: int, rng: np.random.Generator) -> None:
        self.taken = set(known)
        self.inventor = Inventor((), rng)
        hosts = Counter(_host(url) for url in known)
        self.hosts = {
            host: f"{'shop' if not place else f'shop{place + 1}'}.example" for place, (host, _) in enumerate(hosts.most_common())
        }
        counts = Counter(word for url in known for word in set(_tokens(_path(url))))
        self.kept = {word for word, count in counts.items() if count >= min_count}

    def write(self, like: str, old: tuple[str, str], new: tuple[str, str]) -> str:
        """A URL of the shape of `like`, whose title and code `old` it shows as those of the row, `new`."""
        path = _path(like)
        title, code = (slug(old[0]), slug(new[0])), (old[1], new[1])
        held = {word for word in title[0].split("-") if word}
        made = []
        for piece in re.split(r"(/)", path):
            words = set(re.findall(r"[a-z0-9]+", piece.lower()))
            if len(held) > 1 and title[1] and 2 * len(words & held) > len(held):
                kept = [each for each in re.split(r"[^A-Za-z0-9.]+", piece) if any(sign.isdigit() for sign in each) and each.lower() not in held]
                made.append("-".join([title[1], *(self._token(each, code) for each in kept)]))
            else:
                made.append("".join(self._token(each, code) for each in re.split(r"([^A-Za-z0-9]+)", piece)))
        start = f"https://{self.hosts[_host(like)]}"
        url, tries = start + "".join(made), 0
        while url in self.taken:
            tries += 1
            url = f"{start}{''.join(made)}-{self.inventor.code('9' * (2 + tries))}"
        self.taken.add(url)
        return url

    def _token(self, token: str, code: tuple[str, str]) -> str:
        if code[0] and code[1] and token.endswith(code[0]):
            return token.removesuffix(code[0]) * (token.removesuffix(code[0]) in ("p", "P", "")) + code[1]
        if not token or token in self.kept or not token[0].isalnum():
            return token
        if len(token) > 3 and re.fullmatch(r"[0-9a-fA-F]+", token) and re.search(r"\d", token):
            signs = "0123456789ABCDEF" if token.isupper() or token.isdigit() else "0123456789abcdef"
            signs = signs[:10] if token.isdigit() else signs
            return "".join(signs[self.inventor._next(len(signs))] for _ in token)
        return self.inventor.word(token) if token.isalpha() else self.inventor.code(token)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _path(url: str) -> str:
    """All after the host."""
    found = re.match(r"^(?:[a-zA-Z]+:)?//[^/?#]*(.*)$", url, re.DOTALL)
    return found.group(1) if found else f"/{url}"


def _tokens(path: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9]+", path)
