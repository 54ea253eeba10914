"""Greedy generation of the tiny model against the recorded reference, and what generation must not do twice."""

import copy
from collections.abc import Callable

import pytest
import torch

from hangtag.errors import ModelError
from hangtag.phi3v import Phi3VForCausalLM
from hangtag.phi3v.generation_phi3_v import padded_on_the_left

from .reference import IMAGE, INDEX, assert_near, fpix, image1, padded, rope32, text, tids

GENERATED = {name.removeprefix("phi35."): case for name, case in INDEX["generate"].items() if "phi35." in name}
Build = Callable[..., Phi3VForCausalLM]
Inputs = dict[str, torch.Tensor]


def new_tokens(model: Phi3VForCausalLM, inputs: Inputs, count: int = 20, **options: object) -> list[list[int]]:
    settings = {"max_new_tokens": count, "do_sample": False, "eos_token_id": None, "pad_token_id": 300, **options}
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
    ids = model.generate(**{**inputs, "attention_mask": mask}, **settings)
    return ids[:, inputs["input_ids"].shape[1] :].tolist()


ROPE_320 = {"original_max_position_embeddings": 320, "max_position_embeddings": 10240}


def crossing_picture() -> Inputs:
    ids = [1, *tids(1, 0), *[IMAGE] * 313, 1, *tids(2, 1)]
    return {
        "input_ids": torch.tensor([ids]),
        "pixel_values": fpix(1, 5, [2]),
        "image_sizes": torch.tensor([[336, 336]]),
    }


@pytest.mark.parametrize("use_cache", [True, False])
def test_text(tiny: Phi3VForCausalLM, use_cache: bool) -> None:
    assert new_tokens(tiny, text(12, 0), use_cache=use_cache) == GENERATED["text"]["new"]


