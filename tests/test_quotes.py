"""The docs quote what benchmarks/results holds: each sentence of quotes.toml, filled in, stands in its file, and every
other number of a document stands in constants.toml."""

import re
import runpy
from pathlib import Path

import pytest

from hangtag.files import read_json

ROOT = Path(__file__).parent.parent
PROGRAM = runpy.run_path(str(ROOT / "benchmarks" / "quotes.py"))
EVERY = PROGRAM["listed"]("quotes.toml")
CONSTANTS = PROGRAM["listed"]("constants.toml")
LONGEST = 100
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize(("file", "text"), EVERY, ids=[f"{file}:{text[:40]}" for file, text in EVERY])
def test_a_quoted_figure_is_the_measured_one(file, text):
    assert PROGRAM["PLACE"].search(text), f"{text!r} quotes nothing"
    quoted = PROGRAM["filled"](text)
    assert quoted in (ROOT / file).read_text(), f"{file} should say: {quoted}"


@pytest.mark.parametrize(("file", "text"), EVERY, ids=[f"{file}:{text[:40]}" for file, text in EVERY])
def test_other_figures_in_its_place_are_found_and_put_right(file, text):
    document, quoted = (ROOT / file).read_text(), PROGRAM["filled"](text)
    wrong = PROGRAM["PLACE"].sub("7,531.5", text)
    assert PROGRAM["written"](document.replace(quoted, wrong), text) == document


@pytest.mark.parametrize("file", PROGRAM["documents"]())
def test_every_number_is_quoted_or_a_constant(file):
    assert not (complaints := PROGRAM["complaints"](file)), "\n".join(complaints)


@pytest.mark.parametrize(("file", "text"), CONSTANTS, ids=[f"{file}:{text}" for file, text in CONSTANTS])
def test_a_constant_is_a_short_piece_of_its_document(file, text):
    assert PROGRAM["NUMBER"].search(text), f"{text!r} holds no number"
    assert text in (ROOT / file).read_text(), f"{file} does not say {text!r} any more; take it out of constants.toml"
    assert len(text) <= LONGEST
    assert "\n" not in text


def test_every_quoted_file_is_made_again_by_a_benchmark():
    programs = runpy.run_path(str(ROOT / "benchmarks" / "run.py"))["PROGRAMS"]
    places = [place[1] for _, text in EVERY for place in PROGRAM["PLACE"].finditer(text)]
    assert {place.partition(".")[0] for place in places} <= set(programs)
    assert all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in programs)


def test_no_constant_covers_a_quoted_figure():
    for file, text in EVERY:
        for where, constant in CONSTANTS:
            assert where != file or constant not in PROGRAM["filled"](text), f"{constant!r} is quoted already"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3.5 times, 12,000 rows and .98", ["3.5", "12,000", ".98"]),
        ("Phi-3.5 in float32, HTTP/2, Apache-2.0", []),
        ("from 1 to 2.", ["1", "2"]),
        ("**4.8** (4.2–5.1), 3e-5", ["4.8", "4.2", "5.1", "3"]),
        ("`rank=16` [page](a-5.md)\n```\n7\n```\nand 8", ["8"]),
    ],
)
def test_numbers_are_found_in_prose_alone(text, numbers):
    assert [number for _, number in PROGRAM["unaccounted"](text, [])] == numbers


def test_a_known_piece_accounts_for_its_own_numbers_only():
    document = "At most 8 at a time.\n18 at a time, 8 at a time."
    assert PROGRAM["unaccounted"](document, ["most 8 at"]) == [(2, "18"), (2, "8")]
    assert PROGRAM["unaccounted"](document, ["8 at a time"]) == [(2, "18")]


def test_the_memory_table_is_what_the_recipes_say():
    """tests/test_shipped_recipes.py reckons the recipes' figures again."""
    said = "\n".join(each.read_text() for each in sorted((ROOT / "src/hangtag/recipes").glob("*.toml")))
    rows = re.findall(r"\| \*\*([\d.]+)\*\* ((?:\| [\d.]+ ){7})\|", (ROOT / "docs" / "training.md").read_text())
    assert len(rows) == 7
    for expected, parts in rows:
        weights, gradients, optimizer, decoder, pictures, logits, allowance = re.findall(r"[\d.]+", parts)
        assert re.search(
            rf"{expected} GB \(weights {weights}, adapters [\d.]+, gradients {gradients}, optimizer {optimizer}, "
            rf"decoder {decoder}, pictures {pictures}, logits {logits}, allowance {allowance}\)",
            said,
        ), f"no recipe takes {expected} GB so"


@pytest.mark.parametrize("file", RESULTS, ids=[file.stem for file in RESULTS])
def test_results_say_what_they_ran_on_and_with(file):
    results = read_json(file)
    assert (ROOT / results["program"]).is_file()
    assert results["hardware"]["processor"]
    assert results["hardware"]["cores"] >= 1
    assert results["hardware"]["packages"]["torch"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", results["when"])
    assert results["found"]
    assert not any(each.startswith(("/", "~", "..")) for each in results["arguments"]), "a path of one machine"
