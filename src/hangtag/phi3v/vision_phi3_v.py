"""The picture side of Phi-3-vision: crops through CLIP, merged, joined with separators, projected and counted.

Shapes: B rows, T tokens, N pictures, C crops of all pictures together, S crop side in pixels, G token rows of a crop,
P CLIP's patches of a crop and its class token, V CLIP's width, D the decoder's width.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPEncoder, CLIPPreTrainedModel, CLIPVisionEmbeddings

from hangtag.errors import ModelError
from hangtag.phi3v.configuration_phi3_v import Phi3VConfig
from hangtag.phi3v.pixels_phi3_v import tiles_to_crops

BEYOND_NORMALISED = 16  # white is 2.1 after CLIP's normalisation, and a bicubic overview overshoots a little
WAY_OUT = "let the processor make input_ids, pixel_values and image_sizes together"


class Phi3VVisionTransformer(nn.Module):
    """CLIP's parts under their published names, the last layer and `post_layernorm` included, which are never used."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.embeddings = CLIPVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = CLIPEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class Phi3VVisionTower(CLIPPreTrainedModel):
    """CLIP's vision tower under the checkpoint's own names, `vision_model.` included.

    transformers' `CLIPVisionModel` drops that prefix in the live model and puts it back in files, by a table looked up
    by class name. Here a tensor is called the same in the model, in the file and in the published folder, so plain
    `load_state_dict`, adapters and sharded training need no such table.
    """

    config_class = CLIPVisionConfig
    config: CLIPVisionConfig
    main_input_name = "pixel_values"

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        self.vision_model = Phi3VVisionTransformer(config)
        self.post_init()

    def _initialize_weights(self, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        """As for transformers' own classes; for others it passes over modules without weights of their own, such as
        CLIP's attention, whose weights then keep the plain deviation."""
        super()._initialize_weights(module)

    def forward(self, pixel_values: torch.Tensor, num_layers: int) -> torch.Tensor:
        """Hidden state [C, P, V] above the first `num_layers` layers, of crops [C, 3, S, S]; no more is computed."""
        clip, layers = self.vision_model, self.vision_model.encoder.layers[:num_layers]
        hidden_CPV: torch.Tensor = clip.pre_layrnorm(clip.embeddings(pixel_values))
        if self.training and not hidden_CPV.requires_grad and any(layer.gradient_checkpointing for layer in layers):
            # Re-entrant checkpointing silently gives no gradient to a layer whose input has none.
            hidden_CPV.requires_grad_(any(weight.requires_grad for weight in layers.parameters()))
        for layer in layers:
            hidden_CPV = layer(hidden_CPV, attention_mask=None)
        return hidden_CPV


class Phi3VImageEmbedding(nn.Module):
    """CLIP, the 2x2 merge, the separators and the projection: crops in, one feature per picture token out."""

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__()
        self.config = config
        width = 4 * config.vision_config.hidden_size
        self.img_processor = Phi3VVisionTower._from_config(config.vision_config)
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, width))
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.img_projection = nn.Sequential(
            nn.Linear(width, config.hidden_size), nn.GELU(), nn.Linear(config.hidden_size, config.hidden_size)
        )

    def grids(self, image_sizes_N2: torch.Tensor) -> list[tuple[int, int]]:
        """Rows and columns of tiles of every picture.

        Raises:
            ModelError: a size is no multiple of the crop side.
        """
        side, sizes = self.config.crop_size, image_sizes_N2.reshape(-1, 2).tolist()
        for picture, (height, width) in enumerate(sizes):
            if height % side or width % side or height < side or width < side:
                raise ModelError(
                    f"picture {picture + 1}: image_sizes says {height}x{width}, no multiple of the crop side {side}; "
                    + WAY_OUT
                )
        return [(height // side, width // side) for height, width in sizes]

    def num_tokens(self, rows: int, columns: int) -> int:
        """Tokens of a picture of `rows` x `columns` tiles."""
        grid = self.config.crop_grid
        return (rows * columns + 1) * grid * grid + 1 + (rows + 1) * grid

    def gather_crops(self, pixel_values: torch.Tensor, grids: Sequence[tuple[int, int]]) -> torch.Tensor:
        """The crops that hold a picture [C, 3, S, S]; the slots filled with zeros are left out.

        Args:
            pixel_values: [N, slots, 3, S, S], or already [C, 3, S, S]. Bytes hold the tiles alone; they are normalised
                here, on their device, and the global views made.

        Raises:
            ModelError: pictures or crops differ in number from what `grids` says, have another side, or are not
                normalised.
        """
        as_bytes = pixel_values.dtype == torch.uint8
        counts = [rows * columns + (not as_bytes) for rows, columns in grids]
        side = self.config.crop_size
        if pixel_values.ndim not in (4, 5) or pixel_values.shape[-3:] != (3, side, side):
            raise ModelError(
                f"pixel_values has shape {list(pixel_values.shape)}; it must be [pictures, crops, 3, {side}, {side}]"
            )
        if not as_bytes and pixel_values.numel() and pixel_values.amax() > BEYOND_NORMALISED:
            raise ModelError(
                f"pixel_values reaches {float(pixel_values.amax()):.0f}, beyond any normalised picture; they are bytes "
                "that were cast, or were never normalised: " + WAY_OUT
            )
        if pixel_values.ndim == 4:
            if len(pixel_values) != sum(counts):
                raise ModelError(
                    f"pixel_values holds {len(pixel_values)} crops, image_sizes asks for {sum(counts)}; {WAY_OUT}"
                )
            return tiles_to_crops(pixel_values, grids) if as_bytes else pixel_values
        if len(pixel_values) != len(counts):
            raise ModelError(f"pixel_values holds {len(pixel_values)} pictures, image_sizes {len(counts)}; {WAY_OUT}")
        slots = pixel_values.shape[1]
        for picture, count in enumerate(counts):
            if count > slots:
                raise ModelError(
                    f"picture {picture + 1}: pixel_values holds {slots} crops, image_sizes asks for {count}; {WAY_OUT}"
                )
        crops = torch.cat([each[:count] for each, count in zip(pixel_values, counts, strict=True)])
        return tiles_to_crops(crops, grids) if as_bytes else crops

    def encode_crops(self, crops_C3SS: torch.Tensor) -> torch.Tensor:
        """CLIP's features of crops, merged two by two: [C, G * G, 4 V]. CLIP's unused top is not computed."""
        hidden_CPV: torch.Tensor = self.img_processor(crops_C3SS, self.config.vision_layers)
        grid = self.config.crop_grid
        patches = hidden_CPV[:, 1:].view(len(hidden_CPV), grid, 2, grid, 2, -1)
        return patches.permute(0, 1, 3, 2, 4, 5).reshape(len(hidden_CPV), grid * grid, -1)

    def assemble(self, crop_features: torch.Tensor, grids: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Per picture the tiles' token rows, a separator and the global view's, each row ended by a newline.

        Args:
            crop_features: [C, G * G, 4 V], per picture the global view and then the tiles row by row.

        Returns:
            [tokens, 4 V] of all pictures, one after another.

        Raises:
            ModelError: the crops differ in number from what `grids` says.
        """
        width = crop_features.shape[-1]
        counts = [1 + rows * columns for rows, columns in grids]
        if len(crop_features) != sum(counts):
            raise ModelError(f"crop_features holds {len(crop_features)} crops, image_sizes asks for {sum(counts)}")
        features, separators, first = [], [], 0
        for rows, columns in grids:
            of_features, separator = token_places(rows, columns, self.config.crop_grid)
            features.append(of_features + first)
            separators.append(first + separator)
            first += self.num_tokens(rows, columns)
        # One copy for all pictures, into newlines everywhere; in backward each feature reads its own place. Unlike
        # index_copy it does not keep the features for that.
        places = torch.from_numpy(np.concatenate([*features, separators])).to(crop_features.device)
        placed = torch.cat([crop_features.flatten(0, 1), self.glb_GN[0].expand(len(grids), width)])
        return self.sub_GN[0, 0].expand(first, width).index_put((places,), placed)

    def forward(
        self,
        grids: Sequence[tuple[int, int]],
        crops_C3SS: torch.Tensor | None = None,
        crop_features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Features of all pictures, one after another [tokens, D], from crops or from what `encode_crops` made of them.

        The separators are projected too.
        """
        if crop_features is None:
            assert crops_C3SS is not None
            crop_features = self.encode_crops(crops_C3SS)
        features: torch.Tensor = self.img_projection(self.assemble(crop_features.to(self.glb_GN), grids))
        return features

    def nothing(self) -> torch.Tensor:
        """Zero, by way of a blank picture and all weights.

        Processes that share a sharded module's weights must call it equally often; one that has no picture calls this.
        """
        side = self.config.crop_size
        blank_C3SS = torch.zeros(2, 3, side, side, device=self.glb_GN.device)
        nothing: torch.Tensor = self([(1, 1)], blank_C3SS).sum() * 0
        return nothing


@functools.lru_cache(maxsize=256)
def token_places(rows: int, columns: int, grid: int) -> tuple[np.ndarray, int]:
    """Where a picture's features stand among its tokens, int64 [crops * G * G], crop by crop, and its separator.

    Every other place is a newline's.
    """
    place = np.arange(rows * grid * (columns * grid + 1)).reshape(rows * grid, -1)
    tiles = place[:, :-1].reshape(rows, grid, columns, grid).swapaxes(1, 2)
    separator = place.size
    overview = separator + 1 + np.arange(grid * (grid + 1)).reshape(grid, -1)[:, :-1]
    return np.concatenate([overview.ravel(), tiles.ravel()]), separator


def images_per_row(input_ids_BT: torch.Tensor, tokens: Sequence[int], image_token_id: int) -> list[int]:
    """How many pictures each row holds, after checking that every picture finds exactly its places.

    Every run of `image_token_id` must be filled by whole pictures, in order, row after row.

    Args:
        tokens: how many places each picture needs.

    Raises:
        ModelError: with the row and both counts, where places and pictures differ.
    """
    per_row, used = [], 0
    for row, places in enumerate((input_ids_BT == image_token_id).cpu().numpy().astype("int8")):
        edges = places.copy()
        edges[1:] -= places[:-1]
        starts = (edges == 1).nonzero()[0].tolist()
        ends = [*(edges == -1).nonzero()[0].tolist(), len(places)]
        first = used
        for start, end in zip(starts, ends, strict=False):
            filled = 0
            while filled < end - start:
                if used == len(tokens):
                    raise ModelError(
                        f"row {row}: {int(places.sum())} picture places, but its pictures fill {sum(tokens[first:])} "
                        f"({len(tokens) - first} pictures are left for the row); {WAY_OUT}"
                    )
                filled += tokens[used]
                used += 1
            if filled != end - start:
                raise ModelError(
                    f"row {row}: {end - start} picture places stand together where picture {used} of the batch needs "
                    f"{tokens[used - 1]}, ending at {filled}; {WAY_OUT}"
                )
        per_row.append(used - first)
    if used != len(tokens):
        raise ModelError(
            f"row {len(per_row) - 1}: the batch has places for {used} pictures, but {len(tokens)} pictures were given; "
            + WAY_OUT
        )
    return per_row


__all__ = ["Phi3VImageEmbedding", "images_per_row"]
