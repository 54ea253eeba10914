"""The audit of a small run, from its rows to CSV and page; and what it says where it cannot."""

import csv
import json
import shutil
from html.parser import HTMLParser

import pytest
from conftest import TINY, hangtag

from hangtag.catalogue.store import csv_text, open_catalogue
from hangtag.errors import DataError, Interrupted, RunError, TableError, UsageError
from hangtag.examples.chat import Chat
from hangtag.examples.examples import Examples
from hangtag.examples.rows import sort_rows
from hangtag.files import Run, read_json
from hangtag.phi3v import Phi3VProcessor
from hangtag.recipe import load_recipe
from hangtag.report import audit as module
from hangtag.report.audit import audit
from hangtag.report.findings import SHOWN_ROWS, Finding, findings_csv, in_words, render_findings
from hangtag.training.begun import digest
from hangtag.training.train import train

KINDS = {"title": "text", "category3_code": "category", "full_price": "number"}
HOSTILE = "=HYPERLINK(0)<script>alert(1)</script>"


def table_of(catalogue):
    with open(catalogue / "metadata.csv", newline="") as file:
        return list(csv.DictReader(file))


def rewrite(catalogue, rows):
    (catalogue / "metadata.csv").write_text(csv_text(list(rows[0]), rows))


def findings_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def shop(small_catalogue, tmp_path_factory):
    """The small catalogue with a row that cannot be used and a title that a page and a spreadsheet must not obey."""
    folder = tmp_path_factory.mktemp("audit") / "catalogue"
    shutil.copytree(small_catalogue, folder)
    rows = table_of(folder)
    train_rows = [row for row in rows if row["split"] == "train"]
    train_rows[0]["full_price"] = "N.A."
    train_rows[1]["title"] = HOSTILE
    rewrite(folder, rows)
    return folder


@pytest.fixture(scope="module")
def run(shop):
    recipe = load_recipe("demo", [f"data.path={shop}", "train.epochs=2", "train.workers=0", *TINY])
    return train(recipe, shop.with_name("run"))


@pytest.fixture(scope="module")
def audited(run):
    """An audit that was interrupted after its first fold and started again, what it said, and the first fold's log."""
    said, real = [], module.train_fold
    try:
        module.train_fold = lambda fold, *rest: real(fold, *rest) if fold.number == 1 else stop()
        with pytest.raises(Interrupted):
            audit(run.path, folds=2)
    finally:
        module.train_fold = real
    first = (run.path / "audit" / "folds" / "fold-1" / "log.jsonl").read_bytes()
    return audit(run.path, folds=2, say=said.append), said, first


def stop():
    raise Interrupted("stopped")


def test_every_row_is_ranked_once_and_the_others_are_listed_with_their_reason(shop, audited):
    done, _, _ = audited
    found, rows = findings_of(done.csv), table_of(shop)
    rejected = findings_of(done.rejected)
    assert [row["full_price"] for row in rows].index("N.A.") + 1 == int(rejected[0]["row"])
    assert "N.A." in rejected[0]["detail"]
    assert done.left_out == len(rejected) == 1
    numbers = [int(each["row"]) for each in [*found, *rejected]]
    assert sorted(numbers) == list(range(1, len(rows) + 1))
    scores = [float(each["score"]) for each in found]
    assert scores == sorted(scores, reverse=True)
    for each in found:
        row = rows[int(each["row"]) - 1]
        assert each["file_name"] == row["file_name"]
        assert each["split"] == row["split"]
        assert float(each["score"]) == max(float(each[f"{name} score"]) for name in KINDS)
        assert each["category3_code in the tag"] == row["category3_code"]


def test_every_training_row_was_judged_by_a_model_trained_without_it(run, audited):
    """Held against what each fold's run itself wrote down of the rows that it was trained on."""
    recipe = load_recipe(run.recipe)
    catalogue = open_catalogue(recipe.data.path)
    template = recipe.task.template
    learned = sort_rows(catalogue, "train", template)[0]
    judges = {int(each["row"]): each["judged by"] for each in findings_of(audited[0].csv)}
    assert {judges[row.number] for row in learned} == {"fold 1", "fold 2"}
    for split in ("validation", "test"):
        assert {judges[row.number] for row in sort_rows(catalogue, split, template)[0]} == {"the run's model"}
    for fold in (1, 2):
        own = Run(run.path / "audit" / "folds" / f"fold-{fold}")
        others = [row for row in learned if judges[row.number] != f"fold {fold}"]
        assert 0 < len(others) < len(learned)
        processor = Phi3VProcessor.from_pretrained(own.model)
        trained_on = read_json(own.environment)["data"]["train"]
        assert trained_on == digest(Examples(others, processor, template, Chat.of(recipe.task)))
        assert load_recipe(own.recipe).train == recipe.train


