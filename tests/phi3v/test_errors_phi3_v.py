"""Inputs that do not fit together: refused with the row and both counts, never answered in silence."""

from typing import Any

import pytest
import torch

from hangtag.errors import ModelError
from hangtag.phi3v import Phi3VForCausalLM
from hangtag.phi3v.vision_phi3_v import images_per_row

from .reference import IMAGE, image1, padded, text

Change = dict[str, Any]


def places(*counts: int) -> dict[str, torch.Tensor]:
    """A row of runs of picture places with a word before each."""
    return {"input_ids": torch.tensor([[token for count in counts for token in (5, *[IMAGE] * count)]])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (places(468), "row 0: 468 picture places stand together where picture 1 of the batch needs 469"),
        (places(470), "row 0: 470 picture places, but its pictures fill 469"),
        (places(469, 469), "row 0: 938 picture places, but its pictures fill 469"),
        (places(200, 269), "row 0: 200 picture places stand together where picture 1 of the batch needs 469"),
        (text(12, 0), "row 0: the batch has places for 0 pictures, but 1 pictures were given"),
        ({"pixel_values": None, "image_sizes": None}, "row 0: 469 picture places, but its pictures fill 0"),
        ({"pixel_values": None}, "pictures need image_sizes and one of"),
        ({"image_sizes": None}, "pictures need image_sizes and one of"),
        ({"crop_features": torch.zeros(3, 144, 128)}, "pictures need image_sizes and one of"),
        (
            {"pixel_values": None, "crop_features": torch.zeros(4, 144, 128)},
            "crop_features holds 4 crops, image_sizes asks for 3",
        ),
        ({"pixel_values": torch.zeros(1, 2, 3, 336, 336)}, "picture 1: pixel_values holds 2 crops, .* asks for 3"),
        ({"pixel_values": torch.zeros(2, 3, 3, 336, 336)}, "holds 2 pictures, image_sizes 1"),
        ({"pixel_values": torch.zeros(4, 3, 336, 336)}, "holds 4 crops, image_sizes asks for 3"),
        ({"pixel_values": torch.full((1, 5, 3, 336, 336), 255.0)}, "pixel_values reaches 255, beyond any normalised"),
        ({"pixel_values": torch.zeros(1, 5, 3, 224, 224)}, r"must be \[pictures, crops, 3, 336, 336\]"),
        ({"image_sizes": torch.tensor([[672, 300]])}, "picture 1: image_sizes says 672x300"),
        ({"image_sizes": torch.tensor([[336, 336]])}, "picture places, but its pictures fill 313"),
        ({"inputs_embeds": torch.zeros(1, 482, 64)}, "one of input_ids and inputs_embeds"),
        ({"inputs_embeds": torch.zeros(1, 482, 64), "input_ids": None}, "pictures need input_ids"),
    ],
)
def test_pictures_and_places_that_do_not_fit(tiny: Phi3VForCausalLM, change: Change, message: str) -> None:
    with torch.no_grad(), pytest.raises(ModelError, match=message):
        tiny(**{**image1(), **change})


def test_the_row_is_named(tiny: Phi3VForCausalLM) -> None:
    rows = [[1, *[IMAGE] * 469, 4], [1, *[IMAGE] * 313, 4]]
    batch = padded(rows, "left")
    sizes = torch.tensor([[672, 336], [672, 336]])
    message = "row 1: 313 picture places stand together where picture 2 of the batch needs 469"
    with torch.no_grad(), pytest.raises(ModelError, match=message):
        tiny(**batch, pixel_values=torch.zeros(2, 3, 3, 336, 336), image_sizes=sizes)


def test_generation_refuses_the_same(tiny: Phi3VForCausalLM) -> None:
    with pytest.raises(ModelError, match="row 0: the batch has places for 0 pictures"):
        tiny.generate(**{**image1(), **text(12, 0)}, max_new_tokens=2)
    with pytest.raises(ModelError, match="row 0: 469 picture places, but its pictures fill 0"):
        tiny.generate(input_ids=image1()["input_ids"], max_new_tokens=2)


@pytest.mark.parametrize("token", [320, 32064, -1])
def test_ids_beyond_the_vocabulary(tiny: Phi3VForCausalLM, token: int) -> None:
    batch = padded([[1, 5, 6], [1, 5, token]], "right")
    with torch.no_grad(), pytest.raises(ModelError, match=rf"row 1: id {token} at place 2, .* has 320 ids"):
        tiny(**batch)


def test_pictures_that_stand_side_by_side_share_a_run() -> None:
    ids = torch.tensor([[9] * 5, [1, 9, 9, 1, 9], [1, 1, 1, 1, 1]])
    assert images_per_row(ids, [2, 3, 2, 1], 9) == [2, 2, 0]
    with pytest.raises(
        ModelError, match=r"row 1: 2 picture places stand together where picture 3 .* needs 3, ending at 3"
    ):
        images_per_row(ids, [2, 3, 3], 9)


def test_packed_examples_that_could_see_each_other(tiny: Phi3VForCausalLM) -> None:
    rows = padded([[1, 5, 6, 7], [5, 6, 7, 8], [1, 5]], "left")
    positions = torch.tensor([[0, 1, 2, 3], [0, 1, 0, 1], [1, 1, 0, 1]])
    with torch.no_grad(), pytest.raises(ModelError, match="row 1: its positions begin anew"):
        tiny(**rows, position_ids=positions)
    positions[1] = torch.arange(4)
    assert tiny(**rows, position_ids=positions).logits.shape == (3, 4, 320)
