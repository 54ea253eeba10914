"""The numbers of a model that its memory follows from, and its parameters by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from hangtag.cost import CROP_SIDE
from hangtag.recipe import Recipe


@dataclass(frozen=True)
class Sizes:
    """A model's numbers; the defaults are the published models'. `heads` and `clip_heads` are of attention."""

    hidden: int = 3072
    intermediate: int = 8192
    layers: int = 32
    heads: int = 32
    vocabulary: int = 32064
    clip_hidden: int = 1024
    clip_intermediate: int = 4096
    clip_layers: int = 24
    clip_heads: int = 16
    crop_side: int = CROP_SIDE

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Of the recipe's base; every base but nano is taken for one of the published size."""
        if recipe.model.base != "nano":
            return cls()
        nano = recipe.model.nano
        return cls(
            hidden=nano.hidden,
            intermediate=8 * nano.hidden // 3,
            layers=nano.layers,
            heads=nano.hidden // nano.head_size,
            vocabulary=nano.vocabulary,
            clip_hidden=nano.vision_hidden,
            clip_intermediate=4 * nano.vision_hidden,
            clip_layers=nano.vision_layers + 1,
            clip_heads=nano.vision_hidden // nano.head_size,
            crop_side=nano.crop_size,
        )

    @property
    def grid(self) -> int:
        """Token rows of a crop."""
        return self.crop_side // 28

    @property
    def patches(self) -> int:
        """Positions of a crop in CLIP: its 14-pixel patches and the class token."""
        return (self.crop_side // 14) ** 2 + 1

    @property
    def layer_weights(self) -> int:
        """Of a decoder layer's four matrices."""
        return self.hidden * (4 * self.hidden + 3 * self.intermediate)

    @property
    def embedding(self) -> int:
        """Of the token embedding; `lm_head` has as many."""
        return self.vocabulary * self.hidden

    @property
    def decoder(self) -> int:
        """Parameters of the language model, embedding and head included."""
        return self.layers * (self.layer_weights + 2 * self.hidden) + self.hidden + 2 * self.embedding

    @property
    def projector(self) -> int:
        """Parameters of the projection and the two separators."""
        return self.projector_weights + 2 * self.hidden + 2 * 4 * self.clip_hidden

    @property
    def projector_weights(self) -> int:
        """Of the projection's two matrices."""
        return self.hidden * (4 * self.clip_hidden + self.hidden)

    @property
    def clip(self) -> int:
        """Parameters of CLIP, its unused last layer included."""
        width, inner = self.clip_hidden, self.clip_intermediate
        layer = self.clip_layer_weights + 4 * width + width + inner + 4 * width
        return self.clip_layers * layer + self.patch_weights + width * (1 + self.patches + 4)

    @property
    def clip_layer_weights(self) -> int:
        """Of a CLIP layer's six matrices."""
        return 2 * self.clip_hidden * (2 * self.clip_hidden + self.clip_intermediate)

    @property
    def patch_weights(self) -> int:
        """Of CLIP's patch embedding."""
        return self.clip_hidden * 3 * 14 * 14

    def adapters(self, rank: int, part: str) -> int:
        """Parameters of the adapters on a part's layers (see `hangtag.phi3v.adapters_phi3_v`)."""
        narrow, wide, clip, inner = self.hidden, self.intermediate, self.clip_hidden, self.clip_intermediate
        both_sides = {
            "decoder": self.layers * (4 * narrow + 2 * narrow + narrow + 2 * wide + wide + narrow),
            "projector": 4 * clip + narrow + 2 * narrow,
            "clip": (self.clip_layers - 1) * (8 * clip + 2 * (clip + inner)),
        }
        return rank * both_sides[part]
