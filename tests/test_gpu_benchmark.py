"""The benchmarks of a GPU run on a CPU with a tiny base: the same code, down to what is compared before it is timed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu_training

    return gpu_training


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, g++")
def test_every_part_runs_compares_and_tells_what_it_found(tmp_path):
    line = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--only", "lora-4", "--work", tmp_path]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["device"] == "cpu"
    assert not any("exit" in found[part] for part in ("loading", "training", "prediction", "context"))
    setting = found["training"]["settings"]["lora-4"]
    assert set(setting["ways"]) == {"compiled", "plain", "trl", "engine", "cached"}
    losses = [each["losses"][0] for each in setting["ways"].values()]
    assert max(losses) == pytest.approx(min(losses), rel=1e-4)
    assert setting["equal"]["with_inverted_pictures"] > 10 * setting["equal"]["losses_apart"]
    for way in setting["ways"].values():
        assert way["pictures_per_second"] > 0
        assert 0 < way["share_of_peak"] < 1
    cached, whole = (setting["ways"][way]["operations_per_picture"] for way in ("cached", "compiled"))
    assert cached < whole  # without CLIP
    assert setting["ways"]["compiled"]["profile"]["kinds"]["matrix products"] > 0
    crops = found["prediction"]["num_crops"]
    assert {name: set(each["batches"]) for name, each in crops.items()} == {"4": {"1", "4"}, "16": {"4"}, "1": {"4"}}
    assert crops["4"]["tags"]["answered"] == 8
    assert all(each["equal"]["of_the_next"] > 100 * each["equal"]["logits_apart"] for each in crops.values())
    assert 3900 < found["context"]["tried"][0]["tokens"] <= 4096 - 64
    assert len(found["loading"]["ways"]) == 4
    assert not list(tmp_path.iterdir()), "what was made for the time is left behind"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_not_replaced(training):
    with pytest.raises(SystemExit, match="torch finds no GPU here"):
        training.Machine.found("cuda")


def test_other_results_are_a_failure(training, tmp_path, monkeypatch, capsys):
    apart = {"is_equal": False, "equal": {"losses_apart": 1.0}}
    monkeypatch.setattr(training, "measure", lambda *_: apart)
    monkeypatch.setattr(sys, "argv", ["gpu_training.py", str(tmp_path), "--device", "cpu", "--only", "lora-4"])
    assert training.main() == 1
    assert "results differ: lora-4" in capsys.readouterr().err


def test_what_there_is_no_time_or_library_for_is_named(training, tmp_path, monkeypatch):
    machine, setting = training.Machine.found("cpu"), training.SETTINGS["lora-4"]
    over = training.Deadline.within(-1)
    assert training._timed(machine, setting, tmp_path, "plain", over, 1.0) == {"left_out": "no time was left"}
    monkeypatch.setattr(training, "_has", lambda _: False)
    found = training._timed(machine, setting, tmp_path, "trl", training.Deadline.within(1e6), 1.0)
    assert found == {"left_out": "trl or datasets is not installed"}


def test_a_way_that_needs_more_memory_is_named_and_one_that_fails_ends_the_program(training, tmp_path, monkeypatch):
    machine, setting = training.Machine.found("cpu"), training.SETTINGS["lora-4"]
    monkeypatch.setattr(training, "recipe_for", lambda *_: None)

    def fails(error):
        def way(*_):
            raise error

        monkeypatch.setitem(training.WAYS, "plain", way)
        return training._timed(machine, setting, tmp_path, "plain", training.Deadline.within(1e6), 1.0)

    found = fails(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert found["left_out"].startswith("more memory would be needed: CUDA out of memory")
    with pytest.raises(RuntimeError, match="sizes of tensors"):
        fails(RuntimeError("sizes of tensors must match"))


def test_time_in_which_nothing_ran_is_what_no_kernel_covers(training):
    import gpu_profile

    assert gpu_profile._covered([(0, 2), (1, 3), (5, 6), (5.5, 5.6)]) == 4
    assert gpu_profile._kind("void flash_fwd_kernel<...>") == "attention"
    assert gpu_profile._kind("nvjet_tst_128x256_64x4_2x1_v_bz_TNT") == "matrix products"
    assert gpu_profile._kind("triton_poi_fused_mul_silu_0") == "compiled"
    assert gpu_profile._kind("Memcpy HtoD (Pinned -> Device)") == "copies"
    assert gpu_profile._kind("ncclDevKernel") == "other"
