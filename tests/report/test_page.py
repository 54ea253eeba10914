import base64
import io
import json
import re
import shutil

import pytest
from pages import Page
from PIL import Image
from rich.console import Console

from hangtag.catalogue import open_catalogue
from hangtag.errors import DataError, RunError
from hangtag.evaluation.warnings import about_unseen
from hangtag.files import read_json, read_jsonl, write_json, write_jsonl
from hangtag.report import summary_table, write_report
from hangtag.report.sections.summary import warnings

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'> {{ 7 * 7 }}"""


@pytest.fixture(scope="module")
def page(run):
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_every_part_is_there(page, run):
    metrics = read_json(run / "evaluation/test/metrics.json")
    accuracy = f"{100 * metrics['fields']['category3_code']['accuracy']['value']:.1f} %"
    assert f"category3_code is right for {accuracy}" in page.text
    assert metrics["picture_used"] in page.text
    headings = "Scores|Learning curve|Calibration|From coarse to fine|Answers|Worst answers|Best answers|Random answers"
    for heading in [*headings.split("|"), "Unreadable answers", "How it was made"]:
        assert heading in page.text
    rows = metrics["intervals"]["full_price"]["divisions"]["rows"]
    assert f"Over 100 random divisions of {rows} rows into calibration and test, the 90 % interval held" in page.text
    assert "Training never showed 1 value of category3_code that 2 rows here have: KILT (2)." in page.text
    assert "full_price : written against true" in page.text
    for column in ("model", "limit", "constant", "nearest", "untrained", "shuffled", "blank"):
        assert column in page.words
    assert page.tags["svg"] == 1 + 3 + 5 + 2
    assert page.tags["circle"] > 30
    assert page.tags["details"] == 2
    assert 'base = "nano"' in page.text
    assert '"torch": "2.13.0"' in page.text


def test_the_page_loads_nothing_from_elsewhere(page):
    assert page.values("script", "type") == ["application/json"]
    assert page.tags["script"] == 2
    assert not page.tags["link"] + page.tags["iframe"] + page.tags["form"]
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        if name == "href":
            assert value.startswith("#")
        elif name in ("src", "srcset", "data", "action"):
            assert value.startswith("data:image/webp;base64,")
    assert not re.search(r"url\((?!#)|@import|https?://", "".join(value or "" for _, _, value in page.attributes))


def test_the_style_loads_nothing_from_elsewhere(run):
    style = re.search(r"<style>(.*?)</style>", write_report(run).read_text(), re.DOTALL)[1]
    assert not re.search(r"url\(|@import|https?:", style)


def payload(page_or_html):
    html = page_or_html if isinstance(page_or_html, str) else page_or_html.rawdata
    return json.loads(re.search(r'<script type="application/json" id="payload">(.*?)</script>', html, re.DOTALL)[1])


def test_pictures_are_small_described_and_there_once(run, page):
    pictures = page.values("img", "src")
    assert len(pictures) == len(page.values("img", "alt")) == 36
    kept = payload(write_report(run).read_text(encoding="utf-8"))["pictures"]
    assert len(kept) == 40
    assert len({*pictures, *filter(None, kept)}) == 40
    assert not set(pictures) & set(kept)
    assert all(page.values("img", "alt"))
    for picture in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture.split(",")[1])))
        assert image.format == "WEBP"
        assert max(image.size) == 160


def test_readers_of_other_kinds_find_their_way(page):
    assert page.values("html", "lang") == ["en"]
    assert {"col", "row", "rowgroup"} == set(page.values("th", "scope"))
    assert len(page.values("svg", "aria-label")) == 10
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert set(page.values("section", "aria-labelledby")) <= set(ids)
    assert page.tags["h1"] == page.tags["main"] == 1


def test_worst_come_first(page, run):
    predictions = read_jsonl(run / "evaluation/test/predictions.jsonl")
    unreadable = sum(not each["readable"] for each in predictions)
    wrong = [
        each
        for each in predictions
        if each["readable"] and each["answer"]["category3_code"] != each["truth"]["category3_code"]
    ]
    cards = " ".join(page.words).split("Worst answers")[1].split("Random answers")[0].split("Best answers")
    assert cards[0].count("Unreadable:") == min(unreadable, 12)
    assert cards[0].count("✗") >= min(len(wrong), 12 - unreadable) > 0
    assert "✗" not in cards[1]


def test_hostile_text_is_only_text(tmp_path, builders):
    draw_shop, make_run = builders
    shop = draw_shop(tmp_path / "shop", 30, kinds=[HOSTILE, "B & <b>"])
    for fields in ({"title": "text", "category3_code": "category", "full_price": "number"}, {"category3_code": "text"}):
        answer = " | ".join(f"{{{name}}}" for name in fields)
        run = make_run(tmp_path / f"<i>{len(fields)}", shop, answer, fields)
        page = Page(write_report(run).read_text(encoding="utf-8"))
        assert page.tags["script"] == 2
        assert not page.tags["i"]
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        assert "<script>alert(1)</script>" in page.text
        assert "{{ 7 * 7 }}" in page.text


