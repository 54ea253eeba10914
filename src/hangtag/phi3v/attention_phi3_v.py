"""Attention of packed rows, `attn_implementation="packed"`: each example by itself, no mask of all tokens by all.

On a GPU in half precision torch's own kernel takes the examples end to end. Elsewhere the examples are padded inside
attention alone, in groups of similar length: padding stands at an example's end, where no real query looks. Rows of
one example, padded batches and generation with a cache are sdpa's.

Shapes: B rows, T tokens of a row, A tokens of all rows end to end, H heads of queries (K of keys and values), D a
head's width, E examples of a group, L tokens of its longest, P places of all groups, E * L each.
"""

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from hangtag.errors import ModelError
from hangtag.phi3v.configuration_phi3_v import Phi3VConfig
from hangtag.phi3v.rotary_phi3_v import flash_lengths

NAME = "packed"
SIMILAR = 1.25  # an example joins a group whose longest is at most so many times its length (docs/log.md)
WRITTEN_OUT = 200  # up to so many tokens softmax(QK)V in three calls beats sdpa on a CPU (docs/log.md)


class Group(NamedTuple):
    """Examples padded to one length; `bias_LL` is 0 where a query looks and -inf elsewhere, None for plain causal."""

    examples: int
    longest: int
    bias_LL: torch.Tensor | None
    written_out: bool


class Padding(NamedTuple):
    """The groups, and which token fills each place and each token's place, int64 [P] and [A]."""

    groups: tuple[Group, ...]
    token_of_place_P: torch.Tensor
    place_of_token_A: torch.Tensor


class Packing(NamedTuple):
    """Where the examples of packed rows lie; made once a forward, for all layers. No padding: the kernel takes them.

    A tuple of tuples, so that accelerate moves it between devices and FSDP looks through it.
    """

    dtype: torch.dtype
    bounds: torch.Tensor
    longest: int
    padding: Padding | None


def has_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch's kernel for examples end to end computes there; it needs an Ampere GPU or a newer one."""
    half = dtype in (torch.float16, torch.bfloat16)
    return half and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def packed_arguments(config: Phi3VConfig, position_ids_BT: torch.Tensor, dtype: torch.dtype) -> dict[str, Any]:
    """What the layers are told of packed examples; eager, sdpa and flex attention learn it from their mask."""
    attention = str(config._attn_implementation)
    if attention == NAME:
        return {"packing": find_packing(position_ids_BT, dtype, config.sliding_window)}
    return flash_lengths(position_ids_BT) if "flash" in attention else {}


def find_packing(position_ids_BT: torch.Tensor, dtype: torch.dtype, window: int | None) -> Packing:
    """The layout of rows whose positions begin anew at each example.

    Args:
        dtype: of the hidden states; under autocast its dtype is taken instead.
        window: how many tokens back a query looks, itself included; None for all.
    """
    device = position_ids_BT.device
    if torch.is_autocast_enabled(device.type):
        dtype = torch.get_autocast_dtype(device.type)
    where = flash_lengths(position_ids_BT)
    bounds, longest = where["cu_seq_lens_q"], where["max_length_q"]
    padding = None if has_kernel(device, dtype) else pad(bounds, dtype, window)
    return Packing(dtype, bounds, longest, padding)


def pad(bounds: torch.Tensor, dtype: torch.dtype, window: int | None) -> Padding:
    """Groups of similar length for examples that begin and end at `bounds`."""
    starts, lengths, device = bounds[:-1].tolist(), bounds.diff().tolist(), bounds.device
    members = similar(lengths)
    tokens_P, places_A = places(starts, lengths, members)
    groups = tuple(make_group(len(each), lengths[each[0]], dtype, device, window) for each in members)
    return Padding(groups, tokens_P.to(device), places_A.to(device))


def similar(lengths: list[int]) -> list[list[int]]:
    """The examples' numbers in groups, the longest first; the first of a group is its longest."""
    members: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        if members and SIMILAR * lengths[number] >= lengths[members[-1][0]]:
            members[-1].append(number)
        else:
            members.append([number])
    return members