def test_an_interrupted_audit_goes_on_and_a_finished_fold_is_used_again(run, audited, tmp_path):
    _, said, first = audited
    told = "\n".join(said)
    assert "1 model of an earlier audit is used again" in told
    assert "to train: 1 model, by the run's own log about" in told
    assert (run.path / "audit" / "folds" / "fold-1" / "log.jsonl").read_bytes() == first
    said.clear()
    again = audit(run.path, folds=2, out=tmp_path, say=said.append)
    assert not any("to train" in each for each in said)
    assert again.csv.read_bytes() == audited[0].csv.read_bytes()


def test_the_command_ranks_one_split_and_tells_where(run, audited, tmp_path):
    said = hangtag("audit", run.path, "--split", "test", "--folds", 2, "--out", tmp_path)
    assert {each["split"] for each in findings_of(tmp_path / "audit.csv")} == {"test"}
    assert "the worst of 6 rows" in said.stdout
    assert str(tmp_path / "audit.html") in said.stdout
    assert "to train" not in said.stderr


def test_text_from_outside_is_neither_formula_nor_markup(audited):
    found = findings_of(audited[0].csv)
    assert sum(each["title in the tag"] == f"'{HOSTILE}" for each in found) == 1
    assert not any(cell.startswith(("=", "+", "@")) for each in found for cell in each.values())
    page = audited[0].page.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


class Elements(HTMLParser):
    """Counts elements by tag and class, and collects what a page would fetch."""

    def __init__(self, html):
        super().__init__()
        self.findings, self.fetched = 0, []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.findings += "finding" in (found.get("class") or "").split()
        self.fetched += [each for key in ("src", "href") if (each := found.get(key)) and not each.startswith("#")]


def test_the_page_shows_the_rows_with_pictures_and_fetches_nothing(audited):
    page = Elements(audited[0].page.read_text())
    assert page.findings == 59
    assert len(page.fetched) == 59
    assert all(each.startswith("data:image/webp;base64,") for each in page.fetched)


def test_another_catalogue_is_judged_by_who_did_not_see_its_pictures(run, shop, audited, tmp_path):
    """Training pictures under other names, titles and codes go to the folds; what is new, to the run's own model."""
    other = tmp_path / "other"
    shutil.copytree(shop, other)
    seen = [row for row in table_of(shop) if row["split"] == "train"][2:6]
    fresh = [row for row in table_of(shop) if row["split"] == "test"][:2]
    rows = []
    for place, row in enumerate([*seen, *fresh]):
        name = f"images/{place}.jpg"
        shutil.copy(shop / row["file_name"], other / name)
        rows.append({**row, "file_name": name, "title": f"Other {place}", "product_code": f"9{place}", "split": "test"})
    rewrite(other, rows)
    done = audit(run.path, other, folds=2, out=tmp_path / "out")
    judges = {int(each["row"]): each["judged by"] for each in findings_of(done.csv)}
    mine = {each["file_name"]: each["judged by"] for each in findings_of(audited[0].csv) if each["split"] == "train"}
    assert [judges[place + 1] for place in range(4)] == [mine[row["file_name"]] for row in seen]
    assert [judges[5], judges[6]] == ["the run's model"] * 2
    assert done.page.parent == tmp_path / "out"