@pytest.mark.parametrize("attn", ["eager", "sdpa"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_picture(build: Build, attn: str, use_cache: bool) -> None:
    assert new_tokens(build(attn), image1(), use_cache=use_cache) == GENERATED["image1"]["new"]


def test_left_padded_batch_and_its_end(tiny: Phi3VForCausalLM) -> None:
    batch = padded(GENERATED["batch_left"]["rows"], "left")
    assert new_tokens(tiny, batch) == GENERATED["batch_left"]["new"]
    assert new_tokens(tiny, batch, eos_token_id=74) == GENERATED["batch_left_eos"]["new"]


def test_rows_padded_on_the_right_give_the_same_answers(tiny: Phi3VForCausalLM) -> None:
    """The published tokenizer pads there; new tokens must follow the prompt, not its padding."""
    rows = GENERATED["batch_left"]["rows"]
    assert new_tokens(tiny, padded(rows, "right")) == GENERATED["batch_left"]["new"]
    batch, alone = two_rows_of_pictures()
    tokens = [row[row != 300].tolist() for row in batch["input_ids"]]
    expected = [new_tokens(tiny, row, count=5)[0] for row in alone]
    assert new_tokens(tiny, {**batch, **padded(tokens, "right")}, count=5) == expected
    mask = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    ids, moved = padded_on_the_left(torch.arange(20).view(5, 4), mask)
    assert moved.tolist() == [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert ids.tolist()[:4] == [[0, 1, 2, 3], [4, 5, 6, 7], [10, 11, 8, 9], [15, 12, 13, 14]]


def test_padding_that_cannot_be_moved_is_refused(tiny: Phi3VForCausalLM) -> None:
    batch = padded(GENERATED["batch_left"]["rows"], "right")
    assert new_tokens(tiny, batch, position_ids=None) == GENERATED["batch_left"]["new"]
    cache = tiny(text(5, 1)["input_ids"].expand(2, -1), use_cache=True).past_key_values
    embeds = tiny.get_input_embeddings()(batch["input_ids"])
    positions = torch.arange(10).expand(2, -1)
    for name, value in (("past_key_values", cache), ("inputs_embeds", embeds), ("position_ids", positions)):
        with pytest.raises(ModelError, match=f"padded on the right, and {name} cannot be moved"):
            new_tokens(tiny, batch, **{name: value})


@torch.no_grad()
def test_a_conversation_goes_on_from_its_cache(build: Build) -> None:
    """With the whole text or the new part alone, and with the pictures of before given again or not."""
    model, first = build(), image1()
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 300}
    begun = model.generate(**first, **options, return_dict_in_generate=True)
    cache, said = begun.past_key_values, begun.sequences
    asked = torch.cat([said, torch.tensor([[5, 6, 7]])], dim=1)
    expected = new_tokens(model, {**first, "input_ids": asked}, count=4)
    for inputs in ({"input_ids": asked}, {**first, "input_ids": asked}, {"input_ids": asked[:, said.shape[1] - 1 :]}):
        mask = torch.ones_like(asked)
        ids = model.generate(**inputs, attention_mask=mask, past_key_values=copy.deepcopy(cache), **options)
        assert ids[:, -3:].tolist() == [expected[0][:3]]
    more = fpix(2, 5, [3, 2])
    places = torch.tensor([[IMAGE] * 313 + [9, 8]])
    longer = torch.cat([asked, places], dim=1)
    both = {"pixel_values": more, "image_sizes": torch.tensor([[672, 336], [336, 336]])}
    expected = new_tokens(model, {**both, "input_ids": longer}, count=3)
    ids = model.generate(
        longer, **both, attention_mask=torch.ones_like(longer), past_key_values=copy.deepcopy(cache), **options
    )
    assert ids[:, -3:].tolist() == expected


@torch.no_grad()
def test_what_would_mix_rotary_factors_is_refused(build: Build) -> None:
    model, ids = build(**rope32()), text(20, 9)["input_ids"]
    mask = torch.ones_like(ids)
    options = {"attention_mask": mask, "do_sample": False, "eos_token_id": None, "pad_token_id": 300}
    for assistance in ({"prompt_lookup_num_tokens": 3}, {"assistant_model": build(**rope32())}):
        with pytest.raises(ModelError, match="from 20 to 40 tokens would cross the original context of 32"):
            model.generate(ids, **assistance, max_new_tokens=20, **options)
        within = model.generate(ids, **assistance, max_new_tokens=10, **options)
        assert within[:, 20:].tolist() == new_tokens(model, {"input_ids": ids}, count=10)
    cache = model(ids[:, :15], use_cache=True).past_key_values
    with pytest.raises(ModelError, match="33 tokens cross the original context of 32"):
        model.generate(ids[:, 15:], past_key_values=cache, max_new_tokens=20, **options)
    long = text(40, 9)["input_ids"]
    with pytest.raises(ModelError, match="give the whole sequence, without prefill_chunk_size"):
        model.generate(
            long, prefill_chunk_size=16, max_new_tokens=2, **{**options, "attention_mask": torch.ones_like(long)}
        )


@pytest.mark.parametrize(("name", "row"), [("row_a_alone", 0), ("row_b_alone", 1)])
def test_rows_alone(tiny: Phi3VForCausalLM, name: str, row: int) -> None:
    ids = torch.tensor([GENERATED["batch_left"]["rows"][row]])
    assert new_tokens(tiny, {"input_ids": ids}) == GENERATED[name]["new"]


@pytest.mark.parametrize("use_cache", [True, False])
def test_crossing_the_original_context(build: Build, use_cache: bool) -> None:
    model = build(**rope32())
    assert new_tokens(model, text(28, 9), use_cache=use_cache) == GENERATED["rope32_cross_cache"]["new"]


@pytest.mark.parametrize("use_cache", [True, False])
def test_crossing_with_a_picture(build: Build, use_cache: bool) -> None:
    model = build(**ROPE_320)
    assert new_tokens(model, crossing_picture(), use_cache=use_cache) == GENERATED["rope320_image_cross_cache"]["new"]


def test_pictures_go_through_clip_once(build: Build) -> None:
    model, seen = build(**ROPE_320), []
    model.model.vision_embed_tokens.img_processor.vision_model.pre_layrnorm.register_forward_hook(
        lambda module, args, output: seen.append(len(output))
    )
    new_tokens(model, crossing_picture())
    new_tokens(model, crossing_picture(), use_cache=False)
    assert seen == [2, 2]


def test_crossing_computes_the_prompt_again_exactly_once(build: Build) -> None:
    model, lengths = build(**rope32()), []
    model.model.layers[0].register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    new_tokens(model, text(28, 9), count=10)
    assert lengths == [28, 1, 1, 1, 1, 33, 1, 1, 1, 1]


def two_rows_of_pictures() -> tuple[Inputs, list[Inputs]]:
    """Two rows with two pictures and one, together and each alone; the pictures are of different shape and content."""
    pixels, sizes = fpix(3, 3, [3, 2, 3]), torch.tensor([[336, 672], [336, 336], [672, 336]])
    rows = [
        [1, *tids(3, 0), *[IMAGE] * 457, 1, *tids(2, 2), *[IMAGE] * 313, 1, *tids(6, 3)],
        [1, *tids(5, 4), *[IMAGE] * 469, 1, *tids(4, 5)],
    ]
    parts = [slice(0, 2), slice(2, 3)]
    alone = [
        {"input_ids": torch.tensor([row]), "pixel_values": pixels[part], "image_sizes": sizes[part]}
        for row, part in zip(rows, parts, strict=True)
    ]
    return {**padded(rows, "left"), "pixel_values": pixels, "image_sizes": sizes}, alone


def test_several_answers_a_row_keep_their_own_pictures(tiny: Phi3VForCausalLM) -> None:
    batch, alone = two_rows_of_pictures()
    expected = [new_tokens(tiny, row, count=5)[0] for row in alone]
    assert expected[0] != expected[1]
    beams = new_tokens(tiny, batch, count=5, num_beams=3, num_return_sequences=3)
    assert [beams[0], beams[3]] == [new_tokens(tiny, row, count=5, num_beams=3)[0] for row in alone]
    torch.manual_seed(0)
    sampled = new_tokens(tiny, batch, count=5, do_sample=True, top_k=1, num_return_sequences=2)
    assert sampled == [expected[0], expected[0], expected[1], expected[1]]


def test_a_picture_place_is_never_generated(build: Build) -> None:
    expected = GENERATED["text"]["new"][0]
    model = build(image_token_id=expected[3])
    for use_cache in (True, False):
        tokens = new_tokens(model, text(12, 0), use_cache=use_cache)[0]
        assert tokens[:3] == expected[:3]
        assert expected[3] not in tokens


def test_static_cache(tiny: Phi3VForCausalLM) -> None:
    options = {"cache_implementation": "static", "disable_compile": True}
    assert new_tokens(tiny, image1(), **options) == GENERATED["image1"]["new"]


@torch.no_grad()
def test_a_cached_continuation_equals_the_whole(tiny: Phi3VForCausalLM) -> None:
    inputs = image1()
    expected = tiny(**inputs).logits
    ids = inputs.pop("input_ids")
    first = tiny(input_ids=ids[:, :475], **inputs, use_cache=True)
    rest = tiny(input_ids=ids[:, 475:], past_key_values=first.past_key_values)
    assert_near(rest.logits, expected[:, 475:], 1e-5)
