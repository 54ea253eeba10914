"""What the tests share: `hangtag` as a command, and a small catalogue and run made once, through the commands."""

import atexit
import functools
import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from forked import Command, forkable

os.environ["HF_HUB_OFFLINE"] = "1"
# OpenMP's threads wait by spinning, which slows everything where cores are shared; read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HANGTAG_CACHE"] = tempfile.mkdtemp(prefix="hangtag-cache-")
atexit.register(shutil.rmtree, os.environ["HANGTAG_CACHE"], ignore_errors=True)

# While torch and transformers are imported, the garbage collector would look through all of them again and again (2 s).
gc.disable()

HANGTAG = Path(sys.executable).with_name("hangtag")
TINY = [
    "model.nano.crop_size=56",
    "model.nano.vision_hidden=32",
    "model.nano.vision_layers=1",
    "model.nano.hidden=64",
    "model.nano.layers=2",
    "train.batch_size=8",
]


def pytest_collection_finish():
    """From here on the collector runs, over what the tests make, not over what was imported for them."""
    gc.collect()
    gc.freeze()
    gc.enable()


LIGHT = {"synth", "fetch", "describe"}
"""Commands that need no torch, so they start quickly by themselves."""


def hangtag(*arguments, code=0, cwd=None, anew=False):
    """Run the command as a person would; return its output after checking the exit code and that no traceback shows.

    A real process, but a command that needs torch is forked from one that has imported it, unless `anew` asks for the
    installed command itself.
    """
    line = [HANGTAG, *map(str, arguments)]
    if anew or arguments[0] in LIGHT:
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=cwd)
    else:
        with tempfile.TemporaryDirectory() as folder:
            said, errors = Path(folder) / "said", Path(folder) / "errors"
            returned = Command(forkable(), said, *arguments, errors=errors, cwd=cwd).wait()
            done = subprocess.CompletedProcess(line, returned, said.read_text(), errors.read_text())
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def settings(*pairs):
    """`--set` options for the command line."""
    return [word for pair in pairs for word in ("--set", pair)]


@functools.cache
def _benchmark(name):
    place = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, place)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def live_memory():
    """A context that counts the bytes of tensors alive in it (benchmarks/live_memory.py)."""
    return _benchmark("live_memory").LiveMemory()


def plain_tag(tagger, picture):
    """A tag by forward passes over whole sequences (benchmarks/plain.py)."""
    return _benchmark("plain").plain_tag(tagger, picture)


@pytest.fixture(scope="session")
def small_catalogue(tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "catalogue"
    hangtag("synth", out, "--rows", 60, "--size", 96, "--seed", 3)
    return out


@pytest.fixture(scope="session")
def small_run(small_catalogue):
    out = small_catalogue.with_name("run")
    hangtag(
        "train", "demo", "--out", out, *settings(f"data.path={small_catalogue}", "train.epochs=25", *TINY)
    )  # fmt: skip
    return out


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for all pages."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine to open the page in")
    browser = Browser()
    yield browser
    browser.close()


def tiny_processor(num_crops=1):
    """Nano's processor with 56-pixel crops and a tokenizer of a few words."""
    from hangtag.recipe import Model
    from hangtag.training.nano import nano_processor

    texts = ["Tag: Red Bag, 10", "Tag: Long Blue Coat, 20", "What is it?"] * 3
    return nano_processor(texts, Model(base="nano", num_crops=num_crops, nano={"crop_size": 56, "vocabulary": 400}))


def tiny_model(processor):
    """Nano as small as it gets, for a `tiny_processor`."""
    from hangtag.recipe import NanoSizes
    from hangtag.training.nano import nano_model

    sizes = NanoSizes(crop_size=56, vision_hidden=32, vision_layers=1, hidden=64, layers=2)
    return nano_model(processor, sizes, seed=0)
