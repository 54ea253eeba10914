"""From a canvas to a photograph: texture, light from a side, shadow, backdrop, and the camera's own faults.

Legend: HW is a map with one value per pixel; heights are in frames, so that slopes do not depend on the size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from hangtag.catalogue.render.canvas import CELLS, OVERSAMPLE, Canvas
from hangtag.catalogue.render.materials import TILE, pattern_tile, texture_tile, tile_scale, waves
from hangtag.catalogue.render.palette import RGB
from hangtag.catalogue.render.patterns import Field

BACKDROPS = (
    (222, 222, 224),
    (206, 211, 218),
    (224, 214, 200),
    (218, 203, 200),
    (200, 210, 200),
    (214, 206, 222),
    (190, 192, 198),
)


@dataclass(frozen=True)
class Scene:
    """The studio for one picture.

    side: -1 (light from the left) to 1; elevation: 0..1, how much the light comes from above; exposure: a factor;
    warmth: -1..1; backdrop: an index of BACKDROPS, or a colour; spot: how much more light the backdrop gets behind the
    product, 0 for an even light; phase: where on its cloth the texture and the pattern start, x and y each, in frames;
    blur: the share of a pixel's light that its neighbours get; noise: 0..1; noise_at: where in the noise map to read,
    row and column.
    """

    side: float = -1.0
    elevation: float = 0.7
    exposure: float = 1.0
    warmth: float = 0.0
    backdrop: int | RGB = 0
    spot: float = 0.0
    phase: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    blur: float = 0.4
    noise: float = 0.5
    noise_at: tuple[int, int] = (0, 0)


def photograph(canvas: Canvas, scene: Scene, floor: bool, pattern_scale: float) -> Image.Image:
    """The finished picture, RGB, `canvas.size` pixels square."""
    size, material = canvas.size, canvas.material
    albedo = _bands(canvas.colour.reduce(OVERSAMPLE))
    height_image, *others = canvas.surface.reduce(OVERSAMPLE).split()
    cloth, metal, cover = (np.asarray(band, np.float32) / 255 for band in others)
    _print_pattern(albedo, cloth, canvas, scene, pattern_scale)
    tile = texture_tile(canvas.look.material, tile_scale(size))
    relief = np.asarray(_sample(tile, canvas, scene.phase[:2], 1.0), np.float32) * (cloth / 255)

    small_cover, small_height = _coarse(others[2]), _coarse(height_image)
    height, crevice = _soft_shape(canvas, small_cover, small_height, scene, size)
    height += np.asarray(height_image.filter(ImageFilter.BoxBlur(0.006 * size)), np.float32) * (0.040 / 255)
    height += relief * material.relief
    diffuse, glance = _light(height, scene, size, canvas.shiny)

    shade = material.mottle * (relief - 0.62 * cloth)
    shade += 1 - crevice
    shade *= diffuse
    if canvas.shiny:
        shade += metal * (diffuse - 1) * 0.9
        glance *= cloth * (255 * material.gloss) + metal * 190
    if material.nap:
        glance += relief * material.nap
    if material.spark:
        glance += np.clip(relief * 7 - 6, 0, 1) * material.spark
    if material.sheen:
        glance += cloth * _sheen(scene, size, 230 * material.sheen)
    if material.drape:
        glance += cloth * np.maximum(-crevice, 0) * (170 * material.drape)
    backdrop = _backdrop(small_cover, scene, floor, size) * (1 - cover)
    return _expose(albedo, shade, glance, backdrop, scene, size)


def _bands(image: Image.Image) -> list[Field]:
    return [np.asarray(band, np.float32) for band in image.split()]


def _print_pattern(albedo: list[Field], cloth: Field, canvas: Canvas, scene: Scene, pattern_scale: float) -> None:
    """Mix the second colour into the cloth, in place."""
    tile = pattern_tile(canvas.look.pattern, tile_scale(canvas.size))
    if tile is not None:
        share = np.asarray(_sample(tile, canvas, scene.phase[2:], pattern_scale), np.float32) * cloth
        for band, base, second in zip(albedo, canvas.base, canvas.second, strict=True):
            band += share * ((second - base) / 255)


def _sample(tile: Image.Image, canvas: Canvas, phase: tuple[float, ...], repeat: float) -> Image.Image:
    """A tile seen through the pose; `repeat` above 1 makes it finer, `phase` shifts it."""
    size, scale = canvas.size, tile_scale(canvas.size)
    a, b = (each.astype(np.float64) for each in canvas.pose.matrix())
    inverse = np.linalg.inv(a) * repeat
    start = (TILE / 2 + np.array(phase) - 0.5 * repeat - inverse @ b) * scale
    inverse *= scale / size
    data = (*inverse[0].tolist(), float(start[0]), *inverse[1].tolist(), float(start[1]))
    way = Image.Resampling.NEAREST if scale >= 2 * size else Image.Resampling.BILINEAR
    return tile.transform((size, size), Image.Transform.AFFINE, data, way)


@lru_cache(maxsize=8)
def _kernel(sigma: float) -> Field:
    """(CELLS, CELLS): multiplied from both sides, it blurs a coarse map with a Gaussian of `sigma` frames."""
    at = np.arange(CELLS, dtype=np.float32) / CELLS
    k = np.exp(-0.5 * ((at[:, None] - at[None]) / sigma) ** 2)
    kernel: Field = k / k.sum(1).max()
    return kernel


def _blur(coarse: Field, sigma: float) -> Field:
    blurred: Field = _kernel(sigma) @ coarse @ _kernel(sigma)
    return blurred


def _coarse(band: Image.Image) -> Field:
    return np.asarray(band.resize((CELLS, CELLS), Image.Resampling.BOX), np.float32) / 255


def _grow(coarse: Field, size: int, way: Image.Resampling = Image.Resampling.BILINEAR) -> Field:
    return np.array(Image.fromarray(coarse).resize((size, size), way))


def _soft_shape(canvas: Canvas, cover: Field, height: Field, scene: Scene, size: int) -> tuple[Field, Field]:
    """HW: the rounded body of the product with its folds; HW: how much light a place loses to what is above it."""
    body = 0.15 * _blur(cover, 0.075) + 0.06 * _blur(cover, 0.028)
    body += 0.045 * _blur(np.asarray(canvas.folds, np.float32) / 128 - 1, 0.016)
    crevice = np.clip(1.3 * (_blur(height, 0.028) - height - 0.04), 0, 0.5) * cover
    if canvas.material.rim:
        crevice += canvas.material.rim * np.clip(1.55 - 1.6 * _blur(cover, 0.035), 0.15, 1)
    if canvas.material.drape:
        crevice -= canvas.material.drape * _drape(canvas, scene)
    return _grow(body, size, Image.Resampling.BICUBIC), _grow(crevice, size)


def _drape(canvas: Canvas, scene: Scene) -> Field:
    """(CELLS, CELLS): how much brighter, or below 0 darker, the waves of satin make a place."""
    x, y = _frame(CELLS)
    a, b = canvas.pose.matrix()
    inverse = np.linalg.inv(a)
    u, v = (row[0] * (x + 0.5 - b[0]) + row[1] * (y + 0.5 - b[1]) for row in inverse)
    crest = waves(u + 2.6 * scene.phase[0], v + 2.6 * scene.phase[1])
    drape: Field = np.where(crest > 0, 0.45, 0.62) * crest
    return drape.astype(np.float32)


def _light(height: Field, scene: Scene, size: int, shiny: bool) -> tuple[Field, Field]:
    """HW: diffuse light, 1 on a flat place; HW: highlights, 0..1, or all 0 where nothing shines."""
    light = np.array([0.62 * scene.side, -0.35 - 0.3 * scene.elevation, 0.85], np.float32)
    light /= np.linalg.norm(light)
    height *= -0.5 * size
    x, y = np.zeros_like(height), np.zeros_like(height)
    np.subtract(height[:, 2:], height[:, :-2], out=x[:, 1:-1])
    np.subtract(height[2:], height[:-2], out=y[1:-1])
    length = x * x
    length += y * y
    length += 1
    np.sqrt(length, out=length)
    diffuse = x * light[0]
    diffuse += y * light[1]
    diffuse += light[2]
    diffuse /= length
    glance = np.zeros_like(diffuse)
    if shiny:
        half = float(np.hypot(np.hypot(light[0], light[1]), light[2] + 1))
        np.divide(1 / half, length, out=glance)
        glance += diffuse / half
        np.maximum(glance, 0, out=glance)
        for _ in range(4):
            glance *= glance
    np.maximum(diffuse, 0, out=diffuse)
    diffuse *= 0.58 / light[2]
    diffuse += 0.42
    return diffuse, glance


@lru_cache(maxsize=4)
def _frame(size: int) -> tuple[Field, Field]:
    """(1, W) and (H, 1): the frame's coordinates, -0.5..0.5."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    return line[None], line[:, None]


