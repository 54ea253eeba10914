"""The model card: what it says of a run, and that words from a catalogue stay words."""

import json
import re
import shutil
from itertools import pairwise

import pytest
import yaml
from conftest import hangtag
from markdown_it import MarkdownIt
from PIL import Image

from hangtag.catalogue.store import open_catalogue
from hangtag.exporting.card import Facts, write_card
from hangtag.exporting.export import export
from hangtag.exporting.markdown import code, one_line, plain
from hangtag.files import Run, read_json, write_json
from hangtag.recipe import check_recipe, load_recipe

HOSTILE = (
    "</td><script>alert(1)</script>\n\n# Owned\n---\nlicense: evil\n---\n```\n[x](javascript:alert(1)) ![i](http://e.vil/p)"
    " | `code` $x$ <img src=x onerror=alert(1)> https://evil.example www.evil.example me@evil.example \u202eabc"
)
HEADINGS = ["Use", "Data", "Training", "Scores", "Limits", "How it was checked", "Versions"]


def pieces(card):
    """Every token of the page behind the front matter, those inside lines too."""
    tokens = MarkdownIt("commonmark").enable("table").parse(card.split("\n---\n", 1)[1])
    return [each for token in tokens for each in (token, *(token.children or []))]


def headings(tokens):
    return [after.content for each, after in pairwise(tokens) if each.type == "heading_open"]


@pytest.fixture(scope="module")
def evaluated(small_run, small_catalogue, tmp_path_factory):
    """A copy of the small run, evaluated."""
    run = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns("checkpoints", "evaluation"))
    hangtag("evaluate", run)
    return run


@pytest.fixture(scope="module")
def exported(evaluated):
    return export(evaluated, evaluated.with_name("tags"), rows=3).path


def test_the_card_is_filled_in_from_the_run(exported, evaluated):
    card = (exported / "README.md").read_text()
    metrics = read_json(evaluated / "evaluation" / "test" / "metrics.json")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "transformers"
    assert front["pipeline_tag"] == "image-text-to-text"
    assert front["license"] == "unknown"
    (results,) = front["model-index"][0]["results"]
    found = {each["name"]: each["value"] for each in results["metrics"]}
    assert found["full_price, mean error"] == metrics["fields"]["full_price"]["mae"]["value"]
    assert results["dataset"] == {"name": "hangtag synth", "type": "imagefolder", "split": "test"}

    tokens = pieces(card)
    assert headings(tokens) == ["tags", *HEADINGS]
    text = card.replace("\\", "")
    accuracy = metrics["fields"]["category3_code"]["accuracy"]
    shown = f"{100 * accuracy['value']:.1f} % ({100 * accuracy['low']:.1f}–{100 * accuracy['high']:.1f})"
    constant = metrics["baselines"]["constant"]["fields"]["category3_code"]["accuracy"]["value"]
    assert f"| category3_code, accuracy | {shown} |" in text
    assert f"{100 * constant:.1f} %" in next(line for line in text.splitlines() if shown in line)
    assert all(warning in text for warning in metrics["warnings"])
    rows = read_json(evaluated / "environment.json")["data"]["train"]["rows"]
    assert f"| train | {rows} |" in text
    assert "It learned from invented, drawn products alone" in text
    assert "| equal answers | 3 of 3 | all but near ties |" in text
    assert "wrote answers for 3 rows of the test split" in text
    assert not re.search(rf"\b(None|nan)\b|{{{{|}}}}|{evaluated.parent}", text)
    proof = read_json(exported / "export.json")["compared"]
    assert f"{proof['logits']['mean']['value']:.2g}" in text
    for name in ("metrics.json", "calibration.json", "schema.json"):
        assert (exported / name).is_file()


def test_its_python_runs(exported, small_catalogue, monkeypatch, capsys):
    monkeypatch.chdir(exported.parent)
    Image.open(next((small_catalogue / "images").iterdir())).save("photo.jpg")
    blocks = [each.content for each in pieces((exported / "README.md").read_text()) if each.type == "fence"]
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})
    by_hangtag, by_transformers = capsys.readouterr().out.splitlines()[-2:]
    assert by_hangtag.startswith("{'title': ")
    assert by_transformers.startswith("Product: ")


def test_the_commands_take_the_folder_as_a_run(exported, small_catalogue):
    picture = next((small_catalogue / "images").iterdir())
    done = hangtag("predict", exported, picture, "--json")
    assert json.loads(done.stdout)["fields"]["title"]


