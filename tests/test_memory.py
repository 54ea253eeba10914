"""The reckoned memory against what autograd keeps and what is alive, counted on small models of the real classes."""

import pytest
import torch
from conftest import live_memory
from torch.nn import functional

from hangtag.memory import (
    ADAM_8BIT_BYTES,
    LOGIT_BYTES,
    NF4_BYTES,
    Sizes,
    clip_peak,
    clip_saved,
    decoder_peak,
    decoder_saved,
    projector_saved,
)
from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM
from hangtag.phi3v.adapters_phi3_v import add_lora
from hangtag.recipe import check_recipe

SMALL = Sizes(96, 264, 3, 4, 400, 64, 256, 3, 2, 112)
WIDE = Sizes(64, 432, 2, 2, 400, 96, 288, 4, 3, 112)
RANK = 8


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """There dropout keeps a mask of bytes (on a CPU its factors in float32), and autocast norms layers in float32."""

    def dropout(x, p=0.5, training=True, inplace=False):
        return torch.native_dropout(x, p, True)[0] if training and p else x

    plain_norm = functional.layer_norm

    def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
        if torch.is_autocast_enabled("cpu"):
            x, weight, bias = x.float(), weight.float(), bias.float()
        return plain_norm(x, shape, weight, bias, eps)

    monkeypatch.setattr(functional, "dropout", dropout)
    monkeypatch.setattr(functional, "layer_norm", layer_norm)


def recipe(**train):
    return check_recipe({"data": {"path": "x"}, "train": {"lora": {"rank": RANK}, "token_budget": 512, **train}})


def small_model(sizes, wanted, compute):
    vision = {
        "hidden_size": sizes.clip_hidden,
        "intermediate_size": sizes.clip_intermediate,
        "num_hidden_layers": sizes.clip_layers,
        "num_attention_heads": sizes.clip_heads,
        "image_size": sizes.crop_side,
        "patch_size": 14,
        "hidden_act": "quick_gelu",
    }
    config = Phi3VConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        rope_scaling=None,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        image_token_id=sizes.vocabulary - 1,
        vision_config=vision,
    )
    torch.manual_seed(0)
    model = Phi3VForCausalLM(config)
    model.set_attn_implementation("sdpa")
    rates = wanted.train.part_rates()
    if wanted.train.method == "full":
        for part, parameters in parts(model).items():
            for parameter in parameters:
                parameter.requires_grad_(rates[part] > 0)
    else:
        if compute == 2:
            model = model.to(torch.bfloat16)
        learning = [part for part, rate in rates.items() if rate > 0]
        model = add_lora(model, RANK, dropout=wanted.train.lora.dropout, parts=learning, quiet=True)
        for parameter in model.parameters():
            parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    if wanted.train.checkpointing:
        model.activation_checkpointing_enable()
    return model.train()


def parts(model):
    vision = model.model.vision_embed_tokens
    clip = list(vision.img_processor.parameters())
    projector = [*vision.img_projection.parameters(), vision.glb_GN, vision.sub_GN]
    seen = {id(each) for each in clip + projector}
    return {"clip": clip, "projector": projector, "decoder": [p for p in model.parameters() if id(p) not in seen]}


