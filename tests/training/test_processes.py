"""Runs in two processes that a launcher starts, on this machine's CPU, beside the same runs in one."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import several_runs
import torch
from conftest import HANGTAG, TINY, settings
from PIL import Image
from safetensors.torch import load_file
from several_runs import run as run_here
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from transformers import AutoModelForImageTextToText

from hangtag.errors import RecipeError, ToldElsewhere, UsageError
from hangtag.files import Run, read_jsonl
from hangtag.prediction.loading import load
from hangtag.training.checkpoints import checkpoints, damage
from hangtag.training.guards import GradientCheck
from hangtag.training.processes import Processes

BIN = Path(sys.executable).parent
TWO = ["--num_processes", 2, "--mixed_precision", "no", "--dynamo_backend", "no"]
DDP = [BIN / "accelerate", "launch", *TWO, "--multi_gpu"]
FSDP = [
    *[BIN / "accelerate", "launch", *TWO, "--num_machines", 1, "--main_process_port", 0],
    *["--use_fsdp", "--fsdp_version", "2"],
    *["--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"],
    *["--fsdp_transformer_layer_cls_to_wrap", "Phi3DecoderLayer,Phi3VImageEmbedding"],
]
SEVERAL = Path(several_runs.__file__)
# 46 training rows in steps of 9, the last of them a single row; a budget that cuts a step into several passes.
SMALL = [
    *TINY,
    "model.num_crops=1",
    "train.batch_size=9",
    "train.token_budget=300",
    "train.epochs=1",
    "train.learning_rate=1e-3",
    "train.optimizer=adamw",
    "train.precision=float32",
    "train.workers=0",
    "train.validation_answers=3",
]
LORA = ["train.method=lora", "train.lora.rank=4", "train.lora.dropout=0"]


@pytest.fixture(scope="module")
def mixed(small_catalogue, tmp_path_factory):
    """A catalogue whose rows have no picture, one or two; and settings for it."""
    folder = tmp_path_factory.mktemp("mixed") / "catalogue"
    shutil.copytree(small_catalogue, folder)
    with open(folder / "metadata.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    left_out = [row for row in rows if row["split"] == "train"][46:]
    for index, row in enumerate(rows):
        row["front"] = row["file_name"] if index % 3 else ""
        row["back"] = rows[index - 1]["file_name"] if index % 4 == 1 else ""
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row not in left_out)
    return [*SMALL, f"data.path={folder}", 'data.pictures=["front", "back"]']


@pytest.fixture(scope="module")
def alone(mixed, tmp_path_factory):
    """Runs in one process: name to settings and folder."""
    root = tmp_path_factory.mktemp("alone")
    os.environ["HANGTAG_CACHE"] = str(root / "cache")
    made = {"adamw": mixed, "muon": [*mixed, "train.optimizer=muon", "train.rates.clip=0"]}
    made["lora"] = [*mixed, *LORA, f"model.base={root / 'adamw' / 'model'}", "train.rates.clip=1e-3", "train.workers=1"]
    for name, changed in made.items():
        assert run_here(changed, root / name) is None
    return {name: (changed, root / name) for name, changed in made.items()}


def start(*command, **options):
    """A launched command, not waited for; quick for two cores."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def finish(process, seconds=120):
    """Its exit code, output and errors."""
    out, errors = process.communicate(timeout=seconds)
    return process.returncode, out, errors


def wait_for(happens, *processes):
    """Until something happens while the processes run."""
    while not happens():
        for each in processes:
            assert each.poll() is None, finish(each)
        time.sleep(0.02)


def several(launcher, jobs, path):
    """`jobs` in two processes, see several_runs."""
    path.write_text(json.dumps([[changed, str(out), *event] for changed, out, *event in jobs]))
    return finish(start(*launcher, SEVERAL, path))


def assert_same_log(log, other):
    """Each record once, in both."""
    records = [read_jsonl(each) for each in (log, other)]
    assert [list(record) for record in records[0]] == [list(record) for record in records[1]]
    for one, two in zip(*records, strict=True):
        for key in one.keys() - {"seconds", "wait"}:
            assert one[key] == pytest.approx(two[key], rel=1e-5), (one, two)


def assert_same(run, other):
    """The same log and the same weights."""
    assert_same_log(Run(run).log, Run(other).log)
    weights = [load_file(next(Run(each).model.glob("*model.safetensors"))) for each in (run, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], rtol=0, atol=1e-5), name


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_two_processes_learn_what_one_does_go_on_where_it_stopped_and_one_that_fails_ends_the_other(alone, tmp_path):
    changed, _ = alone["adamw"]
    assert run_here(changed, tmp_path / "resumed", "stop:2").exit_code == 130
    jobs = [(each, tmp_path / name) for name, (each, _) in alone.items()]
    jobs += [(changed, tmp_path / "resumed", "stop:4"), (changed, tmp_path / "failing", "fail:2")]
    began = time.monotonic()
    code, _, errors = several([BIN / "torchrun", "--nproc-per-node", 2], jobs, tmp_path / "jobs.json")
    assert code == 1, errors
    assert errors.count("Interrupted: stopped after step 4 of 6") == 1, errors
    assert errors.count("DataError: process 1 fails") == errors.count("DataError") == 1, errors
    assert time.monotonic() - began < 100
    assert [int(each.name[5:]) for each in checkpoints(Run(tmp_path / "resumed"))] == [2, 4]
    assert run_here(changed, tmp_path / "resumed") is None
    for name, (_, folder) in alone.items():
        assert_same(folder, tmp_path / name)
    assert_same(alone["adamw"][1], tmp_path / "resumed")


