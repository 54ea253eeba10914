"""`hangtag compare`: its page, its table, and what wrong input gets."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import Page
from rich.console import Console

from hangtag.errors import DataError, RunError, UsageError
from hangtag.evaluation.metrics import METRICS
from hangtag.files import read_json, read_jsonl, write_json, write_jsonl
from hangtag.report.compare import compare_runs, short_names

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'>"""


def completed(run, constant=100.0):
    """What an unreadable price counts as, if the evaluation has not said it."""
    path = run / "evaluation/test/metrics.json"
    metrics = read_json(path)
    write_json(path, {"constant": {"full_price": constant, "weight": 1.0}, **metrics})
    return run


@pytest.fixture(scope="module")
def pair(tmp_path_factory, shop):
    from report.conftest import make_run

    folder = tmp_path_factory.mktemp("pair")
    good = completed(make_run(folder / "a/demo", shop, mistakes=0.02, unreadable=0))
    bad = completed(make_run(folder / "b/demo", shop, mistakes=0.5, unreadable=0.1))
    recipe = bad / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('base = "nano"', 'base = "<b>other</b>"'))
    return good, bad


@pytest.fixture(scope="module")
def compared(pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison") / "out"
    return *compare_runs(pair, "test", out), out


def test_the_page_has_every_part(compared, pair):
    _, path, out = compared
    page = Page(path.read_text(encoding="utf-8"))
    assert path == out / "comparison.html"
    assert page.tags["h1"] == page.tags["main"] == 1
    assert "b/demo is better than a/demo in 0 of 13 scores and worse in" in page.text
    assert "40 rows of the test split, the same for 2 runs" in page.text
    for metric in METRICS.values():
        assert metric.label in page.text
    assert "Where the recipes differ" in page.text
    assert "<b>other</b>" in page.text
    assert page.tags["article"] > 5
    pictures = page.values("img", "src")
    assert len(pictures) == page.tags["article"]
    assert all(each.startswith("data:image/jpeg;base64,") for each in pictures)
    assert not page.tags["script"] + page.tags["link"]
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "Unreadable:" in page.text
    assert not re.search(r"\bnan\b|\binf\b", page.text.lower())


def test_the_file_holds_what_the_page_shows(compared, pair):
    table, _, out = compared
    found = read_json(out / "comparison.json")
    assert (found["split"], found["rows"], found["first"]) == ("test", 40, "a/demo")
    assert found["runs"] == {"a/demo": str(pair[0]), "b/demo": str(pair[1])}
    for name, run in zip(found["runs"], pair, strict=True):
        metrics = read_json(run / "evaluation/test/metrics.json")
        if name == "a/demo":  # none is unreadable, so no constant plays a part
            assert found["scores"][name]["fields"] == metrics["fields"]
        assert found["scores"][name]["answers"] == {"readable": metrics["answers"]["readable"]}
    accuracy = found["differences"]["b/demo"]["fields"]["category3_code"]["accuracy"]
    assert accuracy["value"] < accuracy["high"] < 0
    assert accuracy["excludes_zero"]
    spreads = [each["spread"] for each in found["rows_apart"]]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] > 0
    predictions = {each["file_name"]: each for each in read_jsonl(pair[1] / "evaluation/test/predictions.jsonl")}
    for row in found["rows_apart"]:
        assert row["answers"]["b/demo"] == predictions[row["file_name"]]["answer"]
        assert row["truth"] == predictions[row["file_name"]]["truth"]
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(table)
    text = console.file.getvalue()
    assert "…" not in text
    line = next(line for line in text.splitlines() if line.strip().startswith("accuracy"))
    assert f"−{-100 * accuracy['value']:.1f} (" in line
    assert line.rstrip().endswith("worse")


def test_the_same_runs_give_the_same_bytes(compared, pair, tmp_path):
    compare_runs(pair, "test", tmp_path)
    for name in ("comparison.json", "comparison.html"):
        assert (tmp_path / name).read_bytes() == (compared[2] / name).read_bytes()


