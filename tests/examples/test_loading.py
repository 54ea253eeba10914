import pytest
import torch
from conftest import tiny_processor
from PIL import Image

from hangtag.answer import Template
from hangtag.errors import ModelError
from hangtag.examples.augmentation import Augmentation
from hangtag.examples.chat import Chat
from hangtag.examples.examples import IGNORED, Examples
from hangtag.examples.loading import Failed, Steps, Vision, step_loader
from hangtag.examples.packing import Plan
from hangtag.examples.rows import UsableRow
from hangtag.phi3v.pixels_phi3_v import canvases_to_tiles
from hangtag.recipe import Task
from hangtag.recipe.sections import END

TAG = Template("Tag: {title}, {price}", {"title": "text", "price": "number"})
CHAT = Chat.of(Task(prompt="What is it?"))
SIZES = [(80, 80), (60, 120), (120, 60), (200, 60), (56, 56), (90, 100)]


@pytest.fixture
def examples(tmp_path):
    rows = []
    for index, size in enumerate(SIZES):
        path = tmp_path / f"{index}.png"
        Image.effect_noise(size, 80).convert("RGB").save(path)
        rows.append(UsableRow({"title": "Red Bag", "price": 10.0 * index + 1}, (path,), index + 1))
    rows.append(UsableRow({"title": "Hat", "price": 5.0}, rows[0].pictures + rows[1].pictures))
    rows.append(UsableRow({"title": "Long Coat", "price": 7.0}, ()))
    return Examples(rows, tiny_processor(num_crops=4), TAG, CHAT)


def plan_of(examples, batch_size=8, budget=300, processes=1, seed=0):
    pictured = [bool(row.pictures) for row in examples.rows]
    return Plan(examples.lengths(), pictured, batch_size, budget, seed, processes)


def test_a_pass_is_what_the_processor_makes_of_the_same_rows_without_padding(examples):
    plan = plan_of(examples)
    step = Steps(examples, plan, Vision())[0]
    assert sum(each["input_ids"].numel() for each in step["passes"]) == sum(examples.lengths()) == step["tokens"]
    for each, made in zip(plan.passes(0)[0], step["passes"], strict=True):
        place = crops = pictures = 0
        for row in (examples.rows[number] for number in each.rows):
            text = CHAT.prompt(len(row.pictures)) + TAG.write(row.values) + END
            images = [Image.open(picture) for picture in row.pictures]
            alone = examples.processor(text=[text], images=[images] if images else None, return_tensors="pt")
            length = alone["input_ids"].shape[1]
            assert torch.equal(made["input_ids"][:, place : place + length], alone["input_ids"])
            assert made["position_ids"][0, place : place + length].tolist() == list(range(length))
            for index in range(len(images)):
                count = 1 + (alone["image_sizes"][index] // 56).prod()
                assert torch.equal(made["pixel_values"][crops : crops + count], alone["pixel_values"][index, :count])
                assert torch.equal(made["image_sizes"][pictures], alone["image_sizes"][index])
                crops, pictures = crops + count, pictures + 1
            place += length
        assert place == made["input_ids"].numel()
        assert crops == len(made.get("pixel_values", ()))
    learned = sum((each["labels"] != IGNORED).sum() for each in step["passes"])
    assert learned == step["labels"] == sum(examples.labels())


def test_rows_of_several_pictures_and_none_share_a_pass(examples):
    plan = plan_of(examples, budget=4000)
    (only,) = Steps(examples, plan, Vision())[0]["passes"]
    assert len(only["image_sizes"]) == sum(len(row.pictures) for row in examples.rows)


def test_fillers_have_pictures_and_no_labels(examples):
    plan = plan_of(examples, batch_size=1, processes=2)
    text_only = next(step for step in range(plan.steps) if plan.rows(step) == [7])
    shares = [Steps(examples, plan, Vision(), process=process)[text_only] for process in range(2)]
    assert all("pixel_values" in each for share in shares for each in share["passes"])
    learned = [sum(int((each["labels"] != IGNORED).sum()) for each in share["passes"]) for share in shares]
    assert sorted(learned) == [0, shares[0]["labels"]]


def test_augmentation_is_the_same_whoever_loads_it_and_another_in_each_epoch(examples):
    plan = plan_of(examples, batch_size=4)
    steps = Steps(examples, plan, Vision(), Augmentation(True, 0.1, 0.1, 0.1), seed=1)
    by = [list(step_loader(steps, 4, workers)) for workers in (0, 2)]
    again = [steps[3], steps[0]]
    for one, other in [*zip(*by, strict=True), (by[0][3], again[0]), (by[0][0], again[1])]:
        for first, second in zip(one["passes"], other["passes"], strict=True):
            assert all(torch.equal(first[name], second[name]) for name in first)
    plain = Steps(examples, plan, Vision())[0]
    assert not torch.equal(plain["passes"][0]["pixel_values"], by[0][0]["passes"][0]["pixel_values"])
    still = Plan(examples.lengths(), plan.pictured, 8, 4000, None)
    first, second = (Steps(examples, still, Vision(), Augmentation(True, 0.1), seed=1)[step] for step in (0, 1))
    assert torch.equal(first["passes"][0]["input_ids"], second["passes"][0]["input_ids"])
    assert not torch.equal(first["passes"][0]["pixel_values"], second["passes"][0]["pixel_values"])


def test_bytes_normalised_by_the_model_are_the_float_crops(examples):
    from conftest import tiny_model

    model, plan = tiny_model(examples.processor), plan_of(examples, budget=4000)
    (floats,), (as_bytes,) = (Steps(examples, plan, Vision(as_bytes=kind))[0]["passes"] for kind in (False, True))
    assert as_bytes["pixel_values"].dtype == torch.uint8
    grids = model.model.vision_embed_tokens.grids(as_bytes["image_sizes"])
    assert torch.equal(model.model.gather_crops(as_bytes["pixel_values"], grids), floats["pixel_values"])


def test_a_mean_that_the_model_does_not_know_is_never_given_to_it_as_bytes(examples):
    image_processor = examples.processor.image_processor
    canvases = [examples.canvas(examples.rows[0].pictures[0])]
    assert image_processor.model_normalises
    assert image_processor.canvases_to_bytes(canvases).dtype == torch.uint8
    image_processor.image_mean = [0.5, 0.5, 0.5]
    assert not image_processor.model_normalises
    with pytest.raises(ModelError, match="the model knows no others"):
        image_processor.canvases_to_bytes(canvases)


def test_tiles_are_cut_row_by_row():
    canvas = torch.arange(4 * 6 * 3, dtype=torch.uint8).view(4, 6, 3)
    tiles = canvases_to_tiles([canvas], 2)
    slow = [canvas[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].permute(2, 0, 1) for r in range(2) for c in range(3)]
    assert torch.equal(tiles, torch.stack(slow))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_gone_in_the_meantime_is_told_by_its_name(examples, workers):
    gone = examples.rows[3].pictures[0]
    gone.unlink()
    items = list(step_loader(Steps(examples, plan_of(examples, batch_size=1), Vision()), 8, workers))
    (failed,) = [each for each in items if isinstance(each, Failed)]
    assert str(gone) in failed.message
    assert "Traceback" not in failed.message


def test_steps_are_at_hand_once_all_pictures_are_decoded_unless_they_are_changed(examples):
    steps = Steps(examples, plan_of(examples), Vision())
    assert not steps.at_hand
    examples.read_ahead(2)
    assert steps.at_hand
    assert not Steps(examples, plan_of(examples), Vision(), Augmentation(flip=True)).at_hand
