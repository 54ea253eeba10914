"""Single nodes of many rows against the model's forward pass over whole sequences."""

import numpy as np
import pytest
import torch
from tiny_decoder import SIGNS, tiny_model

from hangtag.prediction import places
from hangtag.prediction import store as storing
from hangtag.prediction.decoder import Decoder
from hangtag.prediction.nodes import Node, Task, together


class Plain:
    """A row as the list of its tokens; what follows a sequence, by the whole of it."""

    def __init__(self, model, prompt):
        self.model, self.prompt, self.at = model, prompt, dict(enumerate(prompt))

    def log_probs(self, node):
        self.at[node.sees.bit_length() - 1] = node.token
        ids = [self.at[place] for place in range(node.sees.bit_length()) if node.sees >> place & 1]
        with torch.inference_mode():
            return self.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1).double().numpy()


def put(model, decoder, prompts):
    """Prompts padded to each other and computed; their slots."""
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :], mask[row, width - len(prompt) :] = torch.tensor(prompt), 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        cache = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True).past_key_values
    return decoder.put(cache, [range(width - len(prompt), width) for prompt in prompts])


def embedded(model, prompts):
    with torch.inference_mode():
        return [model.model.embed(torch.tensor([prompt]))[0] for prompt in prompts]


@pytest.mark.parametrize("narrow", [0, 4, 100])
@pytest.mark.parametrize("limit", [24, 1024])
def test_what_follows_a_node_is_what_follows_its_whole_sequence(monkeypatch, narrow, limit):
    """Rows that come and go, in trees of random shapes, some with their prompts; beyond the original context, too."""
    monkeypatch.setattr(places, "_NARROW", narrow)
    model, draw = tiny_model(limit), np.random.default_rng(narrow)
    decoder = Decoder(model, SIGNS, 3)
    rows = {}
    for step in range(9):
        if step in (0, 2, 5):
            prompts = [draw.integers(1, 60, 25 + size).tolist() for size in draw.integers(0, 6, 3)]
            for slot, prompt in zip(put(model, decoder, prompts), prompts, strict=True):
                assert slot not in rows
                rows[slot] = (Plain(model, prompt), [(1 << len(prompt)) - 1], [len(prompt)])
        if step in (4, 7):
            gone = draw.choice(sorted(rows))
            decoder.drop(gone)
            del rows[gone]
        wanted = []
        if step in (0, 3, 6, 7):
            prompts = [draw.integers(1, 60, size).tolist() for size in draw.integers(25, 32, 2)]
            for slot, prompt in zip(decoder.open(embedded(model, prompts)), prompts, strict=True):
                assert slot not in rows
                whole = (1 << len(prompt)) - 1
                rows[slot] = (Plain(model, prompt), [whole], [len(prompt)])
                wanted.append((slot, [Node(prompt[-1], whole, None, True, (2, 7), 11)]))
        begun = [slot for slot, _ in wanted]
        for slot, (_, sights, used) in rows.items():
            if slot in begun:
                continue
            nodes = []
            for _ in range(draw.integers(1, 8)):
                sees = sights[draw.integers(len(sights))] | 1 << used[0]
                used[0] += 1
                nodes.append(Node(int(draw.integers(1, 60)), sees, None, True, (2, 7), 11))
            sights += [node.sees for node in nodes]
            wanted.append((slot, nodes))
        wanted = [wanted[place] for place in draw.permutation(len(wanted))]
        for (slot, nodes), found in zip(wanted, decoder.step(wanted), strict=True):
            for place, node in enumerate(nodes):
                expected = rows[slot][0].log_probs(node)
                assert found.signs[place] == pytest.approx(expected[SIGNS], abs=2e-4)
                assert found.target[place] == pytest.approx(expected[11], abs=2e-4)
                assert np.exp(found.enders[place]) == pytest.approx(np.exp(expected[[2, 7]]).sum(), abs=1e-5)
                assert found.likeliest_log_p[place] == pytest.approx(np.sort(expected)[::-1][:3], abs=2e-4)