def test_equal_answers_and_no_catalogue(tmp_path, builders, shop):
    _, make_run = builders
    runs = [completed(make_run(tmp_path / name, shop)) for name in ("one", "two")]
    for run in runs:
        recipe = run / "recipe.toml"
        recipe.write_text(recipe.read_text().replace(str(shop.path), str(tmp_path / "gone")))
    page = Page(compare_runs(runs, "test", tmp_path / "out")[1].read_text(encoding="utf-8"))
    assert "two is better than one in 0 of 13 scores and worse in 0; in 13 the interval" in page.text
    assert "every row’s answers are equally good" in page.text
    assert "The pictures cannot be shown" in page.text
    assert "Where the recipes differ" not in page.text


def test_hostile_texts_and_names_are_only_text(tmp_path, builders):
    draw_shop, make_run = builders
    shop = draw_shop(tmp_path / "shop", 40, kinds=[HOSTILE, "B & <b>"])
    runs = [
        completed(make_run(tmp_path / name, shop, mistakes=mistakes)) for name, mistakes in (("<i>", 0.0), ("y", 0.6))
    ]
    page = Page(compare_runs(runs, "test", tmp_path / "out")[1].read_text(encoding="utf-8"))
    assert not page.tags["script"] + page.tags["i"]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text


def test_one_row_tells_nothing_apart(tmp_path, builders):
    draw_shop, make_run = builders
    shop = draw_shop(tmp_path / "shop", 5)
    runs = [
        completed(make_run(tmp_path / name, shop, mistakes=mistakes, unreadable=silent))
        for name, mistakes, silent in (("x", 0.0, 0.0), ("y", 1.0, 1.1))
    ]
    page = Page(compare_runs(runs, "test", tmp_path / "out")[1].read_text(encoding="utf-8"))
    assert "1 row of the split: too few to tell the runs apart." in page.text
    assert "· worse" not in page.text


def test_what_cannot_be_compared_is_said(pair, tmp_path, builders, shop):
    good, _ = pair
    _, make_run = builders
    with pytest.raises(UsageError, match="two runs or more"):
        compare_runs([good], "test", tmp_path / "out")
    with pytest.raises(UsageError, match="is given twice"):
        compare_runs([good, good.parent / "../a/demo"], "test", tmp_path / "out")
    with pytest.raises(RunError) as caught:
        compare_runs([good, tmp_path / "absent", good.parent], "validation", tmp_path / "out")
    assert [line.partition(";")[0] for line in str(caught.value).splitlines()] == [
        f"{good} has no evaluation of split 'validation'",
        f"there is no run folder {tmp_path / 'absent'}",
        f"{good.parent} has no evaluation of split 'validation'",
    ]
    cut = completed(make_run(tmp_path / "cut", shop))
    predictions = cut / "evaluation/test/predictions.jsonl"
    write_jsonl(predictions, read_jsonl(predictions)[:7])
    with pytest.raises(RunError, match=r"about 40 rows, predictions\.jsonl holds 7"):
        compare_runs([good, cut], "test", tmp_path / "out")
    write_json(cut / "evaluation/test/metrics.json", read_json(good / "evaluation/test/metrics.json") | {"rows": 7})
    with pytest.raises(DataError, match="33 of demo's 40 rows are not in cut"):
        compare_runs([good, cut], "test", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["a/demo", "b/demo", "x/y"], ["a/demo", "b/demo", "y"]),
        (["/r/a/demo", "/s/a/demo"], ["r/a/demo", "s/a/demo"]),
        (["/demo", "/x/demo"], ["/demo", "x/demo"]),
    ],
)
def test_names_are_as_short_as_they_can_be(folders, names):
    assert short_names([Path(each) for each in folders]) == names


def test_the_command_needs_no_torch(pair, tmp_path):
    for module in ("torch", "transformers"):
        (tmp_path / f"{module}.py").write_text(f"raise ImportError('{module} must not be needed')")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[0] = 'hangtag'\n"
        "from hangtag.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", program, "compare", *map(str, pair), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"comparison: {tmp_path / 'out/comparison.html'}" in done.stdout
    assert json.loads((tmp_path / "out/comparison.json").read_text())["first"] == "a/demo"
