import pytest
import torch
from torch.nn import functional

from hangtag.examples.examples import IGNORED
from hangtag.examples.loading import Steps, Vision
from hangtag.examples.packing import Plan
from hangtag.training.loss import answer_loss


def step_of(examples, budget, batch_size=8, rows_per_pass=None):
    """The examples' first step under a token budget, or with so many rows a pass."""
    plan = Plan(examples.lengths(), [True] * len(examples), batch_size, budget, seed=None)
    steps = Steps(examples, plan, Vision())
    if rows_per_pass is None:
        return steps[0]
    from hangtag.examples.packing import Pass

    rows = range(len(examples))
    passes = [Pass(tuple(rows[start : start + rows_per_pass])) for start in range(0, len(rows), rows_per_pass)]
    plan.passes = lambda step: [passes]
    return steps[0]


def gradients_of(model, step, smoothing=0.0):
    """Loss and gradients of a step, as the trainer takes them: over all its passes."""
    model.zero_grad()
    total = 0.0
    for each in step["passes"]:
        loss, _ = answer_loss(model, each, smoothing)
        (loss / step["labels"]).backward()
        total += loss.item() / step["labels"]
    return total, {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def slow_gradients(model, examples):
    """One example at a time, full logits, the mean over all answer tokens at the end."""
    model.zero_grad()
    step = step_of(examples, 100_000, rows_per_pass=1)
    losses, count = [], 0
    for each in step["passes"]:
        inputs = {name: value for name, value in each.items() if name not in ("labels", "position_ids")}
        logits = model(**inputs).logits
        targets = each["labels"][:, 1:].flatten()
        losses.append(functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets, reduction="sum"))
        count += int((targets != IGNORED).sum())
    loss = sum(losses) / count
    loss.backward()
    return loss.item(), {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def assert_same(one, other, tolerance):
    """Equal loss and gradients; a gradient that is zero in exact arithmetic (CLIP's key biases) may be any noise."""
    assert one[0] == pytest.approx(other[0], rel=tolerance)
    assert one[1].keys() == other[1].keys()
    whole = torch.stack([each.norm() for each in one[1].values()]).norm()
    for name, each in one[1].items():
        assert (each - other[1][name]).norm() < tolerance * (each.norm() + 0.01 * whole), name


@pytest.mark.parametrize("attention", ["eager", "sdpa", "packed"])
def test_packed_passes_give_the_loss_and_gradients_of_one_example_at_a_time_with_full_logits(
    model, examples, attention
):
    slow = slow_gradients(model, examples)
    model.set_attn_implementation(attention)
    for budget in (180, 400, 4000):
        step = step_of(examples, budget)
        assert_same(gradients_of(model, step), slow, 1e-5)
    assert len(step["passes"]) == 1


def test_one_by_eight_two_by_four_and_eight_by_one_give_the_same_step(model, examples):
    model.set_attn_implementation("packed")
    ways = [gradients_of(model, step_of(examples, 4000, rows_per_pass=rows)) for rows in (1, 2, 8)]
    assert_same(ways[0], ways[1], 1e-5)
    assert_same(ways[0], ways[2], 1e-5)


def test_the_picture_gets_a_gradient_and_changes_the_loss(model, examples):
    (each,) = step_of(examples, 4000)["passes"]
    loss, _ = answer_loss(model, each)
    loss.backward()
    clip = model.model.vision_embed_tokens.img_processor.vision_model
    assert clip.embeddings.patch_embedding.weight.grad.abs().sum() > 0
    inverted, _ = answer_loss(model, each | {"pixel_values": -each["pixel_values"]})
    assert abs(inverted.item() - loss.item()) > 1e-6


def test_a_pass_of_fillers_alone_adds_nothing_but_reaches_every_weight(model, examples):
    plan = Plan(examples.lengths(), [True] * 8, 1, 4000, None, processes=2)
    steps = [Steps(examples, plan, Vision(), process=process)[0] for process in range(2)]
    alone = gradients_of(model, step_of(examples, 4000, batch_size=1))
    assert_same(gradients_of(model, steps[0]), alone, 1e-5)
    total, gradients = gradients_of(model, steps[1])
    assert total == 0
    assert gradients.keys() == alone[1].keys()
    assert not any(each.any() for each in gradients.values())


def test_smoothing_raises_the_loss(model, examples):
    step = step_of(examples, 4000)
    plain, _ = gradients_of(model, step)
    smoothed, _ = gradients_of(model, step, smoothing=0.5)
    assert smoothed != pytest.approx(plain, rel=1e-4)
