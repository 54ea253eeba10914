"""The device memory that a recipe is expected to need, from the model's numbers alone. No torch."""

from hangtag.memory.activations import clip_peak, clip_saved, decoder_peak, decoder_saved, projector_saved
from hangtag.memory.expected import (
    ADAM_8BIT_BYTES,
    LOGIT_BYTES,
    NF4_BYTES,
    Memory,
    Pass,
    expected_memory,
    fullest_pass,
    picture_cost,
)
from hangtag.memory.sizes import Sizes

__all__ = [
    "ADAM_8BIT_BYTES",
    "LOGIT_BYTES",
    "NF4_BYTES",
    "Memory",
    "Pass",
    "Sizes",
    "clip_peak",
    "clip_saved",
    "decoder_peak",
    "decoder_saved",
    "expected_memory",
    "fullest_pass",
    "picture_cost",
    "projector_saved",
]