def places(starts: list[int], lengths: list[int], members: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Which token fills each place of the padded groups, one after another, and each token's place; int64 [P], [A].

    A place of padding is filled with its example's first token: any would do, as nobody looks at it.
    """
    tokens, place_of_token_A, first = [], torch.empty(sum(lengths), dtype=torch.int64), 0
    for each in members:
        start_E1 = torch.tensor([[starts[number]] for number in each])
        length_E1 = torch.tensor([[lengths[number]] for number in each])
        offset_L = torch.arange(lengths[each[0]])
        real_EL = offset_L < length_E1
        token_EL = torch.where(real_EL, start_E1 + offset_L, start_E1)
        place_of_token_A[token_EL[real_EL]] = first + real_EL.flatten().nonzero().flatten()
        tokens.append(token_EL.flatten())
        first += token_EL.numel()
    return torch.cat(tokens), place_of_token_A


def make_group(examples: int, longest: int, dtype: torch.dtype, device: torch.device, window: int | None) -> Group:
    """A group and how it is computed."""
    written_out = longest <= WRITTEN_OUT and device.type == "cpu" and dtype == torch.float32
    plain = window is None or window >= longest
    if plain and not written_out:
        return Group(examples, longest, None, written_out)
    place_L = torch.arange(longest, device=device)
    back_LL = place_L[:, None] - place_L
    hidden_LL = (back_LL < 0) | (back_LL >= (longest if window is None else window))
    bias_LL = torch.zeros(longest, longest, dtype=dtype, device=device).masked_fill_(hidden_LL, -torch.inf)
    return Group(examples, longest, bias_LL, written_out)


def packed_attention(
    module: nn.Module,
    query_BHTD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packing: Packing | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in a layer: [B, T, H, D], and no weights. Without `packing` it is sdpa.

    Raises:
        ModelError: dropout is asked for, which the kernel does not have.
    """
    if packing is None:
        return sdpa_attention_forward(module, query_BHTD, key_BKTD, value_BKTD, attention_mask, **options)
    if options.get("dropout"):
        raise ModelError(
            f'attn_implementation="{NAME}" drops nothing out, but attention_dropout is {options["dropout"]}; '
            'set it to 0, or use "sdpa"'
        )
    query, key, value = (each.to(packing.dtype) for each in (query_BHTD, key_BKTD, value_BKTD))
    repeats = query.shape[1] // key.shape[1]
    if packing.padding is None:
        query, key, value = (each.transpose(1, 2).flatten(0, 1) for each in (query, key, value))
        window = options["sliding_window"]
        output_AHD = kernel_attention(query, key, value, packing, repeats, options["scaling"], window)
    else:
        query, key, value = (each.transpose(0, 1).flatten(1, 2) for each in (query, key, value))
        output_AHD = padded_attention(query, key, value, packing.padding, repeats, options["scaling"]).transpose(0, 1)
    rows, heads, length, width = query_BHTD.shape
    return output_AHD.reshape(rows, length, heads, width), None


def kernel_attention(
    query_AHD: torch.Tensor,
    key_AKD: torch.Tensor,
    value_AKD: torch.Tensor,
    packing: Packing,
    repeats: int,
    scaling: float,
    window: int | None,
) -> torch.Tensor:
    """[A, H, D] by torch's kernel. torch 2.11 does not yet know fewer keys than queries, so they are repeated."""
    if repeats > 1:
        key_AKD, value_AKD = key_AKD.repeat_interleave(repeats, 1), value_AKD.repeat_interleave(repeats, 1)
    back = -1 if window is None or window >= packing.longest else window - 1  # the kernel does not count the query
    bounds, longest = packing.bounds, packing.longest
    return varlen_attn(  # type: ignore[return-value]
        query_AHD, key_AKD, value_AKD, bounds, bounds, longest, longest, scale=scaling, window_size=(back, 0)
    )


@torch.compiler.disable
def padded_attention(
    query_HAD: torch.Tensor,
    key_KAD: torch.Tensor,
    value_KAD: torch.Tensor,
    padding: Padding,
    repeats: int,
    scaling: float,
) -> torch.Tensor:
    """[H, A, D], group by group. Left out of compiled layers: the groups are others in each pass."""
    sizes = [each.examples * each.longest for each in padding.groups]
    padded = [
        each.index_select(1, padding.token_of_place_P).split(sizes, 1) for each in (query_HAD, key_KAD, value_KAD)
    ]
    outputs = []
    for group, query, key, value in zip(padding.groups, *padded, strict=True):
        if repeats > 1:
            key, value = key.repeat_interleave(repeats, 0), value.repeat_interleave(repeats, 0)
        query_XLD, key_XLD, value_XLD = (
            each.reshape(-1, group.longest, each.shape[-1]) for each in (query, key, value)
        )
        outputs.append(group_attention(query_XLD, key_XLD, value_XLD, group, scaling).view_as(query))
    return torch.cat(outputs, 1).index_select(1, padding.place_of_token_A)


def group_attention(
    query_XLD: torch.Tensor, key_XLD: torch.Tensor, value_XLD: torch.Tensor, group: Group, scaling: float
) -> torch.Tensor:
    """Attention of X = H * E sequences of equal length, each within itself."""
    bias_LL = group.bias_LL
    if group.written_out and bias_LL is not None:
        scores_XLL = torch.baddbmm(bias_LL, query_XLD, key_XLD.transpose(1, 2), alpha=scaling)
        return torch.bmm(scores_XLL.softmax(-1), value_XLD)
    attend = nn.functional.scaled_dot_product_attention
    return attend(
        query_XLD[None], key_XLD[None], value_XLD[None], attn_mask=bias_LL, is_causal=bias_LL is None, scale=scaling
    )[0]


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # for what is not packed

__all__ = ["Packing", "find_packing", "packed_arguments", "packed_attention"]
