"""What the shipped recipes say of themselves: the memory they need, other ways to run them, how they are launched."""

import shlex
import tomllib
from pathlib import Path

import pytest

from hangtag.memory import expected_memory
from hangtag.phi3v import Phi3VForCausalLM
from hangtag.recipe import check_recipe, load_recipe, shipped_recipes

RECIPES = Path(__file__).parents[1] / "src" / "hangtag" / "recipes"
FITS = {"burberry": 24, "lora-24gb": 24, "qlora-12gb": 12, "full-80gb": 80, "full-8gpu": 80}


def reckoned(name, *settings):
    processes = 8 if name == "full-8gpu" else 1
    return expected_memory(load_recipe(name, settings), processes=processes, sharded=processes > 1)


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if load_recipe(name).model.base != "nano"])
def test_a_shipped_recipe_says_the_memory_that_is_reckoned_and_fits_with_room(name):
    text = (RECIPES / f"{name}.toml").read_text()
    assert str(reckoned(name)) in text
    assert reckoned(name).total < 0.9 * FITS[name] * 1e9


@pytest.mark.parametrize(
    ("name", "settings", "most"),
    [
        ("lora-24gb", ["train.checkpointing=false", "train.token_budget=1664"], 24),
        ("full-80gb", ["train.rates.clip=0"], 80),
        ("full-8gpu", ["train.checkpointing=true"], 24),
    ],
)
def test_the_other_ways_that_recipes_name_take_what_they_say(name, settings, most):
    memory = reckoned(name, *settings)
    assert f"# {memory}" in (RECIPES / f"{name}.toml").read_text()
    assert memory.total < 0.9 * most * 1e9


def test_shipped_recipes_write_only_what_differs_from_the_defaults():
    for name in FITS:
        written = tomllib.loads((RECIPES / f"{name}.toml").read_text())
        defaults = check_recipe({"data": {"path": "x"}}).model_dump()
        for section, keys in written.items():
            for key, value in keys.items():
                assert value != defaults[section][key], f"{name}: {section}.{key}"


def test_the_launch_line_is_one_that_accelerate_reads():
    from accelerate.commands.launch import launch_command_parser

    text = (RECIPES / "full-8gpu.toml").read_text()
    line = next(each for each in text.splitlines() if "accelerate launch" in each).partition("launch ")[2]
    asked = launch_command_parser().parse_args(shlex.split(line.replace("$(which hangtag)", "hangtag")))
    assert asked.training_script_args == ["train", "full-8gpu", "--out", "runs/mine"]
    assert asked.use_fsdp
    assert (asked.num_processes, asked.fsdp_version, asked.mixed_precision) == (8, "2", "bf16")
    assert set(asked.fsdp_transformer_layer_cls_to_wrap.split(",")) == set(Phi3VForCausalLM._no_split_modules)
