"""The vision cache in a whole run."""

import pytest
from conftest import TINY

from hangtag.files import read_jsonl
from hangtag.phi3v.vision_phi3_v import Phi3VVisionTower
from hangtag.recipe import load_recipe
from hangtag.training.train import train

PLAIN = ["train.flip=false", "train.shift=0", "train.zoom=0", "train.light=0", "train.optimizer=adamw"]


@pytest.fixture
def calls(monkeypatch):
    """How many crops went through CLIP, call by call."""
    counted = []
    forward = Phi3VVisionTower.forward

    def counting(self, pixel_values, num_layers):
        counted.append(len(pixel_values))
        return forward(self, pixel_values, num_layers)

    monkeypatch.setattr(Phi3VVisionTower, "forward", counting)
    return counted


def recipe(catalogue, base, *changes):
    settings = [f"data.path={catalogue}", *TINY, *PLAIN, f"model.base={base}", "train.epochs=3", "train.workers=0"]
    return load_recipe("demo", [*settings, "train.method=lora", "train.learning_rate=1e-3", *changes])


def losses(run):
    kept = ("step", "loss", "grad_norm", "validation_loss", "answer_score")
    return [{name: each[name] for name in kept if name in each} for each in read_jsonl(run.log)]


def test_with_clip_frozen_each_picture_goes_through_it_once_ever_and_the_losses_are_those_without(
    small_catalogue, small_run, tmp_path, calls, monkeypatch
):
    monkeypatch.setenv("HANGTAG_CACHE", str(tmp_path / "cache"))
    base = small_run / "model"
    told = []
    first = train(recipe(small_catalogue, base), tmp_path / "first", say=told.append)
    pictures = len(list((small_catalogue / "images").iterdir()))
    assert 0 < sum(calls) <= 5 * pictures
    assert "pictures take" in told[0]
    calls.clear()
    second = train(recipe(small_catalogue, base), tmp_path / "second", say=told.append)
    assert not calls, "a picture that is in the cache went through CLIP again"
    assert losses(first) == losses(second)
    plain = train(recipe(small_catalogue, base, "train.vision_cache=false"), tmp_path / "plain")
    assert sum(calls) > 3 * pictures
    for with_cache, without in zip(losses(first), losses(plain), strict=True):
        assert with_cache == pytest.approx(without, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["train.vision_cache_gb=1e-4"], "--set train.vision_cache_gb="),
        (["train.flip=true"], "pictures are changed anew in each epoch"),
        ([], "HANGTAG_CACHE"),
    ],
    ids=["too large", "augmented", "unwritable"],
)
def test_where_there_can_be_no_cache_the_run_says_why_and_trains_without(
    small_catalogue, small_run, tmp_path, calls, monkeypatch, changes, says
):
    place = tmp_path / "cache"
    if not changes:
        place.write_text("a file where the folder should be")
    monkeypatch.setenv("HANGTAG_CACHE", str(place))
    told = []
    settings = recipe(small_catalogue, small_run / "model", "train.epochs=1", *changes)
    run = train(settings, tmp_path / "run", say=told.append)
    assert any("vision cache: not used" in line and says in line for line in told), told
    assert run.has_model()
    assert calls
