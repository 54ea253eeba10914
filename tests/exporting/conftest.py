"""What the tests of exporting share: tiny runs by each method, on the small run as their base."""

import pytest
from conftest import TINY

from hangtag.recipe import load_recipe
from hangtag.training.train import train


def adapted(method, catalogue, base, out):
    changes = [
        f"data.path={catalogue}", *TINY, f"model.base={base}", f"train.method={method}", "train.optimizer=adamw",
        "train.epochs=2", "train.learning_rate=1e-2", "train.workers=0", "train.validation_answers=0",
        "train.flip=false", "train.shift=0", "train.zoom=0", "train.light=0",
    ]  # fmt: skip
    train(load_recipe("demo", changes), out)
    return out


@pytest.fixture(scope="session")
def lora_run(small_catalogue, small_run):
    return adapted("lora", small_catalogue, small_run / "model", small_run.with_name("lora"))


@pytest.fixture(scope="session")
def qlora_run(small_catalogue, small_run):
    return adapted("qlora", small_catalogue, small_run / "model", small_run.with_name("qlora"))
