"""Pictures to crops, against the recorded reference, and what happens to pictures that are none."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hangtag.errors import ImageError, ModelError
from hangtag.phi3v import Phi3VImageProcessor, pixels_phi3_v

from .reference import GOLDEN, INDEX, picture

CASES = {case: expected for case, expected in INDEX["preprocess"]["cases"].items() if "hd_uint8_sha256" in expected}


@pytest.mark.parametrize("case", CASES)
def test_every_recorded_picture_is_equal_bit_for_bit(case: str) -> None:
    expected = CASES[case]
    name, crops = case.split("@")
    processor = Phi3VImageProcessor(num_crops=int(crops))
    canvas = processor.hd_transform(picture(name))
    assert hashlib.sha256(canvas.tobytes()).hexdigest() == expected["hd_uint8_sha256"]
    features = processor(picture(name), pad_to_num_crops=True, return_tensors="pt")
    assert list(features["pixel_values"].shape) == expected["pixel_values_shape"]
    assert hashlib.sha256(features["pixel_values"].numpy().tobytes()).hexdigest() == expected["pixel_values_f32_sha256"]
    assert features["image_sizes"].tolist() == [expected["image_size_hw"]]
    assert features["num_img_tokens"] == [expected["num_img_tokens"]]


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith("@4")])
def test_recorded_canvases_are_equal_to_the_pixel(case: str) -> None:
    with Image.open(GOLDEN / "hd" / f"{case}.png") as expected:
        canvas = Phi3VImageProcessor(num_crops=4).hd_transform(picture(case.split("@")[0]))
        assert np.array_equal(canvas, np.array(expected))


def test_recorded_pixel_values_are_equal() -> None:
    subsamples = np.load(GOLDEN / "preprocess_subsample.npz")
    full = np.load(GOLDEN / "preprocess_full.npz")
    for case in ("rgb_640x480@4", "rgb_50x50@1", "rgba_300x200@4"):
        name, crops = case.split("@")
        pixels = Phi3VImageProcessor(num_crops=int(crops))(picture(name))["pixel_values"][0].numpy()
        assert np.array_equal(pixels[:, :, 5::48, 7::48], subsamples[case])
        if case == "rgb_50x50@1":
            assert np.array_equal(pixels, full[case])
        if case == "rgb_640x480@4":
            assert np.array_equal(pixels[:1], full[f"{case}.global"])


@pytest.mark.parametrize("case", INDEX["hd_size_table"]["table"])
def test_sizes_and_token_counts_need_no_pixels(case: str) -> None:
    size, crops = case.split("@")
    width, height = map(int, size.split("x"))
    processor = Phi3VImageProcessor(num_crops=int(crops))
    canvas = processor.size_after(width, height)
    assert [*canvas, processor.num_image_tokens(*canvas)] == INDEX["hd_size_table"]["table"][case]


def test_several_pictures_share_a_batch_padded_with_empty_slots() -> None:
    processor = Phi3VImageProcessor(num_crops=4)
    pictures = [picture("rgb_100x700"), [picture("rgb_640x480"), [picture("rgb_672x336")]]]
    together = processor(pictures)
    recorded = INDEX["preprocess"]["cases"]["list[rgb_100x700,rgb_640x480]@4"]
    assert together["image_sizes"].tolist()[:2] == recorded["image_sizes"]
    assert together["num_img_tokens"][:2] == recorded["num_img_tokens"]
    assert together["pixel_values"].shape == (3, 5, 3, 336, 336)
    for place, each in enumerate([pictures[0], pictures[1][0], pictures[1][1][0]]):
        alone = processor(each)["pixel_values"][0]
        assert torch.equal(together["pixel_values"][place, : len(alone)], alone)
        assert not together["pixel_values"][place, len(alone) :].any()


SIZES = [(1, 1), (7, 300), (300, 7), (336, 336), (337, 671), (413, 512), (960, 1280), (1280, 960), (50, 1700)]


@pytest.mark.parametrize("own_bicubic", [True, False])
@pytest.mark.parametrize(
    ("num_crops", "side"), [(1, 336), (2, 336), (4, 336), (6, 336), (9, 336), (16, 336), (16, 112), (16, 28)]
)
def test_mixed_sizes_together_equal_the_slow_way_of_each_alone(
    num_crops: int, side: int, own_bicubic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow way: lay a portrait on its side, resize it in one go, normalise the whole canvas, cut it.

    The fast way is tried as it is, and as on a machine whose torch adds in another order.
    """
    if not own_bicubic:
        monkeypatch.setattr(pixels_phi3_v, "half_way_is_bicubic", lambda: False)
    generator = np.random.default_rng(num_crops)
    pictures = [Image.fromarray(generator.integers(0, 256, (h, w, 3), np.uint8)) for w, h in SIZES]
    processor = Phi3VImageProcessor(num_crops=num_crops, crop_size=side, num_img_tokens=(side // 28) ** 2)
    together = processor(pictures)
    as_bytes = processor(pictures, do_normalize=False)
    assert together["pixel_values"].dtype == torch.float32
    assert as_bytes["pixel_values"].dtype == torch.uint8
    assert torch.equal(as_bytes["image_sizes"], together["image_sizes"])
    for place, photo in enumerate(pictures):
        canvas = slow_canvas(photo, num_crops, side)
        assert together["image_sizes"][place].tolist() == list(canvas.shape[:2])
        assert np.array_equal(processor.hd_transform(photo), canvas)
        crops = processor.canvas_to_pixel_values(torch.from_numpy(canvas))
        assert torch.equal(together["pixel_values"][place, : len(crops)], crops)
        rows, columns = canvas.shape[0] // side, canvas.shape[1] // side
        tiles = canvas.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side)
        assert np.array_equal(as_bytes["pixel_values"][place, : len(tiles)].numpy(), tiles)
        assert not as_bytes["pixel_values"][place, len(tiles) :].any()


def slow_canvas(photo: Image.Image, num_crops: int, side: int) -> np.ndarray:
    """The canvas as the published code makes it, step by step."""
    upright = photo.width < photo.height
    if upright:
        photo = photo.transpose(Image.Transpose.TRANSPOSE)
    ratio, scale = photo.width / photo.height, 1
    while scale * np.ceil(scale / ratio) <= num_crops:
        scale += 1
    width = (scale - 1) * side
    height = int(width / ratio)
    resized = np.array(photo.resize((width, height), Image.Resampling.BILINEAR))
    canvas = np.full((-(-height // side) * side, width, 3), 255, np.uint8)
    top = (len(canvas) - height) // 2
    canvas[top : top + height] = resized
    return canvas.transpose(1, 0, 2) if upright else canvas


def test_one_opened_file_in_many_places_is_read_once() -> None:
    expected = Phi3VImageProcessor(num_crops=4)(picture("rgb_640x480"))["pixel_values"][0]
    with Image.open(GOLDEN / "images" / "rgb_640x480.png") as opened:
        together = Phi3VImageProcessor(num_crops=4)([opened] * 8)["pixel_values"]
    assert all(torch.equal(each, expected) for each in together)


def test_bytes_need_the_mean_that_the_model_knows() -> None:
    with pytest.raises(ModelError, match="CLIP's own image_mean"):
        Phi3VImageProcessor(image_mean=(0.5, 0.5, 0.5))(picture("rgb_50x50"), do_normalize=False)


def test_canvases_of_one_size_are_normalised_in_one_batch() -> None:
    processor = Phi3VImageProcessor(num_crops=4)
    canvases = torch.stack(
        [torch.from_numpy(processor.hd_transform(picture(name))) for name in ("rgb_640x480", "rgb_50x50")]
    )
    batched = processor.canvas_to_pixel_values(canvases)
    assert batched.shape == (2, 5, 3, 336, 336)
    assert torch.equal(batched[1], processor.canvas_to_pixel_values(canvases[1]))


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "F", "CMYK"])
def test_other_modes_and_a_single_pixel_are_pictures(mode: str) -> None:
    features = Phi3VImageProcessor(num_crops=4)(Image.new(mode, (1, 1)))
    assert features["image_sizes"].tolist() == [[672, 672]]
    assert features["num_img_tokens"] == [757]


def test_small_crops_follow_the_same_rules() -> None:
    processor = Phi3VImageProcessor(num_crops=4, crop_size=112, num_img_tokens=16)
    features = processor(picture("rgb_640x480"))
    assert features["pixel_values"].shape == (1, 5, 3, 112, 112)
    assert features["num_img_tokens"] == [5 * 16 + 1 + 3 * 4]


def as_uint8(array: np.ndarray) -> np.ndarray:
    return array


@pytest.mark.parametrize(
    "change",
    [
        as_uint8,
        torch.from_numpy,
        lambda array: torch.from_numpy(array).permute(2, 0, 1),
        lambda array: array / 255.0,
        lambda array: torch.from_numpy(array.astype(np.float32) / 255.0),
    ],
)
def test_arrays_and_tensors_of_right_shape_and_range_are_pictures(change: Callable) -> None:
    expected = picture("rgb_50x50")
    processor = Phi3VImageProcessor(num_crops=1)
    assert np.array_equal(processor.hd_transform(change(np.array(expected))), processor.hd_transform(expected))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGB", (6000, 1)), "6000x1 pixels is too flat"),
        (Image.new("RGB", (1, 6000)), "6000x1 pixels is too flat"),
        (Image.new("RGB", (0, 5)), "0x5 pixels has none"),
        (np.zeros((4, 5, 7), np.uint8), r"shape \[4, 5, 7\]"),
        (np.zeros((0, 5, 3), np.uint8), r"shape \[0, 5, 3\]"),
        (np.full((8, 8, 3), 255.0), "float64 with values from 255.0 to 255.0"),
        (np.full((8, 8, 3), -1, np.int32), "int32 with values from -1 to -1"),
        (torch.full((3, 8, 8), float("nan")), "float32 with values from nan"),
        ("photo.jpg", r"photo\.jpg is no picture file"),
        ("https://example.org/photo.jpg", r"https://example\.org/photo\.jpg is no picture file"),
        (Path(__file__), r"\.py is no picture file"),
        (Path(__file__).parent, "is no picture file"),
        (7, "int is no picture"),
        (None, "NoneType is no picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_place(image: object, message: str) -> None:
    with pytest.raises(ImageError, match=f"picture 2: .*{message}"):
        Phi3VImageProcessor(num_crops=4)([Image.new("RGB", (8, 8)), image])


def test_several_pictures_that_cannot_be_used_come_in_one_message() -> None:
    with pytest.raises(ImageError, match=r"picture 1: NoneType is no picture.*; picture 3: a picture of 6000x1"):
        Phi3VImageProcessor(num_crops=4)([None, Image.new("RGB", (8, 8)), Image.new("RGB", (6000, 1))])


def test_a_damaged_file_is_refused(tmp_path) -> None:
    whole = (GOLDEN / "images" / "rgb_640x480.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(ImageError, match="cannot be decoded"):
        Phi3VImageProcessor()(image)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ModelError, match="num_crops 0"):
        Phi3VImageProcessor()(picture("rgb_50x50"), num_crops=0)


def test_paths_and_batches_of_arrays_are_pictures() -> None:
    processor, expected = Phi3VImageProcessor(num_crops=1), picture("rgb_50x50")
    pixels = processor(expected)["pixel_values"][0]
    path = GOLDEN / "images" / "rgb_50x50.png"
    batch = torch.from_numpy(np.stack([np.array(expected)] * 2)).permute(0, 3, 1, 2)
    for images, count in ((path, 1), ([str(path), expected], 2), (batch, 2)):
        together = processor(images)["pixel_values"]
        assert len(together) == count
        assert all(torch.equal(each, pixels) for each in together)


def test_a_closed_file_is_refused() -> None:
    with Image.open(GOLDEN / "images" / "rgb_50x50.png") as closed:
        pass
    with pytest.raises(ImageError, match="picture 1: the picture cannot be decoded"):
        Phi3VImageProcessor()(closed)


def test_settings_of_a_call_count_and_foreign_ones_are_refused() -> None:
    processor, image = Phi3VImageProcessor(num_crops=4), picture("rgb_640x480")
    call = {"num_crops": 2, "crop_size": 112, "num_img_tokens": 16, "image_mean": [0.5] * 3, "pad_to_num_crops": True}
    expected = Phi3VImageProcessor(**call)(image)
    assert torch.equal(processor(image, **call)["pixel_values"], expected["pixel_values"])
    assert processor(image, **call)["num_img_tokens"] == expected["num_img_tokens"]
    same = processor(image, do_resize=True, do_rescale=None, size=None, num_crops=4)
    assert torch.equal(same["pixel_values"], processor(image)["pixel_values"])
    assert Phi3VImageProcessor(do_normalize=False)(image)["pixel_values"].dtype == torch.uint8
    for foreign in ({"do_resize": False}, {"do_rescale": False}, {"size": {"height": 5}}, {"do_center_crop": True}):
        with pytest.raises(ModelError, match=next(iter(foreign))):
            processor(image, **foreign)


@pytest.mark.parametrize("device", ["meta"])
def test_a_default_device_is_no_matter(device: str) -> None:
    pixels_phi3_v.half_way_is_bicubic.cache_clear()
    image = Image.new("RGB", (960, 1280))
    with torch.device(device):
        assert Phi3VImageProcessor(num_crops=16)(image)["pixel_values"].device.type == "cpu"


def test_no_picture_at_all_is_refused() -> None:
    with pytest.raises(ImageError, match="no picture"):
        Phi3VImageProcessor()([])


def test_saves_and_loads_with_every_setting(tmp_path) -> None:
    processor = Phi3VImageProcessor(num_crops=9, crop_size=112, num_img_tokens=16, image_mean=(0.5, 0.5, 0.5))
    processor.save_pretrained(tmp_path)
    again = Phi3VImageProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == processor.to_dict()
    assert Phi3VImageProcessor.from_pretrained(tmp_path, num_crops=2).num_crops == 2
