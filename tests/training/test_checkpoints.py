"""Checkpoints on disk, without a model: what counts as whole, what is passed over, what is pruned."""

import json
import os
import subprocess
import sys

import pytest

from hangtag.errors import RunError
from hangtag.files import Run, remove_leftovers, whole_folder
from hangtag.recipe import Train
from hangtag.training.begun import alone
from hangtag.training.checkpoints import checkpoint_at, checkpoints, damage, partial_folder, prune, publish, take_up
from hangtag.training.log import Log, best_step

LAST = Train(keep_checkpoints=2)
BEST = Train(keep_checkpoints=2, best="loss")


def records(*losses):
    """A log with a validation at steps 10, 20, ..."""
    return [{"step": 10 * n, "validation_loss": loss, "seconds": 0.0} for n, loss in enumerate(losses, 1)]


def write(run, *losses):
    """The checkpoint of the last of these validations."""
    written = partial_folder(run) / "checkpoint"
    written.mkdir(parents=True)
    for name, content in {"model.safetensors": b"weights" * 99, "optimizer.pt": b"state" * 99, "x.bin": b""}.items():
        (written / name).write_bytes(content)
    (written / "training_args.bin").write_bytes(b"pickle")
    Log(run.log, records(*losses)).keep(written)
    publish(run, written, 10 * len(losses))
    return checkpoint_at(run, 10 * len(losses))


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path / "run")
    made.checkpoints.mkdir(parents=True)
    return made


def taken(run, settings=LAST):
    """What is taken up, and what is said."""
    said = []
    found = take_up(run, settings, said.append)
    return found and found.name, "\n".join(said)


def test_a_checkpoint_that_was_published_is_whole_and_nothing_else_is_left(run):
    made = write(run, 3.0)
    assert damage(made) is None
    assert not (made / "training_args.bin").exists()
    assert [each.name for each in run.checkpoints.iterdir()] == ["step-10"]
    assert taken(run) == ("step-10", "")


def flip(made):
    content = bytearray((made / "optimizer.pt").read_bytes())
    content[100] ^= 1
    (made / "optimizer.pt").write_bytes(content)


def empty(made):
    for each in made.iterdir():
        each.unlink()


DAMAGES = {
    "model.safetensors has 600 bytes, 693 were written": lambda made: os.truncate(made / "model.safetensors", 600),
    "optimizer.pt is not as it was written": flip,
    "x.bin is missing": lambda made: (made / "x.bin").unlink(),
    "log.jsonl has": lambda made: os.truncate(made / "log.jsonl", 5),
    "whole.json is missing": lambda made: (made / "whole.json").unlink(),
    "whole.json is missing ": empty,
    "cannot be read": lambda made: (made / "whole.json").write_text('{"model.saf'),
    "cannot be read ": lambda made: (made / "whole.json").write_text(json.dumps(["model.safetensors"])),
}


@pytest.mark.parametrize("problem", DAMAGES)
def test_a_damaged_newest_is_passed_over_removed_and_named(run, problem):
    write(run, 3.0)
    DAMAGES[problem](write(run, 3.0, 2.0))
    found, said = taken(run)
    assert found == "step-10"
    assert f"{run.checkpoints}/step-20 is passed over: it is damaged (" in said
    assert problem.strip() in said
    assert "goes on from step-10" in said
    assert not checkpoint_at(run, 20).exists()


def test_where_all_are_damaged_the_run_begins_anew(run):
    for losses in ([3.0], [3.0, 2.0]):
        flip(write(run, *losses))
    found, said = taken(run)
    assert found is None
    assert said.count("passed over") == 2
    assert said.endswith("no whole checkpoint is left: the run begins anew")
    assert not checkpoints(run)


def test_one_whose_best_is_damaged_is_no_place_to_go_on_from(run):
    write(run, 3.0)
    best = write(run, 3.0, 1.0)
    write(run, 3.0, 1.0, 2.0)
    assert taken(run, BEST) == ("step-30", "")
    flip(best)
    write(run, 3.0)
    found, said = taken(run, BEST)
    assert found == "step-10"
    assert "step-30 is passed over: the best before it, step-20, is damaged (optimizer.pt" in said


def test_pruning_keeps_the_newest_and_the_best_that_each_of_them_knows(run):
    losses = [3.0, 1.0, 2.0, 2.0, 0.5]
    for count in range(1, 6):
        write(run, *losses[:count])
        prune(run, BEST, records(*losses[:count]))
    # Step 50 is the best, but who goes on from step 40 needs step 20.
    assert [each.name for each in checkpoints(run)] == ["step-20", "step-40", "step-50"]
    prune(run, LAST, records(*losses))
    assert [each.name for each in checkpoints(run)] == ["step-40", "step-50"]


def test_the_best_step_is_the_first_of_equals_and_is_asked_for_as_of_a_step():
    log = records(2.0, 1.0, 1.0, 0.5)
    assert [best_step(log, BEST, until) for until in (None, 30, 10, 5)] == [40, 20, 10, None]
    assert best_step(log, LAST) is None


HOLDS = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_only_one_hangtag_trains_in_a_run_folder_and_leftovers_of_killed_ones_go(run):
    command = [sys.executable, "-c", HOLDS, run.checkpoints / ".lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another hangtag is training in .*/run; wait for it, or"), alone(run):
            pass
        other.stdin.close()
    partial_folder(run).mkdir()
    (run.path / f".model.{other.pid}-0a1b.tmp").mkdir()
    (run.path / f".log.jsonl.{other.pid}-0a1b.tmp").write_text("half")
    mine = run.path / f".log.jsonl.{os.getpid()}-0a1b.tmp"
    mine.write_text("someone is writing this")
    with alone(run):
        assert {each.name for each in run.path.iterdir()} == {"checkpoints", mine.name}
        assert not partial_folder(run).exists()
    assert not list(run.checkpoints.iterdir())


def test_leftovers_of_another_name_stay(tmp_path):
    (tmp_path / ".run2.999999999-aa.tmp").mkdir()
    (tmp_path / ".run.999999999-aa.tmp").mkdir()
    (tmp_path / ".run.notes.tmp").mkdir()
    remove_leftovers(tmp_path / "run")
    assert {each.name for each in tmp_path.iterdir()} == {".run2.999999999-aa.tmp", ".run.notes.tmp"}
    with whole_folder(tmp_path / "run") as folder:
        remove_leftovers(tmp_path / "run")
        assert folder.is_dir()