def test_an_unreadable_picture_is_listed(run, shop, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(shop, other)
    rows = [row for row in table_of(shop) if row["split"] == "test"]
    rewrite(other, rows)
    (other / rows[0]["file_name"]).write_bytes(b"\xff\xd8nothing")
    done = audit(run.path, other, folds=2, out=tmp_path / "out")
    (rejected,) = findings_of(done.rejected)
    assert rejected["reason"] == "picture-unreadable"
    assert len(findings_of(done.csv)) == len(rows) - 1


def test_rows_that_changed_since_training_are_told_and_their_fold_is_trained_again(run, shop, audited, monkeypatch):
    rows = table_of(shop)
    kept = (shop / "metadata.csv").read_text()
    place = next(place for place, row in enumerate(rows) if row["split"] == "train" and row["full_price"] != "N.A.")
    rows[place]["full_price"] = "77"
    rewrite(shop, rows)
    said = []
    monkeypatch.setattr(module, "train_fold", lambda fold, *rest: stop())
    with pytest.raises(Interrupted):
        audit(run.path, folds=2, say=said.append)
    (shop / "metadata.csv").write_text(kept)
    told = "\n".join(said)
    assert "no longer those" in told
    assert "1 model of an earlier audit is used again" in told


def test_what_cannot_be_audited_is_told_with_the_way_out(run, shop, tmp_path, monkeypatch):
    with pytest.raises(RunError, match="no run folder"):
        audit(tmp_path / "nothing")
    (tmp_path / "begun").mkdir()
    shutil.copy(run.recipe, tmp_path / "begun")
    with pytest.raises(RunError, match="no trained model yet"):
        audit(tmp_path / "begun")
    damaged = tmp_path / "damaged"
    shutil.copytree(run.path, damaged)
    for each in ("processor_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (damaged / "model" / each).write_text("{") if (damaged / "model" / each).exists() else None
    with pytest.raises(RunError, match="cannot be loaded"):
        audit(damaged)
    with pytest.raises(UsageError, match="did you mean 'test'"):
        audit(run.path, split="tests")
    with pytest.raises(UsageError, match="fewer than 2"):
        audit(run.path, folds=1)
    with pytest.raises(DataError, match="too few for 60 folds"):
        audit(run.path, folds=60)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one process"):
        audit(run.path)


def test_catalogues_that_do_not_fit_are_refused(run, shop, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(shop, other)
    rows = table_of(shop)
    rewrite(other, [{"name" if key == "title" else key: cell for key, cell in row.items()} for row in rows])
    with pytest.raises(TableError, match=r"no column 'title'(.|\n)*the run reads title, category3_code, full_price"):
        audit(run.path, other)
    rewrite(other, [row for row in rows if row["split"] == "train"])
    with pytest.raises(DataError, match="no row of split 'test'"):
        audit(run.path, other, "test")


def test_a_run_whose_catalogue_moved_takes_it_from_data_and_no_other(run, shop, tmp_path):
    moved = tmp_path / "run"
    shutil.copytree(run.path, moved)
    text = (moved / "recipe.toml").read_text()
    (moved / "recipe.toml").write_text(text.replace(str(shop), str(tmp_path / "gone")))
    with pytest.raises(TableError, match="with --data"):
        audit(moved)
    other = tmp_path / "other"
    shutil.copytree(shop, other)
    done = audit(moved, other, "test", folds=2)
    assert {each["judged by"] for each in findings_of(done.csv)} == {"the run's model"}
    rewrite(other, table_of(shop)[5:])
    with pytest.raises(RunError, match="cannot be known"):
        audit(moved, other)


def finding(**changed):
    tag = {"title": "Red Bag", "category3_code": "BAGS", "full_price": 1000.0}
    usual = {
        "row": 1, "file_name": "images/a.jpg", "picture": None, "split": "test", "score": 4.0,
        "scores": dict.fromkeys(KINDS, 1.0), "truth": tag, "written": {**tag, "full_price": 100.0},
        "most": "full_price", "judge": 0,
    }  # fmt: skip
    return Finding(**(usual | changed))


def test_what_disagrees_is_told_in_words():
    assert in_words(KINDS, finding()) == ("full_price: the tag says 1000, the model reads 100 (10 times as much)")
    cheap = finding(truth={**finding().truth, "full_price": 10.0})
    assert in_words(KINDS, cheap).endswith("(1/10 of it)")
    assert "another product" in in_words(KINDS, finding(most="everything"))
    assert "not for sure" in in_words(KINDS, finding(most="title"))
    assert "nothing readable" in in_words(KINDS, finding(written=None))
    zero = finding(truth={**finding().truth, "full_price": 0.0})
    assert in_words(KINDS, zero) == "full_price: the tag says 0, the model reads 100"


def test_the_page_holds_so_many_rows_and_the_csv_all(tmp_path):
    found = [finding(row=number) for number in range(1, SHOWN_ROWS + 6)]
    page = render_findings("run", KINDS, found, tmp_path, "all", [])
    assert Elements(page).findings == SHOWN_ROWS
    assert "305 rows" in page
    assert len(findings_csv(KINDS, found).splitlines()) == SHOWN_ROWS + 6


def test_values_that_begin_like_formulas_get_an_apostrophe_and_numbers_do_not():
    tag = {"title": "+1 Bag", "category3_code": "@BAGS", "full_price": -5.0}
    line = findings_csv(KINDS, [finding(file_name="=a.jpg", truth=tag, written=tag)]).splitlines()[1]
    (cells,) = csv.reader([line])
    assert {"'=a.jpg", "'+1 Bag", "'@BAGS", "-5"} <= set(cells)
    assert json.dumps(cells).count('"=') == 0
