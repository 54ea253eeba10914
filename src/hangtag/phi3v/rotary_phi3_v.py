"""Rotary positions of Phi-3-vision: two sets of factors, and the lengths that choose between them.

Shapes: B rows, T tokens.
"""

from typing import Any

import torch
from torch import nn
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from hangtag.errors import ModelError
from hangtag.phi3v.configuration_phi3_v import Phi3VConfig


class Phi3VRotaryEmbedding(nn.Module):
    """Rotary angles with the published switch: one set of factors up to the original context, another beyond it.

    The frequencies are constants of the configuration, kept in float32 whatever the model's dtype, one copy a device.
    """

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__()
        self.config = config
        self.limit = config.original_max_position_embeddings
        self._frequencies: dict[torch.device, tuple[torch.Tensor, torch.Tensor, float]] = {}

    def frequencies(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Short and long inverse frequencies (float32 [head_dim / 2]) and the factor on cosine and sine."""
        if device not in self._frequencies:
            with torch.inference_mode(False):
                if self.config.rope_parameters["rope_type"] == "default":
                    head_dim = self.config.hidden_size // self.config.num_attention_heads
                    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
                    short = long = 1.0 / (self.config.rope_parameters["rope_theta"] ** exponent)
                    scaling = 1.0
                else:
                    longrope = ROPE_INIT_FUNCTIONS["longrope"]
                    short, scaling = longrope(self.config, device)
                    long, _ = longrope(self.config, device, seq_len=self.limit + 1)
            self._frequencies[device] = (short, long, scaling)
        return self._frequencies[device]

    @torch.no_grad()
    def forward(
        self, position_ids_BT: torch.Tensor, length: int | torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine [B, T, head_dim] in `dtype`.

        `length` decides between the factors: the number of keys, one for the call or one for each token [B, T].
        """
        short, long, scaling = self.frequencies(position_ids_BT.device)
        beyond = length > self.limit
        if isinstance(beyond, torch.Tensor):
            frequencies = torch.where(beyond[..., None].to(long.device), long, short)
        else:
            frequencies = long if beyond else short
        angles = position_ids_BT[..., None].float() * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return (angles.cos() * scaling).to(dtype), (angles.sin() * scaling).to(dtype)


def packed_lengths(position_ids_BT: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor | None:
    """For every token the length of its own example [B, T], or None where each row is a single example.

    An example begins wherever a position is not its predecessor plus one.

    Raises:
        ModelError: with a mask [B, T], which cannot keep packed examples apart.
    """
    starts_BT = position_ids_BT.diff(dim=1) != 1
    if attention_mask is not None and attention_mask.ndim == 2:
        attended = attention_mask[:, -position_ids_BT.shape[1] :].bool()
        mixed = starts_BT & attended[:, 1:] & attended[:, :-1]
        if bool(mixed.any()):
            raise ModelError(
                f"row {mixed.nonzero()[0, 0]}: its positions begin anew inside the row, as of packed examples, but "
                "attention_mask lets them see each other; leave attention_mask out"
            )
        return None
    if not bool(starts_BT.any()):
        return None
    example_BT = nn.functional.pad(starts_BT.long().cumsum(1), (1, 0))
    counts = torch.zeros_like(example_BT).scatter_add_(1, example_BT, torch.ones_like(example_BT))
    return counts.gather(1, example_BT)


def flash_lengths(position_ids_BT: torch.Tensor) -> dict[str, Any]:
    """What keeps packed examples apart in flash attention: where each begins in all rows laid end to end.

    transformers finds it out from the positions only where the batch is a single row.
    """
    starts = torch.ones_like(position_ids_BT, dtype=torch.bool)
    starts[:, 1:] = position_ids_BT.diff(dim=1) != 1
    begins = starts.flatten().nonzero().flatten()
    bounds = nn.functional.pad(begins, (0, 1), value=starts.numel()).to(torch.int32)
    longest = int(bounds.diff().max())
    return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}


__all__ = ["Phi3VRotaryEmbedding", "flash_lengths", "packed_lengths"]
