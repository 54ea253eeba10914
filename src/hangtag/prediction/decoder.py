"""The decoder over many rows in one step: their prompts, the next tokens of answers, and branches of trees.

All that is not attention is computed for the nodes and prompts of all rows, end to end; attention is in places.py.

Shapes: M nodes of a step, L tokens of a step (nodes, then prompts), T tokens of a prompt, X heads of queries, keys and
values (H queries, G keys), D a head's width, E the model's width, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache

from hangtag.phi3v.adapters_phi3_v import without_wrapper
from hangtag.prediction.nodes import Found, Node, Task
from hangtag.prediction.places import Places
from hangtag.prediction.store import Store


class Decoder:
    """Keys and values of rows, and what is computed with them.

    Args:
        model: a `Phi3VForCausalLM`, or PEFT's wrapper of one.
        signs: tokens whose probability is told of every node.
        likeliest: how many likeliest tokens are told of those that want them.
    """

    def __init__(self, model: Any, signs: Sequence[int], likeliest: int) -> None:
        self.model = without_wrapper(model)
        self.device, self.dtype = self.model.device, self.model.dtype
        self._signs, self._likeliest = list(signs), likeliest
        self._store = Store(self.model.config, self.device, self.dtype)
        self._lengths: dict[int, int] = {}
        self._prompts: dict[int, torch.Tensor] = {}

    def open(self, prompts_TE: Sequence[torch.Tensor]) -> list[int]:
        """New rows, each one's number; a prompt is computed in the first step that wants something of its row.

        Args:
            prompts_TE: token embeddings, pictures' features among them.
        """
        rows = self._store.open([len(each) for each in prompts_TE])
        self._lengths.update((row, len(each)) for row, each in zip(rows, prompts_TE, strict=True))
        self._prompts.update(zip(rows, prompts_TE, strict=True))
        return rows

    def put(self, cache: Cache, tokens: Sequence[range]) -> list[int]:
        """Copy rows out of a cache, without their padding; each one's number.

        The cache's length, padding included, decided between the two sets of rotary factors, and still does.

        Args:
            tokens: of each row, where in the cache its tokens lie.
        """
        rows = self._store.put(cache, tokens)
        self._lengths.update(dict.fromkeys(rows, int(cache.get_seq_length())))
        return rows

    def drop(self, row: int) -> None:
        """Forget a row."""
        self._store.drop(row)
        del self._lengths[row]
        self._prompts.pop(row, None)

    def step(self, wanted: Sequence[tuple[int, Sequence[Node]]]) -> list[Found]:
        """What follows the nodes that some rows want.

        Args:
            wanted: numbers of rows, and nodes; each row once, and none without a node. Of a row that was opened and
                takes its first step, the one node is its prompt's last token.
        """
        begun = {row: self._prompts[row] for row, _ in wanted if row in self._prompts}
        grown = [(row, each) for row, each in wanted if row not in begun]
        at = Places(self._store, grown, [(row, len(each)) for row, each in begun.items()])
        decoder = self.model.model
        with torch.inference_mode():
            words_ME = decoder.embed_tokens(self._tensor([node.token for _, each in grown for node in each]))
            hidden = torch.cat([words_ME, *begun.values()])[None] if begun else words_ME[None]
            turned = self._turns(grown, begun, hidden.dtype)
            for layer, held in zip(decoder.layers, self._store.layers, strict=True):
                attention = layer.self_attn
                heads, fewer = attention.config.num_attention_heads, attention.config.num_key_value_heads
                states = attention.qkv_proj(layer.input_layernorm(hidden))[0]
                states_LXD = states.view(len(states), heads + 2 * fewer, attention.head_dim)
                both = _turned(states_LXD[:, : heads + fewer], *turned)
                attended_LHD = at.attend(
                    held, both[:, :heads], both[:, heads:], states_LXD[:, heads + fewer :], attention.scaling
                )
                hidden = hidden + attention.o_proj(attended_LHD.flatten(1)[None])
                hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
            hidden = hidden[:, at.asked] if begun else hidden
            ordered = [*grown, *(each for each in wanted if each[0] in begun)]
            found = self.found(
                self.model.lm_head(decoder.norm(hidden))[0], [node for _, each in ordered for node in each]
            )
        for row in begun:
            del self._prompts[row]
        ends = accumulate(len(each) for _, each in ordered)
        parts = {row: found.part(end - len(each), end) for end, (row, each) in zip(ends, ordered, strict=True)}
        return [parts[row] for row, _ in wanted]

    def found(self, logits_MV: torch.Tensor, nodes: Sequence[Node]) -> Found:
        """What follows nodes by their logits, as far as each wants it."""
        logits_MV = logits_MV.float()
        log_p_MV = logits_MV.log_softmax(-1)
        count = len(nodes)
        few = min(self._likeliest, log_p_MV.shape[-1])
        found = Found(
            np.full(count, -1),
            np.full(count, -np.inf),
            np.full((count, few), -1),
            np.full((count, few), -np.inf),
            _numpy(log_p_MV[:, self._signs]),
            np.full(count, -np.inf),
            np.full(count, -np.inf),
        )
        if where := [place for place, node in enumerate(nodes) if node.likeliest]:
            best = log_p_MV[where].topk(few)
            found.likeliest[where], found.likeliest_log_p[where] = best.indices.cpu().numpy(), _numpy(best.values)
        choosing = [(place, node.allowed) for place, node in enumerate(nodes) if node.allowed is not None]
        if choosing:
            where = [place for place, _ in choosing]
            allowed = torch.stack([each for _, each in choosing])
            chosen = logits_MV[where].masked_fill_(~allowed, -torch.inf).argmax(-1)
            found.chosen[where] = chosen.cpu().numpy()
            found.chosen_log_p[where] = _numpy(log_p_MV[where, chosen])
        for enders in {node.enders for node in nodes if node.enders}:
            where = [place for place, node in enumerate(nodes) if node.enders == enders]
            found.enders[where] = _numpy(log_p_MV[where][:, list(enders)].logsumexp(-1))
        if where := [place for place, node in enumerate(nodes) if node.target is not None]:
            found.target[where] = _numpy(log_p_MV[where, [nodes[place].target for place in where]])
        return found

    def _turns(
        self, grown: Sequence[tuple[int, Sequence[Node]]], begun: Mapping[int, torch.Tensor], dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotary factors of each token for all heads [L, 1, D], the sine's sign as it meets the other half."""
        seen = [(row, node.sees.bit_count()) for row, each in grown for node in each]
        positions, lengths = [count - 1 for _, count in seen], [max(count, self._lengths[row]) for row, count in seen]
        for prompt_TE in begun.values():
            positions += range(len(prompt_TE))
            lengths += [len(prompt_TE)] * len(prompt_TE)
        rotary = self.model.model.rotary_emb
        cosine_1LD, sine_1LD = rotary(self._tensor(positions)[None], self._tensor(lengths)[None], dtype)
        low, high = sine_1LD[0, :, None].chunk(2, -1)
        return cosine_1LD[0, :, None], torch.cat((-low, high), -1)

    def _tensor(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)


def _turned(states_LXD: torch.Tensor, cosine_L1D: torch.Tensor, sine_L1D: torch.Tensor) -> torch.Tensor:
    """As `apply_rotary_pos_emb`, to the last bit."""
    return states_LXD * cosine_L1D + states_LXD.roll(states_LXD.shape[-1] // 2, -1) * sine_L1D


def _numpy(values: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(values.double().cpu().numpy())


def run(decoder: Decoder, tasks: Iterable[Task[Any]]) -> None:
    """Run tasks of different rows to their ends."""
    live = [each for each in tasks if not each.done]
    while live:
        for task, found in zip(live, decoder.step([(each.row, each.nodes) for each in live]), strict=True):
            task.send(found)
        live = [each for each in live if not each.done]
