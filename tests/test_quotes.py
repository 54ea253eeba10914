"""The docs quote what benchmarks/results holds: each sentence of quotes.toml, filled in, stands in its file."""

import re
import runpy
from pathlib import Path

import pytest

from hangtag.files import read_json

ROOT = Path(__file__).parent.parent
PROGRAM = runpy.run_path(str(ROOT / "benchmarks" / "quotes.py"))
EVERY = PROGRAM["quotes"]()
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
