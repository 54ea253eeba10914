"""The commands as a person runs them: the whole small way, and what wrong input gets."""

import csv
import json
import shutil
import subprocess
import sys

import pytest
from conftest import HANGTAG, TINY, hangtag, settings

from hangtag.files import read_json, read_jsonl


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_help_needs_no_torch_and_shows_examples(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('torch must not be needed')")
    (tmp_path / "transformers.py").write_text("raise ImportError('transformers must not be needed')")
    for command in ([], ["train"], ["predict"], ["synth"], ["fetch"], ["describe"], ["compare"], ["serve"], ["export"]):
        program = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[0] = 'hangtag'\n"
            "from hangtag.cli import main\n"
            "main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, *command, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "hangtag" in done.stdout


def test_the_whole_small_way(small_run, small_catalogue):
    done = hangtag("evaluate", small_run, anew=True)
    assert "report.html" in done.stdout
    metrics = read_json(small_run / "evaluation" / "test" / "metrics.json")
    predictions = read_jsonl(small_run / "evaluation" / "test" / "predictions.jsonl")
    rows = [row for row in table(small_catalogue / "metadata.csv") if row["split"] == "test"]
    assert metrics["rows"] == len(predictions) == len(rows)
    assert {"constant"} <= set(metrics["baselines"])
    assert set(metrics["controls"]) == {"shuffled", "blank"}
    assert "<script src" not in (small_run / "report.html").read_text()
    log = read_jsonl(small_run / "log.jsonl")
    losses = [record["loss"] for record in log if "loss" in record]
    assert losses[-1] < losses[0] / 2
    assert any("validation_loss" in record for record in log)

    picture = small_catalogue / rows[0]["file_name"]
    done = hangtag("predict", small_run, picture, "--json", anew=True)
    record = json.loads(done.stdout)
    assert record["path"] == str(picture)
    assert record["raw"] == next(each["raw"] for each in predictions if each["file_name"] == rows[0]["file_name"])
    assert set(record["fields"]) == {"title", "category3_code", "full_price"}
    done = hangtag("predict", small_run, small_catalogue / "images")
    assert "title" in done.stdout


def test_a_bad_picture_is_a_line_not_an_end(small_run, small_catalogue, tmp_path):
    good = next((small_catalogue / "images").iterdir())
    shutil.copy(good, tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(good.read_bytes()[:500])
    (tmp_path / "c.png").write_text("no picture")
    done = hangtag("predict", small_run, tmp_path, "--json", code=1)
    records = {record["path"].rsplit("/", 1)[1]: record for record in map(json.loads, done.stdout.splitlines())}
    assert records["a.jpg"]["fields"]
    assert records["b.jpg"]["error"]
    assert records["c.png"]["error"]
    assert "2 of 3 pictures have no tag" in done.stderr


def test_training_again_returns_the_finished_run_and_refuses_another_recipe(small_run, small_catalogue):
    same = settings(f"data.path={small_catalogue}", "train.epochs=25", *TINY)
    before = (small_run / "model" / "model.safetensors").stat().st_mtime_ns
    hangtag("train", "demo", "--out", small_run, *same)
    assert (small_run / "model" / "model.safetensors").stat().st_mtime_ns == before
    done = hangtag("train", "demo", "--out", small_run, *same, *settings("train.epochs=26"), code=1)
    assert "train.epochs was 25.0, is 26.0" in done.stderr


def lines(done):
    return [line for line in done.stderr.splitlines() if line.startswith("hangtag: ")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["train.epoch=3"], "unknown key train.epoch; did you mean 'epochs'?"),
        (["task.answer=Tag: {titel}"], "did you mean 'title'?"),
        (["data.path=/nowhere/at/all"], "/nowhere/at/all"),
        (
            ["task.answer=Tag: {titel}", 'task.fields={titel = "text"}'],
            "did you mean 'title'?",
        ),
    ],
)
def test_a_wrong_recipe_is_one_clear_line_and_leaves_nothing(small_catalogue, tmp_path, change, says):
    out = tmp_path / "run"
    code = 1 if "nowhere" in says or "fields" in str(change) else 2
    done = hangtag("train", "demo", "--out", out, *settings(f"data.path={small_catalogue}", *change), code=code)
    assert len(lines(done)) == 1
    assert says in done.stderr
    assert not out.exists()


def test_an_output_folder_that_is_not_empty_is_refused(small_catalogue, tmp_path):
    (tmp_path / "mine").write_text("x")
    for command in (["synth", tmp_path], ["train", "demo", "--out", tmp_path]):
        done = hangtag(*command, *(settings(f"data.path={small_catalogue}") if command[0] == "train" else []), code=2)
        assert "is not empty" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_a_folder_without_a_model_is_refused_by_every_verb_that_needs_one(small_catalogue, tmp_path):
    for command in (["evaluate", tmp_path], ["predict", tmp_path, small_catalogue]):
        assert "is no run folder" in hangtag(*command, code=1).stderr
    for command in (["evaluate", tmp_path / "absent"], ["predict", tmp_path / "absent", small_catalogue]):
        assert "there is no run folder" in hangtag(*command, code=1).stderr


def test_wrong_usage_exits_with_2(small_run):
    assert "No such command" in hangtag("tran", code=2).stderr
    assert "no such file" in hangtag("predict", small_run, "/no/such.jpg", code=2).stderr
    hangtag("synth", code=2)


def test_rows_that_cannot_be_used_are_listed_and_the_rest_is_trained(small_catalogue, tmp_path):
    catalogue = tmp_path / "catalogue"
    shutil.copytree(small_catalogue, catalogue)
    rows = table(catalogue / "metadata.csv")
    used = [row for row in rows if row["split"] == "train"]
    used[0]["full_price"], used[1]["full_price"], used[2]["title"] = "N.A.", "1.299,00", ""
    with open(catalogue / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    out = tmp_path / "run"
    done = hangtag("train", "demo", "--out", out, *settings(f"data.path={catalogue}", "train.epochs=0.2", *TINY))
    assert "3 rows could not be used" in done.stdout
    rejected = table(out / "rejected.csv")
    assert [each["reason"] for each in rejected] == ["value-unreadable"] * 3
    assert "1299.00" in " ".join(each["detail"] for each in rejected)


def test_progress_on_a_pipe_is_plain_lines(tmp_path):
    done = hangtag("synth", tmp_path / "out", "--rows", 3, "--size", 64)
    assert "inventing products: 3/3" in done.stderr
    assert "\x1b" not in done.stderr


def test_the_command_is_installed_beside_python():
    assert HANGTAG.exists()
