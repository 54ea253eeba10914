"""The documentation is executed: its Python, on small models under the names that it uses."""

import os
import re
import shlex
from pathlib import Path

import pytest
import torch
import typer
from conftest import tiny_model, tiny_processor
from PIL import Image

ROOT = Path(__file__).parents[1]
PUBLISHED = "microsoft/Phi-3.5-vision-instruct"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with a photo and a small model where the documentation has the published one."""
    processor = tiny_processor(num_crops=4)
    tiny_model(processor).save_pretrained(tmp_path / PUBLISHED)
    processor.save_pretrained(tmp_path / PUBLISHED)
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_readme(workplace, capsys):
    """The block about the model; the one before it needs a trained run (tests/test_cli.py)."""
    page = (ROOT / "README.md").read_text()
    block = next(each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "add_lora" in each)
    exec(block, {})
    assert "adapters on 10 layers" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_phi3_vision_page(workplace, capsys):
    page = (ROOT / "docs" / "phi-3-vision.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 4
    names = {}
    for block in blocks:
        exec(block, names)
    assert "adapters on 10 layers: decoder 8 of 8, projector 2 of 2, clip 0 of 6" in capsys.readouterr().err
    assert names["ids"].shape[0] == 2
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(os.listdir("adapter"))
    assert torch.equal(names["merged"].lm_head.weight, names["model"].get_base_model().lm_head.weight)


def test_the_statement_of_the_full_model_is_what_the_page_says():
    import json

    import hangtag
    from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM

    published = json.loads((ROOT / "tests/phi3v/golden/real_configs.json").read_text())[PUBLISHED]
    with torch.device("meta"):
        model = hangtag.add_lora(Phi3VForCausalLM(Phi3VConfig(**published["config.json"])), rank=16, quiet=True)
    assert str(hangtag.adapted_layers(model)) in (ROOT / "docs" / "phi-3-vision.md").read_text()


def test_what_a_run_says_it_trains_is_what_the_page_shows():
    import json

    import hangtag
    from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM
    from hangtag.recipe import load_recipe
    from hangtag.training.parts import trained_parts

    published = json.loads((ROOT / "tests/phi3v/golden/real_configs.json").read_text())[PUBLISHED]
    recipe = load_recipe("burberry")
    with torch.device("meta"):
        base = Phi3VForCausalLM(Phi3VConfig(**published["config.json"]))
        model = hangtag.add_lora(base, rank=recipe.train.lora.rank, quiet=True)
    page = (ROOT / "docs" / "training.md").read_text()
    for part in trained_parts(model, recipe.train.part_rates()):
        assert str(part) in page


def documented_commands():
    """Every `hangtag` line of a bash block, as (page, words)."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0].endswith("hangtag"):
                    found.append(pytest.param(words[1:], id=f"{page.name}: {line.partition('  ')[0]}"))
    return found


@pytest.mark.parametrize("words", documented_commands())
def test_documented_commands_and_options_exist(words):
    from hangtag.cli import catalogues

    verbs = typer.main.get_command(catalogues.app).commands
    assert words[0] in verbs
    known = {name for parameter in verbs[words[0]].params for name in parameter.opts}
    assert {word.partition("=")[0] for word in words[1:] if word.startswith("-")} <= known