def hostile_facts(run, catalogue, tmp_path):
    """A run whose every word from outside is hostile."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    metrics_file = copy / "evaluation" / "test" / "metrics.json"
    metrics = read_json(metrics_file)
    metrics["warnings"] = [HOSTILE]
    metrics["picture_used"] = HOSTILE
    name = "pri]ce<b>|`x`"
    for way in (metrics, *metrics["baselines"].values(), *metrics["controls"].values()):
        way["fields"][name] = way["fields"].pop("full_price")
    write_json(metrics_file, metrics)
    settings = read_recipe(run)
    settings["task"]["answer"] = f"# Buy ``` {{title}} <script> {{category3_code}} $ {{{name}}}"
    settings["task"]["fields"] = {"title": "text", "category3_code": "category", name: "number"}
    settings["task"]["prompt"] = HOSTILE
    settings["task"]["chat"] = "<|system|>\n# Be | kind```<|end|>\n" + settings["task"]["chat"]
    schema = read_json(copy / "schema.json")
    schema["properties"]["category3_code"]["enum"][0] = HOSTILE
    schema["properties"][name] = schema["properties"].pop("full_price")
    schema["required"] = ["title", "category3_code", name]
    write_json(copy / "schema.json", schema)
    opened = open_catalogue(catalogue)
    opened.info.update(source=HOSTILE, licence=HOSTILE)
    return Facts(HOSTILE, Run(copy), check_recipe(settings), opened, 1, False, "bfloat16", None)


def read_recipe(run):
    return load_recipe(run / "recipe.toml").model_dump()


def test_hostile_words_stay_words(evaluated, small_catalogue, tmp_path):
    write_card(tmp_path, hostile_facts(evaluated, small_catalogue, tmp_path))
    card = (tmp_path / "README.md").read_text()
    end = card.index("\n---\n\n# ")
    front = yaml.safe_load(card[4:end])
    assert front["license"] == "unknown"
    assert front["model-index"][0]["name"] == one_line(HOSTILE)
    assert set(front) == {"license", "library_name", "pipeline_tag", "tags", "model-index"}

    tokens = pieces(f"---\n---\n{card[end + 5 :]}")
    assert headings(tokens)[1:] == HEADINGS
    kinds = {each.type for each in tokens}
    assert not kinds & {"html_block", "html_inline", "image", "hr", "heading_open_setext", "code_block"}
    assert [each.attrs["href"] for each in tokens if each.type == "link_open"] == []
    assert sum(each.type == "fence" for each in tokens) == 2
    shown = [each.content for each in tokens if each.type in ("text", "text_special", "code_inline")]
    assert "".join(shown).count("<script>alert(1)</script>") >= 5
    for block in (each.content for each in tokens if each.type == "fence"):
        compile(block, "card", "exec")
    widths = {line.count(" | ") for line in card.splitlines() if line.startswith("| ") and "chrF" in line}
    assert len(widths) == 1


@pytest.mark.parametrize(
    "text",
    ["# a", "- a", "1. a", "a | b", "<b>a</b>", "a_b_c *d*", "[a](b)", "`a`", "~~a~~", "a\n\n# b", "&lt;", "="],
)
def test_plain_text_reads_as_it_was_written(text):
    tokens = MarkdownIt("commonmark").enable("table").parse(plain(text))
    assert [each.type for each in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {each.type for each in tokens[1].children} <= {"text", "text_special"}
    assert "".join(each.content for each in tokens[1].children) == one_line(text)


@pytest.mark.parametrize("text", ["a", "`a", "a``b`", "``", "<b>", "a\nb"])
def test_code_reads_as_it_was_written(text):
    (inline,) = (each for each in MarkdownIt("commonmark").parse(code(text)) if each.type == "inline")
    (child,) = inline.children
    assert (child.type, child.content) == ("code_inline", one_line(text))


def test_a_published_base_lends_its_licence_and_its_name(evaluated, tmp_path):
    settings = read_recipe(evaluated)
    settings["model"]["base"] = "microsoft/Phi-3.5-vision-instruct"
    bare = tmp_path / "bare"
    bare.mkdir()
    write_card(tmp_path, Facts("me/tags", Run(bare), check_recipe(settings), None, 1, True, None, None))
    card = (tmp_path / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "mit"
    assert front["base_model"] == "microsoft/Phi-3.5-vision-instruct"
    assert (front["base_model_relation"], front["library_name"]) == ("adapter", "peft")
    assert "model-index" not in front
    assert "Not evaluated: how good the answers are is unknown." in card
    assert "Source: unknown" in card
    assert "trained with: unknown" in card.replace("\\", "")
    assert "Nothing was compared" in card