def test_several_numbers_and_sixty_categories(tmp_path, builders):
    draw_shop, make_run = builders
    kinds = [f"SECTION {number % 7}/SHELF {number}" for number in range(90)]
    shop = draw_shop(tmp_path / "shop", 700, kinds)
    fields = {"weight": "number", "category3_code": "category", "full_price": "number"}
    run = make_run(tmp_path / "run", shop, "{category3_code} | {full_price} | {weight}", fields, doubting=False)
    html = write_report(run).read_text(encoding="utf-8")
    page = Page(html)
    assert "weight : written against true" in page.text
    assert "full_price : written against true" in page.text
    matrix = re.search(r"<svg [^>]*Confusion.*?</svg>", html, re.DOTALL)[0]
    labels = re.findall(r'class="tick"[^>]*>([^<]*)</text>', matrix)
    assert len(labels) <= 2 * 60 + 1
    assert "(all others)" in labels
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', matrix).groups())
    assert width >= 60 * 14, "a cell is too small to see"
    assert f"width:{width:.0f}px" in matrix, "the drawing shrinks until its labels are too small to read"
    for x, y in re.findall(r'<rect [^>]*x="([\d.]+)" y="([\d.]+)"', matrix):
        assert 0 <= float(x) < width
        assert 0 <= float(y) < height


def test_only_a_text_and_no_readable_answer(tmp_path, builders, shop):
    _, make_run = builders
    run = make_run(tmp_path / "text", shop, "It is {title}.", {"title": "text"})
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "confusion" not in page.text
    fields = {"full_price": "number", "category3_code": "category"}
    run = make_run(tmp_path / "silent", shop, "{category3_code} for {full_price}", fields, unreadable=1.1)
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "No answer is readable" in page.text
    assert not re.search(r"\bnan\b|\binf\b", page.text.lower())


def test_a_page_can_do_without_log_environment_and_pictures(tmp_path, builders, shop):
    _, make_run = builders
    run = make_run(tmp_path / "bare", shop)
    (run / "log.jsonl").unlink()
    (run / "environment.json").unlink()
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(shop.path), str(tmp_path / "gone")))
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert not page.tags["img"]
    assert "The pictures cannot be shown" in page.text
    assert "This run has no log.jsonl." in page.text
    page = Page(write_report(run, catalogue=open_catalogue(shop.path)).read_text(encoding="utf-8"))
    assert page.tags["img"] == 36
    (run / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step"')
    assert "log.jsonl, line 2 is not JSON" in write_report(run).read_text(encoding="utf-8")


def test_what_was_trained_is_told_of_an_adapter_with_its_base(run, tmp_path):
    adapter = shutil.copytree(run, tmp_path / "adapter")
    (adapter / "model").mkdir()
    (adapter / "model/adapter_config.json").write_text("{}")
    recipe = adapter / "recipe.toml"
    recipe.write_text(
        recipe.read_text().replace('base = "nano"', 'base = "some/phi"') + '\n[train]\nmethod = "qlora"\n'
    )
    text = Page(write_report(adapter).read_text(encoding="utf-8")).text
    assert "qlora adapter on some/phi · trained for 1,140 steps, 20 epochs, 3.8 min" in text
    assert "sft, qlora, adamw" in text


def test_what_is_missing_is_said(tmp_path, run, builders, shop):
    _, make_run = builders
    with pytest.raises(RunError, match="has no evaluation of split 'validation'; run `hangtag evaluate"):
        write_report(run, "validation")
    with pytest.raises(RunError, match="no run folder"):
        write_report(tmp_path)
    half = make_run(tmp_path / "half", shop)
    predictions = half / "evaluation/test/predictions.jsonl"
    write_jsonl(predictions, read_jsonl(predictions)[:7])
    with pytest.raises(DataError, match=r"about 40 rows, predictions\.jsonl holds 7; run `hangtag evaluate"):
        write_report(half)
    predictions.write_text(predictions.read_text()[:-20])
    with pytest.raises(DataError, match="line 7 is not JSON"):
        write_report(half)
    assert not (half / "report.html").exists()


def test_the_table_for_the_terminal_fits_eighty_columns(run):
    metrics = read_json(run / "evaluation/test/metrics.json")
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(summary_table(metrics))
    lines = console.file.getvalue().splitlines()
    assert "…" not in console.file.getvalue()
    accuracy = metrics["fields"]["category3_code"]["accuracy"]
    shown = next(line for line in lines if line.strip().startswith("accuracy"))
    assert shown.split("(")[0].split() == ["accuracy", f"{100 * accuracy['value']:.1f}", "%"]
    assert f"({100 * accuracy['low']:.1f}–{100 * accuracy['high']:.1f})" in shown
    median = next(line for line in lines if line.strip().startswith("median error"))
    assert "3.4 %" in median
    assert metrics["picture_used"].split()[0] in lines[-4] + lines[-3] + lines[-2] + lines[-1] + lines[-5]


def test_markup_in_a_field_name_is_not_obeyed(run):
    metrics = read_json(run / "evaluation/test/metrics.json")
    text = json.dumps(metrics).replace("full_price", "[red]price[/nonsense]")
    console = Console(width=100, file=io.StringIO())
    console.print(summary_table(json.loads(text)))
    assert "[red]price[/nonsense]" in console.file.getvalue()


def test_the_best_of_a_row_is_marked_and_the_limit_is_not(run, tmp_path, builders, shop):
    _, make_run = builders
    bad = make_run(tmp_path / "bad", shop)
    path = bad / "evaluation/test/metrics.json"
    metrics = read_json(path)
    metrics["baselines"]["nearest"]["fields"]["full_price"]["mae"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    metrics["limit"]["full_price"]["mae"] = 0.1
    write_json(path, metrics)
    row = re.search(r"<tr><th scope=\"row\">mean error.*?</tr>", write_report(bad).read_text(), re.DOTALL)[0]
    assert re.findall(r"<b>([^<]*)</b>", row) == ["0.5"]


def test_what_training_never_showed_is_told_once():
    metrics = {"skipped": 0, "unseen": {"kind": [{"category": "KILT", "rows": 2}]}}
    metrics["warnings"] = [*about_unseen(metrics), "Few rows."]
    assert warnings(metrics) == ["Few rows.", "Training never showed 1 value of kind that 2 rows here have: KILT (2)."]
