"""Runs that are killed, interrupted and taken up again end as unbroken ones, bit by bit."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import HANGTAG, TINY, settings
from disks import small_disk

from hangtag.files import Run, read_jsonl
from hangtag.training.checkpoints import checkpoints, damage

FULL = ["train.epochs=1.5", "train.checkpoint_epochs=0.5", "train.best=loss", "train.validation_answers=1"]
PLAIN = [f"train.{key}" for key in ("flip=false", "shift=0", "zoom=0", "light=0", "optimizer=adamw")]
LORA = [*PLAIN, "train.method=lora", "train.lora.dropout=0.3", "train.learning_rate=0.003", "train.workers=0"]
STEPS, EVERY = 9, 3
KILLED = -signal.SIGKILL


def finish(run):
    assert run.wait() == 0, run.said.read_text()
    return run.said.read_text()


@pytest.fixture(scope="module")
def unbroken(train, tmp_path_factory):
    """The run that no one disturbed, with augmentation and a worker process."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    finish(train(out, *FULL))
    return out


def result(out):
    """All that a run leaves but times: the model's files, the log, which checkpoints are there."""
    run = Run(Path(out))
    log = [{key: each for key, each in line.items() if key not in ("seconds", "wait")} for line in read_jsonl(run.log)]
    assert not [*run.path.rglob(".*"), *run.path.parent.glob(f".{run.path.name}.*")]
    files = {each.name: each.read_bytes() for each in run.model.iterdir()}
    return files, log, [each.name for each in checkpoints(run)]


def assert_same(one, other):
    for a, b in zip(result(one), result(other), strict=True):
        assert a == b


def until(state, run):
    """Wait until something is so; the run must not end before."""
    while not state():
        assert run.running(), run.said.read_text()
        time.sleep(0.002)


