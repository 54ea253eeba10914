"""Given answers in place of written ones: what a model holds likely behind words that are not its own.

Shapes: B rows, T prompt tokens, N tokens of the longest given answer with its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel

from hangtag.prediction.branches import Answers


def given_answers(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], ids: Sequence[list[int]]) -> Answers:
    """As if the model had written these answers, in one pass.

    Args:
        inputs: of `generate`: prompts padded on the left, and their pictures, on the model's device.
        ids: each row's answer, its end included.
    """
    prompt_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"]
    longest = max(len(each) for each in ids)
    given_BN, there_BN = (mask_BT.new_zeros(len(ids), longest) for _ in range(2))
    for row, each in enumerate(ids):
        given_BN[row, : len(each)] = torch.tensor(each)
        there_BN[row, : len(each)] = 1
    # The last given token predicts nothing that is asked for.
    whole = torch.cat([mask_BT, there_BN[:, :-1]], 1)
    with torch.inference_mode():
        done = model(
            **{name: each for name, each in inputs.items() if name not in ("input_ids", "attention_mask")},
            input_ids=torch.cat([prompt_BT, given_BN[:, :-1].to(prompt_BT.dtype)], 1),
            attention_mask=whole,
            position_ids=(whole.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=longest,
        )
    log_probs_BN = done.logits.float().log_softmax(-1).gather(-1, given_BN[..., None].long())[..., 0].double()
    return Answers(
        model,
        done.past_key_values,
        prompt_BT,
        mask_BT,
        [each[:-1] for each in ids],
        [log_probs_BN[row, : len(each)].tolist() for row, each in enumerate(ids)],
    )
