"""What the tests of training share: a model that gradients reach, and a few rows for it."""

import pytest
import torch
from conftest import TINY, settings, tiny_model, tiny_processor
from forked import Command, forkable
from PIL import Image

from hangtag.answer import Template
from hangtag.examples.chat import Chat
from hangtag.examples.examples import Examples
from hangtag.examples.rows import UsableRow
from hangtag.recipe import Task

TAG = Template("Tag: {title}, {price}", {"title": "text", "price": "number"})
CHAT = Chat.of(Task(prompt="What is it?"))
SIZES = [(56, 56), (120, 60), (80, 80), (60, 130), (110, 112), (56, 60), (100, 60), (57, 112)]


@pytest.fixture
def examples(tmp_path):
    """Eight rows of mixed picture shapes and answers."""
    rows = []
    for index, size in enumerate(SIZES):
        Image.effect_noise(size, 60 + 10 * index).convert("RGB").save(tmp_path / f"{index}.png")
        title = ["Red Bag", "Long Blue Coat"][index % 2]
        rows.append(UsableRow({"title": title, "price": 10.0**index}, (tmp_path / f"{index}.png",), index + 1))
    return Examples(rows, tiny_processor(num_crops=4), TAG, CHAT)


@pytest.fixture
def model(examples):
    """Nano as small as it gets, with no weight at zero, where no gradient would get past it."""
    model = tiny_model(examples.processor)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


@pytest.fixture(scope="session")
def fork():
    """A process that has imported everything."""
    return forkable()


@pytest.fixture(scope="session")
def train(fork, small_catalogue):
    """Start `hangtag train demo`, tiny, on the small catalogue into a folder: a `Command`."""

    def start(out, *changes, **moment):
        pairs = settings(f"data.path={small_catalogue}", *TINY, *changes)
        return Command(fork, f"{out}.txt", "train", "demo", "--out", out, *pairs, **moment)

    return start