def _sheen(scene: Scene, size: int, strength: float) -> Field:
    """HW: a slanting band of reflected light and a narrow one beside it, as from a studio window."""
    x, y = _frame(size)
    across = x * (0.9 * scene.side) - 0.45 * y
    bands = np.zeros_like(across)
    for middle, half_width, part in ((-0.03, 0.026, 1.0), (0.14, 0.034, 1.0)):
        t = across - middle
        t *= 1 / half_width
        t *= t
        t *= t
        t += 1
        bands += (strength * part) / t
    return bands


def _expose(albedo: list[Field], shade: Field, shine: Field, backdrop: Field, scene: Scene, size: int) -> Image.Image:
    """Product and backdrop on one sensor: the light's tint, a slightly soft lens, noise."""
    tints = (1 + 0.035 * scene.warmth, 1.0, 1 - 0.045 * scene.warmth)
    ground = BACKDROPS[scene.backdrop] if isinstance(scene.backdrop, int) else scene.backdrop
    noise = _noise_map(size)
    picture = np.empty((size, size, 3), np.uint8)
    for i, (value, tint) in enumerate(zip(albedo, tints, strict=True)):
        value *= shade
        value += shine
        value += backdrop * ground[i]
        _soften(value, scene.blur)
        value *= scene.exposure * tint
        top, left = scene.noise_at[0] + 5 * i, scene.noise_at[1] + 11 * i
        value += noise[top : top + size, left : left + size] * (1 + 2.5 * scene.noise)
        picture[..., i] = np.clip(value, 0, 255, out=value)
    return Image.fromarray(picture)


