import os
import signal
import subprocess
import sys

import pytest

from hangtag import files
from hangtag.errors import DataError, OutputNotEmpty, RunError


def test_a_file_killed_while_written_keeps_its_old_content(tmp_path):
    target = tmp_path / "a.json"
    files.write_json(target, {"old": 1})
    program = (
        "import os, signal, hangtag.files as files\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"files.write_json({str(target)!r}, {{'new': 2}})\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert files.read_json(target) == {"old": 1}


def test_write_whole_leaves_nothing_beside_the_file(tmp_path):
    files.write_whole(tmp_path / "deep" / "a.txt", "hello")
    assert os.listdir(tmp_path / "deep") == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").read_text() == "hello"


def test_json_lines_go_both_ways_and_name_a_damaged_line(tmp_path):
    rows = [{"a": 1}, {"b": "ü\n"}]
    files.write_jsonl(tmp_path / "rows.jsonl", rows)
    assert files.read_jsonl(tmp_path / "rows.jsonl") == rows
    with open(tmp_path / "rows.jsonl", "a") as file:
        file.write('{"cut": ')
    with pytest.raises(DataError, match="line 3 is not JSON"):
        files.read_jsonl(tmp_path / "rows.jsonl")


def test_numbers_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not any(tmp_path.iterdir())


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyError), files.whole_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("x")
        raise KeyError
    assert not any(tmp_path.iterdir())
    with files.whole_folder(tmp_path / "out") as folder:
        (folder / "whole").write_text("x")
        assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["whole"]


def test_an_output_folder_that_is_not_empty_is_refused_and_untouched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(OutputNotEmpty, match="is not empty"), files.whole_folder(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path / "out") == ["mine"]


@pytest.mark.parametrize(
    ("make", "says"),
    [([], "there is no run folder"), (["x"], "no recipe.toml"), (["recipe.toml"], "no trained model yet")],
)
def test_a_folder_without_a_model_is_no_run(tmp_path, make, says):
    run = tmp_path / "run"
    for name in make:
        run.mkdir(exist_ok=True)
        (run / name).write_text("")
    with pytest.raises(RunError, match=says):
        files.Run(run).require_model()
