import re
import subprocess
import sys

import pytest
import torch

from hangtag.memory import Pass, expected_memory, fullest_pass
from hangtag.recipe import check_recipe, load_recipe
from hangtag.training.out_of_memory import Device, advice, is_out_of_memory

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
LIMITED = """
import resource, torch
torch.ones(1)
resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))
from hangtag.training.out_of_memory import is_out_of_memory
held = []
try:
    while True:
        held.append({make})
except Exception as error:
    del held
    print(type(error).__name__, is_out_of_memory(error))
"""


def recipe(**train):
    return check_recipe({"data": {"path": "x"}, "train": train})


def test_an_allocation_that_fails_on_the_cpu_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("make", "name"), [("torch.empty(1 << 27)", "RuntimeError"), ("bytearray(1 << 40)", "MemoryError")]
)
def test_a_process_at_its_limit_knows_it(make, name):
    done = subprocess.run([sys.executable, "-c", LIMITED.replace("{make}", make)], capture_output=True, text=True)
    assert done.stdout.split() == [name, "True"], done.stderr


@pytest.mark.parametrize(
    "error",
    [
        CUDA,
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried"),
        MemoryError(),
    ],
    ids=str,
)
def test_every_way_of_running_out_is_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("out of memory"), OSError(28, "x")])
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


def settings_of(text):
    """The settings that an advice names, with the bytes that each saves."""
    found = re.findall(r"([\w.]+=\w+) \(about -([\d.]+) (GB|MB)", text)
    return {name: float(size) * {"GB": 1e9, "MB": 1e6}[unit] for name, size, unit in found}


def test_the_advice_names_what_to_set_in_order_of_gain_with_the_figures_of_memory():
    wanted = recipe(method="lora")
    one = Pass(8120, 450, 50)
    text = advice(wanted, one, longest=830)
    assert "8,120 tokens" in text
    assert "token_budget 8192" in text
    told = settings_of(text)
    assert list(told.values()) == sorted(told.values(), reverse=True)
    assert set(told) == {
        "train.checkpointing=true",
        "train.token_budget=4060",
        "model.num_crops=1",
        "train.method=qlora",
    }
    assert "313 tokens instead of 757" in text
    saves = expected_memory(wanted, one).total - expected_memory(recipe(method="lora", checkpointing=True), one).total
    assert told["train.checkpointing=true"] == pytest.approx(saves, rel=0.01)


@pytest.mark.parametrize("name", ["lora-24gb", "qlora-12gb", "full-80gb", "full-8gpu", "demo"])
@pytest.mark.parametrize("processes", [1, 2])
def test_each_setting_that_is_named_can_be_set_and_is_not_set_yet(name, processes):
    before = load_recipe(name)
    device = Device(processes)
    text = advice(before, fullest_pass(before, processes), device)
    for setting in settings_of(text):
        after = load_recipe(name, [setting])
        assert after != before
    assert ("use_fsdp" in text) == (processes > 1 and name == "full-8gpu"), "the others do not shard, or gain nothing"


def test_where_weights_are_sharded_nothing_is_named_that_needs_them_whole():
    for method in ("full", "lora"):
        text = advice(recipe(method=method), Pass(8120, 450, 50), Device(8, sharded=True))
        assert "qlora" not in text
        assert "adamw_8bit" not in text
        assert "use_fsdp" not in text
    whole = advice(recipe(method="full"), Pass(8120, 450, 50), Device(8))
    assert "adamw_8bit" in whole
    assert "use_fsdp" in whole


def test_where_nothing_is_left_to_lower_it_says_so():
    wanted = recipe(method="qlora", checkpointing=True, optimizer="adamw_8bit")
    wanted = wanted.model_copy(update={"model": wanted.model.model_copy(update={"num_crops": 1})})
    assert "larger device" in advice(wanted, Pass(378, 45, 2), longest=378)


def test_the_budget_never_goes_below_the_longest_row():
    told = settings_of(advice(recipe(method="lora"), Pass(1640, 90, 10), longest=1200))
    assert "train.token_budget=1200" in told