def _soften(value: Field, share: float) -> None:
    """Give `share` of every pixel to its four neighbours, in place."""
    for whole in (value.T, value):
        beside = whole[2:] + whole[:-2]
        beside *= share / 4
        middle = whole[1:-1]
        middle *= 1 - share / 2
        middle += beside


def _backdrop(cover: Field, scene: Scene, floor: bool, size: int) -> Field:
    """HW: the light on the backdrop, with the product's soft shadow, about 1."""
    x, y = _frame(CELLS)
    light = 1.0 + 0.10 * scene.side * x - 0.10 * y - 0.35 * (x * x + y * y)
    if scene.spot:
        light += scene.spot * np.exp(-(x * x + y * y) / 0.075)
    shadow = 0.42 * _moved(_blur(cover, 0.012), -0.012 * scene.side, 0.012)
    far = _blur(cover, 0.045)
    shadow += 0.34 * _moved(far, -0.05 * scene.side, 0.045)
    if floor:
        rows = np.flatnonzero(cover.max(1) > 0.5)
        bottom = (rows[-1] if len(rows) else CELLS - 1) / CELLS - 0.5
        light -= 0.07 / (1 + np.exp((bottom - 0.10 - y) / 0.012))
        across = _blur(cover[max(0, rows[-1] - CELLS // 8) : rows[-1]].max(0, keepdims=True).repeat(CELLS, 0), 0.03)
        fall = np.exp(-(((y - bottom - 0.01) / 0.032) ** 2))
        shadow = 0.5 * shadow + 0.5 * fall * across[CELLS // 2]
    return _grow(light * (1 - np.minimum(shadow, 0.75)), size)


def _moved(field: Field, x: float, y: float) -> Field:
    """`field` moved by a part of its side; what leaves one edge does not come back at the other."""
    dx, dy = round(x * len(field)), round(y * len(field))
    padded = np.pad(field, ((abs(dy), abs(dy)), (abs(dx), abs(dx))))
    return padded[abs(dy) - dy :, abs(dx) - dx :][: len(field), : len(field)]


NOISE_ROOM = 256


@lru_cache(maxsize=2)
def _noise_map(size: int) -> Field:
    """Unit camera noise, somewhat larger than the picture, the same in every process."""
    side = size + NOISE_ROOM + 32
    return np.random.default_rng(20).standard_normal((side, side), dtype=np.float32)
