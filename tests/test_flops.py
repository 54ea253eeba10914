"""The reckoned operations equal those that torch counts on a tiny model, forward and backward.

torch counts whole matrix products, so eager attention shows all squares; the scores that the mask hides are taken off.
"""

import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from hangtag.cost import clip_flop, decoder_flop, image_tokens
from hangtag.flops import Example, Lora, Training, generation_operations, step_operations
from hangtag.memory import Sizes
from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM
from hangtag.phi3v.adapters_phi3_v import DECODER_LAYERS, adaptable_layers, add_lora
from hangtag.training.parts import part_of

TINY = Sizes(64, 128, 2, 4, 320, 32, 64, 3, 2, crop_side=112)
IMAGE, RANK, LOGITS = 32044, 4, 5
FULL = Training("full", "full", "full", "full")
ADAPTED = Training(projector=Lora(16), decoder=Lora(16))
PHOTO = Example(image_tokens(2, 2) + 65, 45, 5, image_tokens(2, 2))


def tiny_model(attention="eager"):
    config = json.loads((Path(__file__).parent / "phi3v" / "golden" / "tiny_config.json").read_text())
    config["vision_config"] = config.pop("clip") | {"image_size": TINY.crop_side}
    config["img_processor"]["num_img_tokens"] = TINY.grid**2
    torch.manual_seed(0)
    model = Phi3VForCausalLM(Phi3VConfig(**config))
    model.set_attn_implementation(attention)
    return model.train()


def photo(rows, columns):
    """An example of a picture of so many tiles and some words, and what the model is given of it."""
    crops, side = rows * columns + 1, TINY.crop_side
    places = crops * TINY.grid**2 + 1 + (rows + 1) * TINY.grid
    inputs = {
        "input_ids": torch.tensor([[1, *[IMAGE] * places, *range(3, 12)]]),
        "pixel_values": torch.randn(1, crops, 3, side, side),
        "image_sizes": torch.tensor([[side * rows, side * columns]]),
    }
    return Example(inputs["input_ids"].numel(), LOGITS, crops, places), inputs


def words(tokens):
    return Example(tokens, LOGITS), {"input_ids": torch.arange(3, 3 + tokens)[None]}


def cached_photo():
    """As `photo`, of CLIP's features instead of pixels."""
    example, inputs = photo(2, 1)
    del inputs["pixel_values"]
    features = torch.randn(example.crops, TINY.grid**2, 4 * TINY.clip_hidden)
    return replace(example, crops=0), inputs | {"crop_features": features}