def test_a_prompt_whose_step_failed_is_computed_in_the_next(monkeypatch):
    model, prompt = tiny_model(1024), list(range(1, 30))
    decoder = Decoder(model, SIGNS, 3)
    (row,) = decoder.open(embedded(model, [prompt]))
    node = Node(prompt[-1], (1 << len(prompt)) - 1, target=11)
    with monkeypatch.context() as broken:
        broken.setattr(model.lm_head, "forward", lambda hidden: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            decoder.step([(row, [node])])
    (found,) = decoder.step([(row, [node])])
    assert found.target[0] == pytest.approx(Plain(model, prompt).log_probs(node)[11], abs=2e-4)
    decoder.drop(row)
    (row,) = decoder.open(embedded(model, [prompt[:5]]))
    decoder.drop(row)
    assert not decoder._prompts


def test_what_is_held_follows_from_the_rows_of_now(monkeypatch):
    """One long row after many short ones does not make room for many long ones."""
    monkeypatch.setattr(storing, "_MUCH", 0)
    model, draw = tiny_model(1024), np.random.default_rng(5)
    decoder = Decoder(model, SIGNS, 3)
    short = put(model, decoder, [draw.integers(1, 60, 20).tolist() for _ in range(12)])
    assert decoder._store.layers[0][0].shape[0] == 12
    for row in short[1:]:
        decoder.drop(row)
    prompt = draw.integers(1, 60, 300).tolist()
    (long,) = put(model, decoder, [prompt])
    slots, _, places, _ = decoder._store.layers[0][0].shape
    assert (slots, 300 <= places <= 300 + 128) == (2, True)
    node = Node(9, (1 << 301) - 1, target=11)
    (found,) = decoder.step([(long, [node])])
    assert found.target[0] == pytest.approx(Plain(model, prompt).log_probs(node)[11], abs=2e-4)
    decoder.drop(long)
    put(model, decoder, [draw.integers(1, 60, 20).tolist()])
    slots, _, places, _ = decoder._store.layers[0][0].shape
    assert slots * places <= 4 * 2 * (20 + 128)


def test_the_chosen_token_is_the_likeliest_that_is_allowed():
    decoder, draw = Decoder(tiny_model(1024), SIGNS, 3), np.random.default_rng(0)
    logits = torch.tensor(draw.normal(size=(20, 64)), dtype=torch.float32)
    nodes = [Node(1, 1, torch.tensor(draw.random(64) < 0.2)) if row % 3 else Node(1, 1) for row in range(20)]
    found = decoder.found(logits, nodes)
    for row, node in enumerate(nodes):
        if node.allowed is None:
            assert found.chosen[row] == -1
            continue
        held = [token for token in range(64) if node.allowed[token]]
        assert found.chosen[row] == max(held, key=lambda token, row=row: logits[row, token])
        assert found.chosen_log_p[row] == pytest.approx(logits[row].log_softmax(-1)[found.chosen[row]].item())


def test_programs_side_by_side_get_what_follows_their_own_nodes():
    def program(name, counts):
        seen = []
        for count in counts:
            found = yield [Node(name, 1)] * count
            seen.append(found.target.tolist())
        return seen

    task = Task(0, together([program(1, [1, 0, 2]), program(2, [0, 3]), program(3, [])]))
    asked = []
    while not task.done:
        asked.append([node.token for node in task.nodes])
        count = len(task.nodes)
        numbers = np.array([100.0 * node.token + place for place, node in enumerate(task.nodes)])
        found = Decoder(tiny_model(1024), SIGNS, 3).found(torch.zeros(count, 64), task.nodes)
        found.target[:] = numbers
        task.send(found)
    assert asked == [[1], [2, 2, 2], [1, 1]]
    assert task.value == [[[100.0], [], [100.0, 101.0]], [[], [200.0, 201.0, 202.0]], []]
