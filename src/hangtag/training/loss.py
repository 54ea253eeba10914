"""The loss: the answer's tokens alone are learned.

Only the hidden states at positions that predict an answer token go through `lm_head`, so the full logits never exist.

Shapes: B rows, T tokens, K positions that predict a label, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from hangtag.examples.examples import IGNORED


def answer_loss(
    model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], label_smoothing: float = 0.0
) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy over the answers' tokens, and how many they are.

    Args:
        inputs: a pass of `Steps`, or any batch; `labels` BT are -100 outside the answers.
    """
    inputs = dict(inputs)
    labels_BT = inputs.pop("labels")
    next_BT = functional.pad(labels_BT[:, 1:], (0, 1), value=IGNORED)
    predicts_BT = next_BT != IGNORED
    logits_KV = model(**inputs, logits_to_keep=predicts_BT, use_cache=False).logits
    targets_K = next_BT[predicts_BT]
    loss = functional.cross_entropy(logits_KV.float(), targets_K, reduction="sum", label_smoothing=label_smoothing)
    return loss, targets_K.numel()
