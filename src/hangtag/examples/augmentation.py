"""A training picture as it might have been photographed another time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from hangtag.recipe import Train


@dataclass(frozen=True)
class Augmentation:
    """Changes a canvas at random; edges are repeated outwards.

    Args:
        flip: mirror with probability one half.
        shift: largest move in either direction, as a share of the side.
        zoom: largest change of size, as a share.
        light: largest change of brightness, as a share; half as much for each colour.
    """

    flip: bool = False
    shift: float = 0.0
    zoom: float = 0.0
    light: float = 0.0

    @classmethod
    def of(cls, settings: Train) -> Augmentation | None:
        """The recipe's augmentation, None where it asks for none."""
        if not settings.augments:
            return None
        return cls(settings.flip, settings.shift, settings.zoom, settings.light)

    def __call__(self, canvas_HW3: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        """A changed copy, uint8 [H, W, 3]; `chance` decides, and nothing else."""
        coin, *draws = torch.rand(8, generator=chance).tolist()
        right, down, size, brightness, *tint = (2 * draw - 1 for draw in draws)
        mirror = -1.0 if self.flip and coin < 0.5 else 1.0
        scale = 1 + self.zoom * size
        theta = [[mirror * scale, 0.0, 2 * self.shift * right], [0.0, scale, 2 * self.shift * down]]
        pixels_13HW = canvas_HW3.permute(2, 0, 1)[None].float()
        grid = functional.affine_grid(torch.tensor([theta]), list(pixels_13HW.shape), align_corners=False)
        pixels_13HW = functional.grid_sample(pixels_13HW, grid, padding_mode="border", align_corners=False)
        gains = torch.tensor([1 + self.light * (brightness + each / 2) for each in tint])
        return (pixels_13HW[0].permute(1, 2, 0) * gains).round_().clamp_(0, 255).to(torch.uint8)
