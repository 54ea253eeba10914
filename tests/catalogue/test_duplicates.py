"""Near duplicates: what shops do to a picture leaves its hash near, another product is far; every pair is found."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from hangtag.catalogue.duplicates import DISTANCE, alike_pictures, near_duplicates, picture_hash
from hangtag.catalogue.render import render, studio
from hangtag.catalogue.synth import invent


def product(number):
    return render(invent(number, 0)[0], *studio(np.random.default_rng([0, number, 1])), 224)


def as_jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


def apart(one, other):
    return (int(picture_hash(one), 16) ^ int(picture_hash(other), 16)).bit_count()


CHANGES = {
    "saved as a poor JPEG": lambda image: as_jpeg(image, 30),
    "half the size": lambda image: image.resize((112, 112)),
    "squeezed": lambda image: image.resize((224, 168)),
    "lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.06),
    "a pixel cut off": lambda image: image.crop((1, 1, 223, 223)),
    "grey": lambda image: image.convert("L"),
    "with an alpha channel": lambda image: image.convert("RGBA"),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda name: name.replace(" ", "-"))
def test_the_same_picture_stays_near(change):
    for number in range(12):
        assert apart(product(number), CHANGES[change](product(number))) <= DISTANCE


def test_other_products_are_far():
    hashes = [picture_hash(product(number)) for number in range(60)]
    assert near_duplicates(hashes) == []
    mirrored = product(3).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert apart(product(3), mirrored) > DISTANCE


def test_a_picture_without_structure_has_no_hash():
    assert picture_hash(Image.new("RGB", (40, 30), (90, 60, 20))) == ""
    assert picture_hash(Image.new("RGB", (1, 1))) == ""
    assert near_duplicates(["", "", ""]) == []


def groups_of(count, pairs):
    """Connected components, the obvious way."""
    groups = [{number} for number in range(count)]
    for i, j in pairs:
        if groups[i] is not groups[j]:
            groups[i] |= groups[j]
            for member in groups[j]:
                groups[member] = groups[i]
    return {frozenset(group) for group in groups}


@given(st.lists(st.integers(0, 2**9 - 1), max_size=40), st.integers(0, 2))
def test_the_pairs_hold_together_exactly_the_groups_of_all_pairs(numbers, distance):
    """Hashes of few bits, so that groups are long chains and dense clumps."""
    hashes = [f"{number << 3:064x}" for number in numbers]
    slow = [
        (i, j)
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if (numbers[i] ^ numbers[j]).bit_count() <= distance
    ]
    found = near_duplicates(hashes, distance)
    for i, j, bits in found:
        assert i < j
        assert bits == (numbers[i] ^ numbers[j]).bit_count() <= distance
    assert groups_of(len(numbers), slow) == groups_of(len(numbers), [pair[:2] for pair in found])
    assert len(found) == len(numbers) - len(groups_of(len(numbers), slow))


def test_more_hashes_than_one_block_and_a_clump_of_thousands():
    rng = np.random.default_rng(0)
    far = [rng.bytes(32).hex() for _ in range(3000)]
    clump = [f"{1 << int(bit):064x}" for bit in rng.integers(0, 256, 2000)]
    hashes = far + clump
    found = near_duplicates(hashes, 2)
    assert len(found) == len(clump) - 1
    assert min(min(i, j) for i, j, _ in found) >= len(far)


def test_pairs_are_given_by_file_name_and_told_of():
    first, other = ("0" * 64, "f" * 64)
    hashes = {"a": first, "b": other, "c": first[:-1] + "1", "d": "", "e": first}
    pairs, told = alike_pictures(hashes)
    assert sorted(map(sorted, pairs)) == [["a", "c"], ["a", "e"]]
    assert told == {"distance": DISTANCE, "pictures": 3}
    assert alike_pictures(hashes, 0)[1] == {"distance": 0, "pictures": 2}
