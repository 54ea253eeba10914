"""The nano model: Phi-3-vision's own classes with small numbers, and a tokenizer trained on the catalogue.

Everything that makes the real model what it is stays: CLIP tower, 2x2 merge, separators, projector, fused
decoder layers, special tokens, chat format. Only the sizes differ, so what holds for nano is the real path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor
from hangtag.recipe import Model, NanoSizes

UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"
# Phi-3's special tokens; True where the published tokenizer lets them swallow the white space that follows.
SPECIAL = {
    "<|endoftext|>": False,
    "<|assistant|>": True,
    "<|system|>": False,
    "<|end|>": False,
    "<|user|>": False,
    "<|image|>": True,
}
# What a layer adds to its input begins as nothing (docs/log.md).
STARTS_AT_ZERO = ("o_proj.weight", "down_proj.weight", "out_proj.weight", "fc2.weight")
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def nano_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-fallback BPE tokenizer in the manner of Phi-3's, learned from `texts`; digits stay one by one.

    Args:
        texts: prompts and answers of the training split.
        vocabulary: most entries, special and byte ones (265) included.
    """
    pieces, merges = _learn_pieces(texts, vocabulary - len(SPECIAL) - len(BYTES))
    vocab = {piece: index for index, piece in enumerate([UNKNOWN, BOS, EOS, *BYTES, *pieces])}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True))
    _split_like_phi3(tokenizer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (UNKNOWN, BOS, EOS)])
    tokenizer.add_special_tokens(
        [AddedToken(name, rstrip=rstrip, special=True, normalized=False) for name, rstrip in SPECIAL.items()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=BOS,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


def _split_like_phi3(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("▁", "merged_with_next"), pre_tokenizers.Digits(individual_digits=True)]
    )


def _learn_pieces(texts: Iterable[str], most: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The pieces and merges that byte-pair encoding learns, without special ones."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    _split_like_phi3(tokenizer)
    special = [UNKNOWN, BOS, EOS]
    trainer = trainers.BpeTrainer(
        vocab_size=most + len(special),
        special_tokens=special,
        initial_alphabet=["▁", "\n", *"0123456789.,"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].__getitem__)[len(special) :]
    return pieces, [tuple(merge) for merge in learned["merges"]]


def nano_processor(texts: Iterable[str], model: Model) -> Phi3VProcessor:
    """Nano's processor: its crop size, and a tokenizer learned from `texts`."""
    image_processor = Phi3VImageProcessor(
        num_crops=model.num_crops,
        crop_size=model.nano.crop_size,
        num_img_tokens=(model.nano.crop_size // 28) ** 2,
    )
    return Phi3VProcessor(image_processor, nano_tokenizer(texts, model.nano.vocabulary))


def nano_model(processor: Phi3VProcessor, sizes: NanoSizes, seed: int) -> Phi3VForCausalLM:
    """Nano with random weights drawn from `seed`."""
    tokenizer = processor.tokenizer
    vision = {
        "hidden_size": sizes.vision_hidden,
        "intermediate_size": 4 * sizes.vision_hidden,
        "num_hidden_layers": sizes.vision_layers + 1,  # CLIP's last layer is never computed
        "num_attention_heads": sizes.vision_hidden // sizes.head_size,
        "image_size": sizes.crop_size,
        "patch_size": 14,
        "hidden_act": "quick_gelu",
    }
    config = Phi3VConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden,
        intermediate_size=8 * sizes.hidden // 3,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.hidden // sizes.head_size,
        num_key_value_heads=sizes.hidden // sizes.head_size,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        rope_scaling=None,
        sliding_window=None,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.convert_tokens_to_ids("<|end|>"), tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image|>"),
        vision_config=vision,
    )
    torch.manual_seed(seed)
    # Short sequences: eager attention is faster than sdpa on a CPU (docs/log.md).
    model = Phi3VForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(STARTS_AT_ZERO):
                parameter.zero_()
    model.set_attn_implementation("eager")
    return model
