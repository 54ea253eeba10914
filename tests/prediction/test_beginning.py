"""Prompts begun together: each is answered as if it were alone."""

import pytest
import torch
from tiny_decoder import SIGNS, tiny_model

from hangtag.prediction.beginning import begin, rows_of
from hangtag.prediction.decoder import Decoder, run
from hangtag.prediction.nodes import together
from hangtag.prediction.writing import write

MOST = 8


def written(model, prompts):
    """The tokens written after prompts that are begun together, and their log probabilities."""
    width = max(map(len, prompts))
    inputs = {name: torch.zeros(len(prompts), width, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    for row, prompt in enumerate(prompts):
        inputs["input_ids"][row, width - len(prompt) :] = torch.tensor(prompt)
        inputs["attention_mask"][row, width - len(prompt) :] = 1
    rows = rows_of(model, inputs, [(None, MOST, True)] * len(prompts), {0})
    free = torch.ones(model.config.vocab_size, dtype=torch.bool)
    free[0] = False
    decoder = Decoder(model, SIGNS, 3)
    run(decoder, begin(model, decoder, inputs, rows, [write(row, free, None) for row in rows], [together] * len(rows)))
    return [(row.tokens, row.log_probs) for row in rows]


@pytest.mark.parametrize("lengths", [(60, 20), (20, 60, 25), (20, 45, 23)])
def test_an_answer_does_not_depend_on_whether_its_company_is_beyond_the_original_context(lengths):
    """The rotary factors follow a row's own length, not that of the longest prompt beside it."""
    model = tiny_model(limit=40)
    draw = torch.Generator().manual_seed(sum(lengths))
    prompts = [torch.randint(1, 60, (length,), generator=draw).tolist() for length in lengths]
    for prompt, (tokens, log_probs) in zip(prompts, written(model, prompts), strict=True):
        assert len(tokens) == MOST
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([prompt + tokens[:-1]])).logits[0, len(prompt) - 1 :]
        expected = logits.log_softmax(-1)[:, 1:].max(-1)
        assert (expected.indices + 1).tolist() == tokens
        assert log_probs == pytest.approx(expected.values.tolist(), abs=2e-4)