def test_sharded_weights_learn_what_whole_ones_do_go_on_after_a_kill_and_end_as_a_plain_model(alone, tmp_path):
    often = [*alone["adamw"][0], "train.checkpoint_epochs=0.3"]
    best = [*often, "train.best=loss", "train.learning_rate=0.2", "train.schedule=constant"]
    assert run_here(often, tmp_path / "often alone") is None
    assert run_here(often, tmp_path / "whole", "stop:2").exit_code == 130
    launcher = start(*FSDP, "-m", "hangtag", "train", "demo", "--out", tmp_path / "killed", *settings(*often))
    wait_for(lambda: checkpoints(Run(tmp_path / "killed")), launcher)
    for each in [*psutil.Process(launcher.pid).children(recursive=True), psutil.Process(launcher.pid)]:
        each.kill()
    finish(launcher)
    assert not Run(tmp_path / "killed").has_model(), "it was quicker than the kill"

    jobs = [(often, tmp_path / "killed"), (alone["lora"][0], tmp_path / "lora"), (best, tmp_path / "best")]
    jobs += [(alone["muon"][0], tmp_path / "muon"), (often, tmp_path / "whole")]
    code, _, errors = several(FSDP, jobs, tmp_path / "jobs.json")
    assert code == 1, errors
    assert errors.count('optimizer = "muon" needs whole matrices') == 1
    assert errors.count("step-2 was written without FSDP2") == 1
    newest = checkpoints(Run(tmp_path / "killed"))[-1]
    assert damage(newest) is None
    assert len(list(newest.glob("pytorch_model_fsdp_0/*.distcp"))) == 2
    assert_same(tmp_path / "often alone", tmp_path / "killed")
    assert_same(alone["lora"][1], tmp_path / "lora")
    validations = [each for each in read_jsonl(Run(tmp_path / "best").log) if "validation_loss" in each]
    best_step = min(validations, key=lambda each: each["validation_loss"])["step"]
    assert best_step < validations[-1]["step"], "the last is the best, so going back to it is not seen"
    kept = Run(tmp_path / "best").checkpoints / f"step-{best_step}"
    dcp_to_torch_save(kept / "pytorch_model_fsdp_0", tmp_path / "kept.pt")
    weights = load_file(tmp_path / "best" / "model" / "model.safetensors")
    for name, tensor in torch.load(tmp_path / "kept.pt")["model"].items():
        assert torch.equal(weights[name], tensor), name
    assert AutoModelForImageTextToText.from_pretrained(tmp_path / "best" / "model").dtype == torch.float32
    assert load(tmp_path / "best").features([Image.new("RGB", (64, 64))]).shape == (1, 64)


def test_two_machines_share_a_run_and_ctrl_c_on_one_saves_once_and_ends_both(alone, tmp_path):
    changed = [*alone["adamw"][0], "train.epochs=500", "train.checkpoint_epochs=500"]
    where = ["--num_machines", 2, "--main_process_ip", "127.0.0.1", "--main_process_port", free_port()]
    machines = [
        start(
            *[*DDP, *where, "--machine_rank", rank, "-m", "hangtag", "train", "demo", "--out", tmp_path / "run"],
            *settings(*changed),
        )
        for rank in (0, 1)
    ]
    log = Run(tmp_path / "run").log
    wait_for(lambda: log.exists() and len(read_jsonl(log)) > 3, *machines)
    workers = [each for machine in machines for each in psutil.Process(machine.pid).children(recursive=True)]
    machines[0].send_signal(signal.SIGINT)
    (first, _, errors), (second, _, others) = [finish(each, seconds=60) for each in machines]
    assert first != 0, errors
    assert second != 0, others
    assert errors.count("this step is finished and saved") == 1
    assert (errors + others).count("run the same command again") == 1
    assert "clip: 21 tensors" in errors
    assert "clip: 21 tensors" not in others
    assert not any(each.is_running() for each in workers)
    (saved,) = checkpoints(Run(tmp_path / "run"))
    assert damage(saved) is None
    assert read_jsonl(log)[-1]["step"] == int(saved.name[5:])
    assert run_here(changed, tmp_path / "alone", f"stop:{saved.name[5:]}").exit_code == 130
    assert_same_log(Run(tmp_path / "alone").log, log)


def test_bfloat16_is_computed_on_a_cpu_where_the_recipe_asks_for_it(mixed, tmp_path):
    assert run_here([*mixed, "train.precision=bfloat16", "train.epochs=0.1"], tmp_path) is None
    assert 0 < read_jsonl(Run(tmp_path).log)[0]["loss"] < 20


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed is not supported; shard with FSDP2"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "FSDP1 is not supported"),
        ({"ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1"}, "starts one process without MPI"),
    ],
)
def test_a_launch_that_cannot_train_is_refused(monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        Processes()
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ToldElsewhere):
        Processes()


def test_a_wrong_recipe_is_told_by_a_machines_first_process():
    for rank, told in (("0", 1), ("1", 0)):
        environment = os.environ | {"LOCAL_RANK": rank}
        done = subprocess.run(
            [HANGTAG, "train", "demo", "--set", "train.epoch=1"], capture_output=True, text=True, env=environment
        )
        assert done.returncode == RecipeError.exit_code
        assert done.stderr.count("unknown key train.epoch") == told


def test_a_gradient_that_only_another_process_has_counts():
    layer = torch.nn.Linear(2, 2)
    layer.weight.grad, layer.bias.grad = torch.zeros(2, 2), torch.zeros(2)
    check = GradientCheck({"clip": 0.0, "projector": 0.0, "decoder": 1.0})
    check(layer.named_parameters(), lambda reached: [False, False, True])
    assert not check.waiting
