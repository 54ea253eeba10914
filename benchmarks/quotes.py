"""Bring the figures that the docs quote up to date with benchmarks/results.

    python benchmarks/quotes.py           # say what is out of date; ends with 1 where something is
    python benchmarks/quotes.py --write   # change it

quotes.toml holds, for each file, sentences with places such as {predict.plain_ratio:.1f} or {serve.single*1000:.0f}: a
results file, keys in it (those of `found` first), a factor, and a format. tests/test_quotes.py holds the docs to them.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from hangtag.files import read_json, write_whole

HERE = Path(__file__).parent
PLACE = re.compile(r"\{([\w.]+)(?:\*([\d.]+))?:([^}]+)\}")


def quotes() -> list[tuple[str, str]]:
    """Files and their sentences."""
    found = tomllib.loads((HERE / "quotes.toml").read_text(encoding="utf-8"))
    return [(file, text) for file, texts in found.items() for text in texts]


def value(path: str) -> Any:
    """A figure by its results file and keys."""
    name, *keys = path.split(".")
    found = read_json(HERE / "results" / f"{name}.json")
    found = found["found"] if keys[0] in found["found"] else found
    for key in keys:
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def filled(text: str) -> str:
    """A sentence with its figures."""
    return PLACE.sub(lambda place: format(value(place[1]) * float(place[2] or 1), place[3]), text)


def written(document: str, text: str) -> str | None:
    """A document whose place for the sentence holds it as it is now; None where there is no such place, or several."""
    parts = re.split(r"\{[^}]+\}", text)
    pattern = r"-?[\d.,]*\d".join(map(re.escape, parts))
    return re.sub(pattern, lambda _: filled(text), document) if len(re.findall(pattern, document)) == 1 else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    wrong = 0
    for file, text in quotes():
        path = HERE.parent / file
        document = path.read_text(encoding="utf-8")
        if filled(text) in document:
            continue
        new = written(document, text)
        if options.write and new is not None:
            write_whole(path, new)
            print(f"{file}: {filled(text)}")
        else:
            print(f"{file} should say: {filled(text)}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
