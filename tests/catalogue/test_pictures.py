"""Pictures: every form becomes upright RGB without metadata; whatever is wrong is an ImageError with a reason."""

import io
import random
import struct
import subprocess
import sys
import zlib

import numpy
import pytest
from PIL import Image, ImageCms

from hangtag.catalogue import pictures
from hangtag.catalogue.pictures import encode_picture, keep_picture, read_picture, sketch_picture
from hangtag.errors import ImageError

ORIENTATION = 0x0112
DAMAGED_EXIF = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + b"\x01" * 30
RED, WHITE = (255, 0, 0), (255, 255, 255)


def gradient(width=24, height=16):
    """Every pixel differs, so that a turned or mirrored picture is another picture."""
    across, down = numpy.meshgrid(numpy.linspace(0, 255, width), numpy.linspace(0, 255, height))
    return Image.fromarray(numpy.stack([across, down, 255 - across], 2).astype(numpy.uint8))


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def refusal(source, **options):
    with pytest.raises(ImageError) as error:
        read_picture(source, **options)
    assert "\n" not in str(error.value)
    return error.value


def mean_difference(image, other):
    return numpy.abs(numpy.asarray(image, float) - numpy.asarray(other, float)).mean()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP", "JPEG"])
def test_every_form_is_read_and_the_name_does_not_matter(tmp_path, form):
    options = {"lossless": True} if form == "WEBP" else {"quality": 95} if form == "JPEG" else {}
    path = tmp_path / "picture.txt"
    path.write_bytes(encoded(gradient(), form, **options))
    found = read_picture(path)
    assert (found.mode, found.size, found.info) == ("RGB", (24, 16), {})
    assert mean_difference(found, gradient()) < (4 if form == "JPEG" else 0.01)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(form, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose members that lead back
    stored = gradient() if orientation == 1 else gradient().transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    found = read_picture(encoded(stored, form, exif=exif, **options))
    assert found.size == (24, 16)
    assert mean_difference(found, gradient()) < 2
    assert not found.getexif()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_metadata_that_cannot_be_parsed_do_not_cost_the_picture():
    assert read_picture(encoded(gradient(), "JPEG", exif=DAMAGED_EXIF)).size == (24, 16)


def test_pillow_s_warnings_do_not_reach_the_user(tmp_path):
    (tmp_path / "exif.jpg").write_bytes(encoded(gradient(), "JPEG", exif=DAMAGED_EXIF))
    (tmp_path / "large.png").write_bytes(png_header(12_000, 12_000))
    code = """
from hangtag.catalogue import pictures
pictures.read_picture("exif.jpg")
try:
    pictures.read_picture("large.png")
except pictures.PictureRefused as error:
    print(error.reason)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("too-large\n", "")


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
def test_transparency_lies_on_white(form):
    image = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    image.paste((0, 0, 255, 0), (2, 0, 4, 2))
    found = read_picture(encoded(image, form, **({"lossless": True} if form == "WEBP" else {})))
    assert found.getpixel((0, 0)) == RED
    assert found.getpixel((3, 0)) == WHITE


def test_half_transparent_grey_and_palettes_lie_on_white():
    grey = read_picture(encoded(Image.new("LA", (2, 2), (0, 128)), "PNG"))
    assert grey.getpixel((0, 0)) == (127, 127, 127)
    palette = gradient().quantize(8)
    palette.info["transparency"] = palette.getpixel((0, 0))
    found = read_picture(encoded(palette, "PNG", transparency=palette.getpixel((0, 0))))
    assert found.getpixel((0, 0)) == WHITE
    opaque = read_picture(encoded(gradient().quantize(64), "GIF"))
    assert mean_difference(opaque, gradient()) < 20


@pytest.mark.parametrize(
    ("mode", "form", "value", "expected"),
    [
        ("L", "PNG", 70, (70, 70, 70)),
        ("1", "PNG", 1, WHITE),
        ("CMYK", "JPEG", (0, 255, 255, 0), RED),
        ("CMYK", "TIFF", (0, 255, 255, 0), RED),
        ("YCbCr", "TIFF", (76, 85, 255), (254, 0, 0)),
        ("I;16", "PNG", 257 * 70, (70, 70, 70)),
        ("I;16", "TIFF", 257 * 70, (70, 70, 70)),
        ("I", "TIFF", 257 * 70, (70, 70, 70)),
        ("F", "TIFF", 0.2, (51, 51, 51)),
        ("F", "TIFF", 51.0, (51, 51, 51)),
        ("F", "TIFF", float("nan"), (0, 0, 0)),
        ("F", "TIFF", -7.0, (0, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(mode, form, value, expected):
    found = read_picture(encoded(Image.new(mode, (8, 8), value), form))
    assert found.mode == "RGB"
    assert mean_difference(found, Image.new("RGB", (8, 8), expected)) <= 1


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_its_first_frame(form):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
    assert mean_difference(read_picture(data), frames[0]) < 3


def png_header(width, height):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9000, 9000), (12_000, 12_000), (60_000, 60_000)])
def test_decompression_bombs_are_refused_before_decoding(size):
    error = refusal(png_header(*size))
    assert error.reason == "too-large"
    assert "save it smaller" in str(error)


def test_the_bounds(monkeypatch):
    data = encoded(gradient(), "PNG")
    assert read_picture(data, max_pixels=24 * 16).size == (24, 16)
    assert refusal(data, max_pixels=24 * 16 - 1).reason == "too-large"
    assert read_picture(encoded(gradient(300, 3), "PNG")).size == (300, 3)
    assert refusal(encoded(gradient(301, 3), "PNG")).reason == "too-flat"
    assert refusal(encoded(gradient(3, 301), "PNG")).reason == "too-flat"
    monkeypatch.setattr(pictures, "MAX_BYTES", len(data) - 1)
    assert refusal(data).reason == "too-large"


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", "empty", "is empty"),
        (b"no picture at all", "not-a-picture", "holds no picture"),
        (b"\n <!DOCTYPE html><html></html>", "not-a-picture", "a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not-a-picture", "an SVG drawing"),
        (b"%PDF-1.7", "not-a-picture", "a PDF document"),
        (b"\0\0\0\x1cftypavif", "not-a-picture", "HEIC or AVIF"),
    ],
)
def test_what_is_no_picture_is_named(content, reason, words):
    error = refusal(content)
    assert error.reason == reason
    assert words in str(error)


def test_pillow_s_other_formats_are_not_opened():
    assert refusal(encoded(gradient(), "PPM")).reason == "not-a-picture"
    assert refusal(encoded(gradient(), "EPS")).reason == "not-a-picture"


def test_paths_that_are_no_picture(tmp_path):
    assert refusal(tmp_path / "absent.jpg").reason == "missing"
    assert refusal(tmp_path).reason == "not-a-picture"
    assert refusal("nul\0byte.jpg").reason == "missing"
    assert refusal("x" * 5000).reason == "unreadable"
    assert str(tmp_path / "absent.jpg") in str(refusal(tmp_path / "absent.jpg"))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(form, share):
    noise = Image.fromarray(numpy.random.default_rng(0).integers(0, 255, (64, 64, 3), numpy.uint8))
    data = encoded(noise, form)
    assert refusal(data[: int(len(data) * share)]).reason in ("truncated", "damaged", "not-a-picture")


def test_a_progressive_jpeg_without_its_last_scans_is_refused():
    data = encoded(gradient(200, 200), "JPEG", progressive=True)
    assert refusal(data[: data.rindex(b"\xff\xda")]).reason == "truncated"


def test_a_wrong_byte_in_a_png_never_changes_the_picture_in_silence():
    data = encoded(gradient(), "PNG")
    for place in range(len(data)):
        damaged = bytes([*data[:place], data[place] ^ 1, *data[place + 1 :]])
        try:
            assert mean_difference(read_picture(damaged), gradient()) == 0
        except ImageError:
            continue


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_only_image_errors_escape_from_damaged_files():
    """1,000 files with bytes changed, removed, repeated or cut: each is a picture or an ImageError."""
    chance = random.Random(0)
    forms = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"]
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    whole = [encoded(gradient(40, 30), form, **({} if form in ("BMP", "GIF") else {"exif": exif})) for form in forms]
    whole.append(encoded(gradient().quantize(8), "TIFF", compression="tiff_lzw"))
    whole.append(encoded(Image.new("CMYK", (16, 16)), "JPEG", progressive=True))
    refused = 0
    for data in (bytearray(data) for data in whole for _ in range(125)):
        for _ in range(chance.randint(1, 8)):
            place = chance.randrange(len(data) // 2 if chance.random() < 0.5 else len(data))
            action = chance.randrange(4)
            if action == 0:
                data[place] = chance.randrange(256)
            elif action == 1:
                del data[place : place + chance.randint(1, 8)]
            elif action == 2:
                data[place:place] = data[: chance.randint(1, 16)]
            else:
                data[place : place + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        try:
            assert read_picture(bytes(data), max_pixels=1_000_000).mode == "RGB"
        except ImageError:
            refused += 1
    assert 250 < refused < 1000


def test_encoding_bounds_the_longer_side_and_keeps_the_shape():
    found = Image.open(io.BytesIO(encode_picture(gradient(600, 400), max_side=300)))
    assert (found.format, found.mode, found.size) == ("JPEG", "RGB", (300, 200))
    assert mean_difference(found, gradient(300, 200)) < 4
    assert Image.open(io.BytesIO(encode_picture(gradient(30, 20), max_side=300))).size == (30, 20)


def test_what_is_kept_can_be_read_again_at_the_flattest():
    data, sketch = keep_picture(encoded(gradient(3990, 40), "PNG"))
    assert read_picture(data).size == sketch[:2] == (1024, 11)


def test_a_plain_jpeg_is_kept_byte_for_byte():
    data = encoded(gradient(), "JPEG", quality=60)
    assert keep_picture(data)[0] == data
    assert keep_picture(data, max_side=10)[0] != data


def test_whatever_else_a_jpeg_carries_is_dropped():
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    others = [
        encoded(gradient(), "JPEG", exif=exif),
        encoded(gradient(), "JPEG", comment=b"secret place"),
        encoded(gradient(), "JPEG", icc_profile=profile),
        encoded(gradient(), "JPEG") + b"secret place",
        encoded(gradient().convert("L"), "JPEG"),
    ]
    for data in others:
        kept = keep_picture(data)[0]
        assert kept == encode_picture(read_picture(data))
        assert b"secret" not in kept
        assert keep_picture(kept)[0] == kept


def test_a_sketch_is_the_picture_in_less_detail():
    for form in ("JPEG", "PNG"):
        data, sketch = keep_picture(encoded(gradient(1000, 700), form))
        assert sketch == sketch_picture(data)
        assert (sketch.width, sketch.height) == (1000, 700)
        assert min(sketch.greys.size) >= 128
        greys = gradient(*sketch.greys.size).convert("L")
        assert mean_difference(sketch.greys, greys) < 3
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    assert sketch_picture(encoded(gradient(40, 30), "JPEG", exif=turned))[:2] == (30, 40)


def test_a_sketch_reads_to_the_last_byte():
    """It must refuse whatever whole decoding refuses, since a kept JPEG is decoded in no other way."""
    noise = Image.fromarray(numpy.random.default_rng(0).integers(0, 255, (200, 300, 3), numpy.uint8))
    chance, refused = random.Random(1), 0
    for progressive in (False, True):
        data = encoded(noise, "JPEG", progressive=progressive)
        for _ in range(60):
            damaged = bytearray(data)
            place = chance.randrange(600, len(data))
            if chance.random() < 0.5:
                del damaged[place:]
            else:
                damaged[place : place + 40] = chance.randbytes(40)
            outcomes = []
            for read in (read_picture, keep_picture):
                try:
                    read(bytes(damaged))
                    outcomes.append("")
                except ImageError as error:
                    outcomes.append(error.reason)
            assert outcomes[0] == outcomes[1]
            refused += bool(outcomes[0])
    assert refused >= 50