def hidden_scores(*lengths):
    """Operations of a forward pass above the diagonals of squares of attention."""
    return sum(TINY.layers * 4 * TINY.hidden * (each * (each - 1) // 2) for each in lengths)


def count(work):
    """What `work` returns, and torch's counter of its operations."""
    with FlopCounterMode(display=False) as counter:
        value = work()
    return value, counter


def hold_equal(model, inputs, examples, training, squares):
    """Hold forward and backward to what torch counts, of which `squares` lie above the diagonals of the forward."""
    outputs, forward = count(lambda: model(**inputs, logits_to_keep=LOGITS, use_cache=False))
    expected = step_operations(TINY, examples, training)
    assert forward.get_total_flops() - squares == expected.forward.total
    if not outputs.logits.requires_grad:
        assert expected.backward.total == 0
        return
    _, backward = count(lambda: outputs.logits.sum().backward())
    squares = 2 * squares if expected.backward.attention else 0
    assert backward.get_total_flops() - squares == expected.backward.total


def train_as(model, training):
    """The model with `training`'s parts and adapters learning and the rest frozen."""
    parts = {each.name: getattr(training, each.name) for each in fields(training)}
    adapted = {part: how.rank for part, how in parts.items() if isinstance(how, Lora)}
    if adapted:
        names = adaptable_layers(model.config) | {"lm_head": ["lm_head"]}
        ranks = {name: rank for part, rank in adapted.items() for name in names[part]}
        model = get_peft_model(model, LoraConfig(target_modules=list(ranks), rank_pattern=ranks))
    for name, parameter in model.named_parameters():
        part = "lm_head" if "lm_head" in name else part_of(name)
        parameter.requires_grad_("lora_" in name or parts[part] == "full")
    return model


def test_each_part_of_a_forward_pass_is_what_torch_counts_of_it():
    example, inputs = photo(2, 1)
    model = add_lora(tiny_model(), RANK, parts=("decoder", "projector", "clip"), quiet=True)
    with torch.no_grad():
        _, counter = count(lambda: model(**inputs, logits_to_keep=LOGITS))
    modules = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    named = {name.removeprefix("PeftModelForCausalLM.base_model.model."): each for name, each in modules.items()}
    adapters = {name: each for name, each in named.items() if name.endswith((".lora_A.default", ".lora_B.default"))}

    def of(module):
        return named[module] - sum(each for name, each in adapters.items() if name.startswith(module))

    found = step_operations(TINY, [example], Training(Lora(RANK), Lora(RANK), Lora(RANK))).forward
    layers = [f"model.layers.{number}" for number in range(TINY.layers)]
    in_layers = sum(map(of, layers)) - hidden_scores(example.tokens)
    assert found.adapters == sum(adapters.values()) > 0
    assert found.clip == of("model.vision_embed_tokens.img_processor")
    assert found.projector == of("model.vision_embed_tokens.img_projection")
    assert found.lm_head == of("lm_head")
    assert found.matrices == sum(of(f"{layer}.{name}") for layer in layers for name in DECODER_LAYERS)
    assert found.attention == in_layers - found.matrices
    assert found.total == sum(getattr(found, each.name) for each in fields(found))


TRAININGS = [
    Training(),
    FULL,
    replace(FULL, clip="frozen"),
    replace(FULL, lm_head="frozen"),
    Training(clip="full"),
    Training(projector="full"),
    Training(decoder="full"),
    Training(lm_head="full"),
    Training(clip="full", decoder="full", lm_head="full"),
    Training(clip=Lora(RANK)),
    Training(projector=Lora(RANK)),
    Training(decoder=Lora(RANK)),
    Training(lm_head=Lora(RANK)),
    Training(projector=Lora(RANK), decoder=Lora(RANK)),
    Training(Lora(RANK), Lora(RANK + 1), Lora(RANK + 2), Lora(RANK + 3)),
    Training(projector="full", decoder=Lora(RANK)),
    Training(clip="full", decoder=Lora(RANK), lm_head="full"),
]


@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_a_step_is_what_torch_counts(training):
    for example, inputs in (photo(2, 1), words(23)):
        hold_equal(train_as(tiny_model(), training), inputs, [example], training, hidden_scores(example.tokens))


@pytest.mark.parametrize("training", [replace(FULL, clip="frozen"), Training(projector=Lora(RANK))], ids=str)
def test_cached_features_cost_no_clip(training):
    example, inputs = cached_photo()
    hold_equal(train_as(tiny_model(), training), inputs, [example], training, hidden_scores(example.tokens))
    assert step_operations(TINY, [example], training).forward.clip == 0


def test_parts_as_add_lora_makes_them():
    example, inputs = photo(1, 2)
    model = add_lora(tiny_model(), RANK, quiet=True)
    training = Training(projector=Lora(RANK), decoder=Lora(RANK))
    hold_equal(model, inputs, [example], training, hidden_scores(example.tokens))


def test_packed_examples_attend_to_themselves_alone():
    """Packed attention writes examples of equal length out as squares of their own."""
    ids, positions = torch.arange(3, 63)[None], torch.arange(20).repeat(3)[None]
    examples = [Example(20, 0), Example(20, 0), Example(20, LOGITS)]
    model = train_as(tiny_model("packed"), FULL)
    hold_equal(model, {"input_ids": ids, "position_ids": positions}, examples, FULL, hidden_scores(20, 20, 20))


@pytest.mark.parametrize("adapters", [Training(), Training(projector=Lora(RANK), decoder=Lora(RANK))], ids=str)
def test_generation_is_what_torch_counts(adapters):
    rows, steps = 3, 4
    one, inputs = photo(2, 1)
    inputs = {name: torch.cat([each] * rows) for name, each in inputs.items()}
    model = train_as(tiny_model(), adapters).eval()
    with torch.no_grad():
        outputs, prefill = count(lambda: model(**inputs, logits_to_keep=1, use_cache=True))
        cache, decoding = outputs.past_key_values, 0
        for _ in range(steps):
            token = torch.full((rows, 1), 7)
            decoding += count(lambda t=token: model(input_ids=t, past_key_values=cache))[1].get_total_flops()
    expected = generation_operations(TINY, [replace(one, logits=1)] * rows, steps, adapters)
    assert prefill.get_total_flops() - hidden_scores(*[one.tokens] * rows) == expected.prefill.total
    assert decoding == expected.decoding.total
    assert expected.decoding.clip == expected.decoding.projector == 0
    assert expected.total == expected.prefill.total + expected.decoding.total


def test_an_epochs_estimate_is_the_products_with_weights_alone():
    """At the published size, to the last operation: what the estimate leaves out is attention, projector, head, and
    CLIP's patch embedding; its decoder is that of adapters under which a gradient reaches the projector."""
    sizes = Sizes()
    step = step_operations(sizes, [PHOTO], ADAPTED)
    assert step.forward.matrices + step.backward.matrices == decoder_flop(PHOTO.tokens)
    attention, patches = 23 * 4 * 1024 * 577**2, 2 * 576 * 3 * 14 * 14 * 1024
    assert step.forward.clip == clip_flop(PHOTO.crops) + PHOTO.crops * (attention + patches)
    assert step.backward.clip == 0
    estimate = decoder_flop(PHOTO.tokens) + clip_flop(PHOTO.crops)
    assert 1 < step.total / estimate < 1.1


def test_a_trained_decoder_costs_six_operations_a_weight_and_token():
    step = step_operations(Sizes(), [Example(1000, 1000)], Training(decoder="full", lm_head="full"))
    assert step.forward.matrices + step.backward.matrices == 6 * 32 * Sizes().layer_weights * 1000
    assert step.forward.lm_head + step.backward.lm_head == 6 * Sizes().embedding * 1000
    assert step.forward.attention == 32 * 4 * 3072 * 1000 * 1001 // 2
    assert step.backward.attention == 2 * step.forward.attention


def test_an_example_that_cannot_be_is_refused():
    for wrong in ((5, 6), (5, -1), (5, 1, 2), (5, 1, 2, 6)):
        with pytest.raises(ValueError, match="picture tokens"):
            Example(*wrong)


HOWS = st.one_of(st.sampled_from(["frozen", "full"]), st.builds(Lora, st.integers(1, 64)))
ANY_TRAINING = st.builds(Training, HOWS, HOWS, HOWS, HOWS)


@st.composite
def examples(draw):
    crops, words = draw(st.integers(0, 17)), draw(st.integers(1, 500))
    places = draw(st.integers(144 * crops + 1, 160 * crops + 13)) if crops else draw(st.sampled_from([0, 313]))
    return Example(places + words, draw(st.integers(0, words)), crops, places)


@given(st.lists(examples(), max_size=4), examples(), ANY_TRAINING)
def test_parts_add_up_and_more_never_costs_less(some, other, training):
    step = step_operations(Sizes(), some, training)
    assert step.total == sum(
        getattr(half, each.name) for half in (step.forward, step.backward) for each in fields(step.forward)
    )
    alone = step_operations(Sizes(), some)
    assert alone.backward.total == 0
    assert replace(step.forward, adapters=0) == alone.forward
    larger = replace(other, tokens=other.tokens + 9)
    places, crops = other.picture_tokens + 300, other.crops + 1
    photographed = Example(larger.tokens + 300, larger.logits, crops, places)
    steps = [step, *(step_operations(Sizes(), [*some, each], training) for each in (other, larger, photographed))]
    for less, more in pairwise(steps):
        for half in ("forward", "backward"):
            for each in fields(step.forward):
                assert getattr(getattr(less, half), each.name) <= getattr(getattr(more, half), each.name)
        assert less.total < more.total


@given(st.lists(examples(), min_size=1, max_size=4), st.integers(1, 256))
def test_adapters_on_a_frozen_base_cost_less_than_full_training(some, rank):
    adapters = Training(projector=Lora(rank), decoder=Lora(rank))
    full = Training(projector="full", decoder="full")
    assert step_operations(Sizes(), some).total < step_operations(Sizes(), some, adapters).total
    assert step_operations(Sizes(), some, adapters).total < step_operations(Sizes(), some, full).total


@given(st.lists(examples(), min_size=1, max_size=4), st.integers(0, 300), st.integers(0, 300))
def test_steps_of_generation_go_on_from_each_other(prompts, first, second):
    whole = generation_operations(Sizes(), prompts, first + second)
    begun = generation_operations(Sizes(), prompts, first)
    further = [replace(each, tokens=each.tokens + first, logits=each.logits + first) for each in prompts]
    assert whole.decoding - begun.decoding == generation_operations(Sizes(), further, second).decoding
    keys = sum(each.tokens + step for each in prompts for step in range(1, first + 1))
    assert begun.decoding.attention == 32 * 4 * 3072 * keys
