"""Where pictures' features stand among their tokens."""

import torch


def one_picture_after_another(vision, crop_features, grids):
    """The slow, obvious `assemble`."""
    grid, width, pictures = vision.config.crop_grid, crop_features.shape[-1], []
    counts = [1 + rows * columns for rows, columns in grids]
    for (rows, columns), crops in zip(grids, crop_features.split(counts), strict=True):
        tiles = crops[1:].view(rows, columns, grid, grid, width)
        tiles = tiles.permute(0, 2, 1, 3, 4).reshape(rows * grid, columns * grid, width)
        lines = [
            torch.cat([part, vision.sub_GN[0].expand(len(part), 1, width)], dim=1).flatten(0, 1)
            for part in (tiles, crops[0].view(grid, grid, width))
        ]
        pictures.append(torch.cat([lines[0], vision.glb_GN[0], lines[1]]))
    return torch.cat(pictures)


def test_pictures_are_assembled_in_one_copy_as_one_after_another(build):
    vision = build().model.vision_embed_tokens
    grids = [(1, 1), (2, 3), (3, 1), (1, 4), (2, 3)]
    crops = sum(1 + rows * columns for rows, columns in grids)
    width = 4 * vision.config.vision_config.hidden_size
    features = torch.randn(crops, vision.config.crop_grid**2, width, generator=torch.Generator().manual_seed(0))
    found = []
    for assemble in (vision.assemble, lambda *given: one_picture_after_another(vision, *given)):
        leaf = features.clone().requires_grad_()
        out = assemble(leaf, grids)
        weights = torch.arange(out.numel(), dtype=torch.float32).view_as(out) / out.numel()
        grads = torch.autograd.grad((out * weights).sum(), [leaf, vision.sub_GN, vision.glb_GN])
        found.append((out, *grads))
    assert len(found[0][0]) == sum(vision.num_tokens(*each) for each in grids)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    for one, other in zip(found[0][2:], found[1][2:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
