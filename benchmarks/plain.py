"""The plain way to all that a tag holds, beside which the fast one is measured: no cache, no batches of pictures.

It answers the same questions as `hangtag.prediction.decoder.Decoder`, for one picture, by the model's forward pass over
whole sequences: prompt, picture and all tokens up to a node. Those of one step and length go through together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from hangtag.prediction.decoder import Decoder
from hangtag.prediction.nodes import Found, Node
from hangtag.prediction.tag import Ask, Tag
from hangtag.prediction.tagger import Tagger


class PlainDecoder(Decoder):
    """A decoder that keeps nothing but tokens."""

    def __init__(self, tagger: Tagger, picture: Image.Image) -> None:
        super().__init__(tagger.model, list(tagger.judge.signs.values()), tagger.judge.beams)
        inputs = tagger._inputs([[picture]])
        self._prompt = inputs["input_ids"][0].tolist()
        self._sizes = inputs["image_sizes"]
        with torch.inference_mode():
            self._crops = self.model.model.encode_pictures(inputs["pixel_values"], self._sizes)
        self._tokens: dict[int, int] = {}

    def open(self, prompts_TE: Sequence[torch.Tensor]) -> list[int]:
        """Nothing is kept of a prompt."""
        return [0 for _ in prompts_TE]

    def step(self, wanted: Sequence[tuple[int, Sequence[Node]]]) -> list[Found]:
        """As `Decoder.step`."""
        ((_, nodes),) = wanted
        for node in nodes:
            self._tokens[node.sees.bit_length() - 1] = node.token
        sequences = [self._sequence(node) for node in nodes]
        logits: dict[int, torch.Tensor] = {}
        for length in sorted({len(each) for each in sequences}):
            which = [number for number, each in enumerate(sequences) if len(each) == length]
            with torch.inference_mode():
                done = self.model(
                    input_ids=torch.tensor([sequences[number] for number in which]),
                    crop_features=self._crops.repeat(len(which), 1, 1),
                    image_sizes=self._sizes.repeat(len(which), 1),
                    use_cache=False,
                    logits_to_keep=1,
                )
            logits |= dict(zip(which, done.logits[:, -1], strict=True))
        return [self.found(torch.stack([logits[number] for number in range(len(nodes))]), nodes)]

    def _sequence(self, node: Node) -> list[int]:
        behind, place, sequence = node.sees >> len(self._prompt), len(self._prompt), list(self._prompt)
        while behind:
            if behind & 1:
                sequence.append(self._tokens[place])
            behind, place = behind >> 1, place + 1
        return sequence


def plain_tag(tagger: Tagger, picture: Image.Image) -> Tag:
    """A tag in the plain way."""
    decoder = PlainDecoder(tagger, picture)
    (task,) = tagger.answering(decoder, [Ask([picture])])
    while not task.done:
        task.send(decoder.step([(0, task.nodes)])[0])
    return task.value  # type: ignore[no-any-return]
