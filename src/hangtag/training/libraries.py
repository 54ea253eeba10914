"""Which libraries a recipe needs beyond those that come with the package."""

from __future__ import annotations

import importlib.util
import os
import shutil

from hangtag.errors import UsageError
from hangtag.recipe import Recipe


def require_libraries(recipe: Recipe) -> None:
    """Refuse a recipe that asks for what this machine lacks, before anything starts.

    Raises:
        UsageError: with every key that asks, and what to install.
    """
    train, track = recipe.train, recipe.track
    asked = {
        f"train.method = {train.method!r}": "bitsandbytes" if train.method == "qlora" else None,
        f"train.optimizer = {train.optimizer!r}": "bitsandbytes" if train.optimizer == "adamw_8bit" else None,
        f"track.wandb = {track.wandb!r}": "wandb" if track.wandb != "off" else None,
        "track.tensorboard = true": "tensorboard" if track.tensorboard else None,
    }
    missing = {key: name for key, name in asked.items() if name and importlib.util.find_spec(name) is None}
    if missing:
        listed = "; ".join(f"{key} needs {name}" for key, name in missing.items())
        raise UsageError(f"{listed}; pip install {' '.join(dict.fromkeys(missing.values()))}")
    if train.compile and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise UsageError("train.compile = true needs a C++ compiler; install g++, or leave it false")
