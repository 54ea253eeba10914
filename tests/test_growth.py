"""How cost grows: exponents, bends and the number of samples; and that both programs run, at tiny sizes."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hangtag.files import write_json

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
GROWTH = runpy.run_path(str(BENCHMARKS / "growth.py"))
PLOT = runpy.run_path(str(BENCHMARKS / "growth_plot.py"))


def test_a_power_law_has_its_exponent_and_no_bend():
    sizes = [100, 1000, 10_000]
    found = GROWTH["exponents"](sizes, [3e-6 * size**1.5 for size in sizes], 0.0)
    assert [found["exponent"], found["exponent_beyond_fixed"]] == pytest.approx([1.5, 1.5])
    assert found["local_exponents"] == pytest.approx([1.5, 1.5])
    assert found["bends"] == []


def test_a_fixed_cost_hides_the_exponent_until_it_is_taken_away():
    sizes = [100, 1000, 10_000, 100_000]
    found = GROWTH["exponents"](sizes, [1 + 1e-3 * size for size in sizes], 1.0)
    assert found["exponent"] < 0.7
    assert found["exponent_beyond_fixed"] == pytest.approx(
        1
    )  # of the sizes above 1,000: at 100 it is all but the whole
    assert [bend["size"] for bend in found["bends"]] == [1000, 10_000]
    assert found["bends"][0]["before"] < 0.3 < found["bends"][0]["after"]


def test_two_regimes_bend_where_they_meet():
    sizes = [1, 10, 100, 1000]
    found = GROWTH["exponents"](sizes, [1, 10, 100, 10_000], 0.0)
    assert found["bends"] == [{"size": 100, "before": pytest.approx(1), "after": pytest.approx(2)}]
    assert GROWTH["exponents"](sizes[:2], [1, 2], 5.0)["exponent_beyond_fixed"] is None


@pytest.mark.parametrize(("first", "rounds"), [(0.1, 5), (6.0, 3), (30.0, 1)])
def test_what_takes_long_is_measured_less_often(first, rounds):
    taken = iter([first, 1.0, 2.0, 3.0, 4.0])
    found = GROWTH["measured"](lambda: {"seconds": next(taken)})
    assert found["rounds"] == rounds
    assert found["seconds"] == {5: 2.0, 3: 2.0, 1: 30.0}[rounds]
    assert GROWTH["measured"](lambda: {"seconds": 9.0}, 2)["rounds"] == 2


@pytest.mark.parametrize(
    ("name", "options", "curves"),
    [
        ("growth_tokens", ["--smallest=64", "--largest=256"], ["packed_64", "sdpa", "eager", "packing"]),
        ("growth_pictures", ["--smallest=4", "--largest=40"], ["fetch", "describe", "split", "cache_stored"]),
    ],
)
def test_the_programs_end_with_a_json_line(name, options, curves, tmp_path):
    work = ["--work", tmp_path] if name == "growth_pictures" else []
    command = [sys.executable, BENCHMARKS / f"{name}.py", *options, "--rounds=1", *work]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["benchmark"] == name
    for curve in curves:
        assert len(found[curve]["sizes"]) == len(found[curve]["seconds"]) >= 2
        assert isinstance(found[curve]["exponent"], float)


def test_the_plot_shows_every_curve_with_its_exponents(tmp_path):
    names = ["fetch", "describe", "near_all_with_all"]
    points = {10**power: {"seconds": 0.1 * 10**power, "cpu_seconds": 0.2 * 10**power} for power in range(2, 5)}
    for name in ("growth_pictures", "growth_tokens"):
        curves = {each: GROWTH["grown"](points, 0.0) for each in names}
        write_json(tmp_path / f"{name}.json", {"found": {"benchmark": name, **curves}})
    drawn = ElementTree.fromstring(PLOT["plot"](tmp_path))
    labels = [each.text for each in drawn.iter() if each.tag.endswith("text")]
    for name in names:
        assert labels.count(f"{name.replace('_', ' ')} 1.00, last 1.00") == 2
    assert {"pictures", "tokens", "seconds"} <= set(labels)


def test_the_docs_plot_is_drawn_from_the_results():
    drawn = (BENCHMARKS.parent / "docs" / "growth.svg").read_text(encoding="utf-8")
    assert drawn == PLOT["plot"](BENCHMARKS / "results") + "\n", "python benchmarks/growth_plot.py draws it anew"


def test_labels_of_curves_that_end_together_stand_apart():
    assert PLOT["spread"]([10.0, 12.0, 100.0]) == [10.0, 25.0, 100.0]
    bottom = PLOT["BOTTOM"]
    assert PLOT["spread"]([bottom - 2.0, bottom - 1.0, bottom]) == [bottom - 30, bottom - 15, bottom]