def saved_and_peak(model, forward, compute):
    """Bytes of distinct storages that autograd keeps (weights and their copies left out), and the most alive beyond
    gradients and copies of weights, from `forward()` to the end of its backward pass."""
    weights = {each.untyped_storage()._cdata for each in model.parameters()}
    shapes = {tuple(each.shape) for each in model.parameters()} | {
        tuple(each.shape[::-1]) for each in model.parameters()
    }
    saved, copies, held = {}, {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            (copies if tuple(tensor.shape) in shapes else saved)[storage._cdata] = storage.nbytes()
            held.append(storage)
        return tensor

    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    with live_memory() as memory:
        with torch.autocast("cpu", torch.bfloat16, enabled=compute == 2):
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                loss = forward()
            held.clear()
        if loss.requires_grad:
            loss.backward()
    return sum(saved.values()), memory.peak - sum(copies.values())


DECODERS = [
    ({"method": "full"}, 2),
    ({"method": "full", "checkpointing": True}, 2),
    ({"method": "full", "rates": {"decoder": 0}}, 2),
    ({"method": "full"}, 4),
    ({"method": "full", "checkpointing": True}, 4),
    ({"method": "lora"}, 2),
    ({"method": "lora", "lora": {"rank": RANK, "dropout": 0.0}}, 2),
    ({"method": "lora", "checkpointing": True}, 2),
    ({"method": "lora"}, 4),
]


@pytest.mark.parametrize(("train", "compute"), DECODERS, ids=str)
@pytest.mark.parametrize(("sizes", "tokens"), [(SMALL, 300), (SMALL, 500), (WIDE, 300), (WIDE, 500)], ids=str)
def test_a_decoders_activations_are_those_counted(train, compute, sizes, tokens):
    wanted = recipe(**train)
    model = small_model(sizes, wanted, compute)
    decoder = (model if wanted.train.method == "full" else model.get_base_model()).model
    embeddings = torch.randn(1, tokens, sizes.hidden, requires_grad=True)
    if wanted.train.method == "lora":
        embeddings = embeddings.detach().to(torch.bfloat16 if compute == 2 else torch.float32).requires_grad_()

    def forward():
        return decoder(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, -1].float().sum()

    saved, peak = saved_and_peak(model, forward, compute)
    assert saved == pytest.approx(tokens * decoder_saved(wanted, sizes, compute), rel=0.1)
    assert peak == pytest.approx(tokens * decoder_peak(wanted, sizes, compute), rel=0.1)


TOWERS = [
    ({"method": "full"}, 2),
    ({"method": "full", "checkpointing": True}, 2),
    ({"method": "full"}, 4),
    ({"method": "lora", "rates": {"clip": 1e-4}}, 2),
    ({"method": "full", "rates": {"clip": 0}}, 2),
    ({"method": "lora"}, 2),
]


@pytest.mark.parametrize(("train", "compute"), TOWERS, ids=str)
@pytest.mark.parametrize(("sizes", "crops"), [(SMALL, 4), (WIDE, 7)], ids=str)
def test_the_towers_activations_are_those_counted(train, compute, sizes, crops):
    wanted = recipe(**train)
    model = small_model(sizes, wanted, compute)
    vision = (model if wanted.train.method == "full" else model.get_base_model()).model.vision_embed_tokens
    pixels = torch.randn(crops, 3, sizes.crop_side, sizes.crop_side).to(vision.glb_GN.dtype)
    saved, peak = saved_and_peak(model, lambda: vision.encode_crops(pixels).float().sum(), compute)
    positions = crops * sizes.patches
    kept = pixels.numel() * compute if wanted.train.method == "full" and saved else 0  # by the patch embedding
    assert saved == pytest.approx(kept + positions * clip_saved(wanted, sizes, compute), rel=0.1)
    assert peak == pytest.approx(kept + positions * clip_peak(wanted, sizes, compute), rel=0.1)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_projectors_activations_are_those_counted(method):
    wanted = recipe(method=method)
    model = small_model(SMALL, wanted, 2)
    vision = (model if method == "full" else model.get_base_model()).model.vision_embed_tokens
    features = torch.randn(3, SMALL.grid**2, 4 * SMALL.clip_hidden)
    saved, _ = saved_and_peak(model, lambda: vision([(1, 2)], None, features).float().sum(), 2)
    assert saved == pytest.approx(vision.num_tokens(1, 2) * projector_saved(wanted, SMALL, 2), rel=0.1)


def test_what_a_logit_takes_at_the_loss():
    hidden, head = torch.randn(50, 8, requires_grad=True), torch.nn.Linear(8, 4000, bias=False)
    with live_memory() as memory:
        with torch.autocast("cpu", torch.bfloat16):
            logits = head(hidden)
        loss = functional.cross_entropy(logits.float(), torch.arange(50), reduction="sum")
        loss.backward()
    assert memory.peak == pytest.approx(50 * 4000 * LOGIT_BYTES, rel=0.1)


def test_the_published_numbers():
    sizes = Sizes()
    assert sizes.decoder - 2 * sizes.embedding == 3_624_078_336
    assert (sizes.clip, sizes.projector) == (303_507_456, 22_026_240 + 8192)
    assert sizes.decoder + sizes.projector + sizes.clip == 4_146_621_440
    assert sizes.adapters(16, "decoder") + sizes.adapters(16, "projector") == 25_378_816
    assert (sizes.grid**2, sizes.patches) == (144, 577)


@pytest.mark.parametrize("part", ["decoder", "projector", "clip"])
def test_parameters_and_adapters_are_those_of_the_model(part):
    wanted = recipe(method="lora", rates={each: float(each == part) / 2 for each in ("decoder", "projector", "clip")})
    adapted = small_model(SMALL, wanted, 4)
    assert sum(each.numel() for each in adapted.parameters() if each.requires_grad) == SMALL.adapters(RANK, part)
    plain = parts(small_model(SMALL, recipe(method="full"), 4))
    assert sum(each.numel() for each in plain[part]) == getattr(SMALL, part)


def test_nano_is_reckoned_with_its_own_numbers():
    from conftest import tiny_model, tiny_processor

    processor = tiny_processor()
    model = tiny_model(processor)
    nano = {"crop_size": 56, "vision_hidden": 32, "vision_layers": 1, "hidden": 64, "layers": 2}
    nano["vocabulary"] = len(processor.tokenizer)
    sizes = Sizes.of(check_recipe({"model": {"base": "nano", "nano": nano}, "data": {"path": "x"}}))
    assert sizes.decoder + sizes.projector + sizes.clip == sum(each.numel() for each in model.parameters())


def test_bytes_of_a_weight_in_4_bits_and_of_its_state_in_8():
    bitsandbytes = pytest.importorskip("bitsandbytes")
    weight = torch.randn(512, 512)
    packed, state = bitsandbytes.functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    scales = state.absmax.nbytes + state.state2.absmax.nbytes
    assert packed.nbytes + scales == pytest.approx(weight.numel() * NF4_BYTES, rel=1e-3)
    parameter = torch.nn.Parameter(weight)
    optimizer = bitsandbytes.optim.AdamW8bit([parameter])
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    held = [each for each in optimizer.state[parameter].values() if isinstance(each, torch.Tensor)]
    own = [each for each in held if each.numel() != 256]  # the two code books are the same for all
    assert sum(each.nbytes for each in own) == pytest.approx(weight.numel() * ADAM_8BIT_BYTES, rel=0.02)


def test_rows_whose_answers_are_written_at_once_take_the_cache_they_are_reckoned_to():
    from conftest import tiny_model, tiny_processor

    from hangtag.memory.generation import MOST_ROWS, rows_at_once, tokens_at_once

    model = tiny_model(tiny_processor())
    with torch.inference_mode():
        cache = model(input_ids=torch.full((1, 7), 5), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert held == 7 * 2 * 2 * 64 * 4  # tokens, keys and values, layers, width, bytes
    published = check_recipe({"data": {"path": "x"}, "model": {"num_crops": 4}})
    row = 757 + 600
    assert tokens_at_once(published, 5 * row * 2 * 32 * 3072 * 2) == 2 * row
    assert tokens_at_once(published, 5 * row * 2 * 32 * 3072 * 4, bytes_each=4) == 2 * row
    assert tokens_at_once(published, -1) == 0
    assert rows_at_once(published, 2 * row - 1) == rows_at_once(published, 0) == 1
    assert rows_at_once(published, 2 * row) == 2
    assert rows_at_once(published, 9 * row) == 8
    assert rows_at_once(published, 10**12) == MOST_ROWS
