"""Bring the figures that the docs quote up to date with benchmarks/results.

    python benchmarks/quotes.py           # say what is out of date; ends with 1 where something is
    python benchmarks/quotes.py --write   # change it

quotes.toml holds, for each file, sentences with places such as {predict.plain_ratio:.1f} or {serve.single*1000:.0f}: a
results file, keys in it (those of `found` first), a factor, and a format. constants.toml holds, for each file, pieces
of text whose numbers are no measurement. Every number of README and docs stands in one or the other, code and the two
diaries aside; tests/test_quotes.py holds the docs to that.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from hangtag.errors import HangtagError
from hangtag.files import read_json, write_whole

HERE = Path(__file__).parent
ROOT = HERE.parent
DIARIES = {"docs/decisions.md", "docs/log.md"}
"""Records of the day, whose figures are not measured again."""
PLACE = re.compile(r"\{([^{}*:]+)(?:\*([\d.e-]+))?:([^}]+)\}")
FIGURE = r"-?[\d.,]*\d"
CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)\n]*\)", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])(?<![A-Za-z][-/])\.?\d(?:[\d.,]*\d)?")
"""Not inside a name such as float32 or Phi-3.5, nor behind a decimal point."""
WAY_OUT = (
    "Quote it from a results file by benchmarks/quotes.toml, or take it out; "
    "what is no measurement stands in benchmarks/constants.toml"
)


def listed(name: str) -> list[tuple[str, str]]:
    """Files and their pieces of text, of quotes.toml or constants.toml."""
    found = tomllib.loads((HERE / name).read_text(encoding="utf-8"))
    return [(file, text) for file, texts in found.items() for text in texts]


def documents() -> list[str]:
    """Files whose every number is accounted for."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [file for path in found if (file := path.relative_to(ROOT).as_posix()) not in DIARIES]


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
    pattern = FIGURE.join(map(re.escape, parts))
    return re.sub(pattern, lambda _: filled(text), document) if len(re.findall(pattern, document)) == 1 else None


def unaccounted(document: str, known: list[str]) -> list[tuple[int, str]]:
    """Line and text of each number that stands in none of some known pieces of text, nor in code or a link's target."""
    prose = CODE.sub(lambda part: re.sub(r"[^\n]", " ", part[0]), document)
    places = [place.span() for text in known for place in re.finditer(re.escape(text), document)]
    return [
        (1 + prose.count("\n", 0, number.start()), number[0])
        for number in NUMBER.finditer(prose)
        if not any(start <= number.start() and number.end() <= end for start, end in places)
    ]


def complaints(file: str) -> list[str]:
    """A line for each number of a document that is neither quoted nor a constant."""
    known = [filled(text) for where, text in listed("quotes.toml") if where == file]
    known += [text for where, text in listed("constants.toml") if where == file]
    found = unaccounted((ROOT / file).read_text(encoding="utf-8"), known)
    return [f"{file}:{line}: nothing says where {number} comes from. {WAY_OUT}" for line, number in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    try:
        return 1 if bring_up_to_date(options.write) else 0
    except HangtagError as error:
        print(f"{error}; python benchmarks/run.py makes it", file=sys.stderr)
        return 1


def bring_up_to_date(write: bool) -> int:
    """Tell of every sentence and number that is out of date, and change what can be; how many are left."""
    wrong = 0
    for file, text in listed("quotes.toml"):
        path = ROOT / file
        document = path.read_text(encoding="utf-8")
        if filled(text) in document:
            continue
        new = written(document, text)
        if write and new is not None:
            write_whole(path, new)
            print(f"{file}: {filled(text)}")
        else:
            print(f"{file} should say: {filled(text)}")
            wrong += 1
    for complaint in [each for file in documents() for each in complaints(file)]:
        print(complaint)
        wrong += 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