STEP = "hangtag.training.trainer:answer_loss"
CHAINS = {
    "the beginning": [
        ("the run folder is made", "hangtag.training.begun:csv_text", 1),
        ("nothing is trained", STEP, 1),
        ("a record is about to be logged", "hangtag.training.log:json.dumps", 3),
        ("the first checkpoint's optimizer is about to be written", "torch:save", 1),
    ],
    "the middle": [
        ("a checkpoint lacks its manifest", "hangtag.training.checkpoints:write_json", 2),
        ("a step is under way", STEP, 2),
        ("answers are validated", "hangtag.training.trainer:write_answers", 1),
        ("a checkpoint lacks its name", "hangtag.training.checkpoints:_flush", 1),
    ],
    "the end": [
        ("an old checkpoint is not yet removed", "hangtag.training.trainer:prune", 3),
        ("the model is half-written", "hangtag.training.train:flush_all", 1),
        ("the model is not begun", "hangtag.training.train:whole_folder", 1),
    ],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_a_run_killed_again_and_again_in(chain, train, unbroken, tmp_path):
    out = tmp_path / "run"
    for moment, place, nth in CHAINS[chain]:
        run = train(out, *FULL, dies_at=place, nth=nth)
        assert run.wait() == KILLED, moment + run.said.read_text()
        assert not (out / "model").exists()
    finish(train(out, *FULL))
    assert_same(out, unbroken)


def test_a_run_killed_from_outside_leaves_no_process_and_its_workers_do_not_decide(train, unbroken, tmp_path):
    out = tmp_path / "run"
    run = train(out, *FULL)
    until(lambda: (out / "log.jsonl").exists() and len(read_jsonl(out / "log.jsonl")) > 5 and run.workers(), run)
    workers = run.workers()
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == KILLED
    said = finish(train(out, *FULL, "train.workers=0"))
    assert "train.workers was 'auto', is 0: the steps stay the same" in said
    assert_same(out, unbroken)
    while any(Path(f"/proc/{worker}").exists() for worker in workers):  # at most a few seconds: they watch their parent
        time.sleep(0.05)


def test_ctrl_c_and_sigterm_save_and_say_how_to_go_on(train, unbroken, tmp_path):
    out = tmp_path / "run"
    # In a step, then in the validation of a step that is saved anyway.
    for name, nth, step in ((signal.SIGINT, 2, 2), (signal.SIGTERM, 2, 3)):
        run = train(out, *FULL, dies_at=STEP, nth=nth, signals=[name])
        assert run.wait() == 130
        said = run.said.read_text()
        assert "stopping: this step is finished and saved; Ctrl-C again stops at once" in said
        assert said.strip().splitlines()[-1] == (
            f"hangtag: stopped after step {step} of {STEPS}, which is saved; run the same command again to go on"
        )
        assert checkpoints(Run(out))[-1].name == f"step-{step}"
        assert not (out / "model").exists()
    finish(train(out, *FULL))
    assert_same(out, unbroken)


def test_a_second_ctrl_c_stops_at_once_and_the_command_itself_goes_on(train, unbroken, small_catalogue, tmp_path):
    out = tmp_path / "run"
    run = train(out, *FULL, dies_at=STEP, nth=6, signals=[signal.SIGINT, signal.SIGINT])
    assert run.wait() == 130
    assert "Traceback" not in run.said.read_text()
    assert [each.name for each in checkpoints(Run(out))] == ["step-3"]
    assert damage(checkpoints(Run(out))[0]) is None
    pairs = settings(f"data.path={small_catalogue}", *TINY, *FULL)
    line = [HANGTAG, "train", "demo", "--out", out, *pairs]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert f"going on from {out}/checkpoints/step-3" in done.stderr
    assert_same(out, unbroken)


def test_adapters_with_dropout_go_on_with_the_same_random_numbers(train, unbroken, tmp_path):
    base = f"model.base={unbroken / 'model'}"
    finish(train(tmp_path / "whole", *FULL, *LORA, base))
    run = train(tmp_path / "broken", *FULL, *LORA, base, dies_at=STEP, nth=7)
    assert run.wait() == KILLED, run.said.read_text()
    finish(train(tmp_path / "broken", *FULL, *LORA, base))
    assert_same(tmp_path / "broken", tmp_path / "whole")


def test_early_stopping_and_the_best_checkpoint_outlive_kills(train, tmp_path):
    ends = [*PLAIN, "train.epochs=20", "train.checkpoint_epochs=0.17", "train.best=loss", "train.patience=4"]
    ends += ["train.keep_checkpoints=1", "train.validation_answers=0", "train.learning_rate=0.3", "train.warmup=0"]
    finish(train(tmp_path / "whole", *ends))
    _, log, left = result(tmp_path / "whole")
    losses = [line["validation_loss"] for line in log if "validation_loss" in line]
    best = losses.index(min(losses)) + 1
    assert len(losses) == best + 4 < 120
    assert left == [f"step-{best}", f"step-{best + 4}"]
    for place, nth in ((STEP, 5), ("hangtag.training.train:flush_all", 1)):
        run = train(tmp_path / "broken", *ends, dies_at=place, nth=nth)
        assert run.wait() == KILLED, run.said.read_text()
    finish(train(tmp_path / "broken", *ends))
    assert_same(tmp_path / "broken", tmp_path / "whole")


@pytest.fixture
def halted(train, tmp_path):
    """A run killed after its second checkpoint."""
    assert train(tmp_path / "run", *FULL, dies_at=STEP, nth=11).wait() == KILLED
    assert [each.name for each in checkpoints(Run(tmp_path / "run"))] == ["step-3", "step-6"]
    return tmp_path / "run"


def test_a_damaged_newest_checkpoint_is_passed_over_and_a_broken_log_mended(halted, train, unbroken):
    weights = halted / "checkpoints/step-6/optimizer.pt"
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(damaged)
    (halted / "log.jsonl").write_bytes((halted / "log.jsonl").read_bytes()[:-40])
    said = finish(train(halted, *FULL))
    assert "step-6 is passed over: it is damaged (optimizer.pt is not as it was written)" in said
    assert "goes on from step-3" in said
    assert_same(halted, unbroken)


def test_where_every_checkpoint_is_damaged_the_run_begins_anew(halted, train, unbroken):
    (halted / "checkpoints/step-3/whole.json").unlink()
    shutil.rmtree(halted / "checkpoints/step-6")
    (halted / "checkpoints/step-6").mkdir()
    (halted / "log.jsonl").write_bytes(b"\0" * 100)
    said = finish(train(halted, *FULL))
    assert "step-6 is passed over" in said
    assert "step-3 is passed over" in said
    assert "no whole checkpoint is left: the run begins anew" in said
    assert_same(halted, unbroken)


def test_on_a_full_disk_the_last_checkpoint_stays_whole(train, unbroken, tmp_path):
    size = sum(each.stat().st_size for each in (unbroken / "checkpoints/step-9").iterdir()) // 1024
    with small_disk(tmp_path / "disk", size * 3 // 2) as disk:
        run = train(disk / "run", *FULL)
        assert run.wait() == 1
        last = run.said.read_text().strip().splitlines()[-1]
        assert last.startswith(f"hangtag: {disk}/run: the disk is full (")
        assert last.endswith("run the same command again; step-3 is whole, and it goes on from there")
        assert [each.name for each in (disk / "run/checkpoints").iterdir()] == ["step-3"]
        assert damage(disk / "run/checkpoints/step-3") is None
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        finish(train(disk / "run", *FULL))
        assert_same(disk / "run", unbroken)


def test_a_limit_on_the_size_of_files_is_told(train, tmp_path):
    run = train(tmp_path / "run", *FULL, "train.workers=0", file_limit=500_000)
    assert run.wait() == 1
    last = run.said.read_text().strip().splitlines()[-1]
    assert "larger than is allowed here (see `ulimit -f`)" in last
    assert last.endswith("it begins anew")
    assert not list((tmp_path / "run/checkpoints").iterdir())


def test_a_step_for_which_shared_memory_has_no_room_is_told(train, tmp_path):
    run = train(tmp_path / "run", *FULL, "train.workers=1", file_limit=100_000)
    assert run.wait() == 1
    last = run.said.read_text().strip().splitlines()[-1]
    assert last.startswith("hangtag: no room in shared memory for a step's pictures (unable to resize file")
    assert "train.workers" in last
