"""Pairs of bit strings within a distance: by bands the same as by comparing all with all, and as counted bit by bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.catalogue import hamming
from hangtag.catalogue.duplicates import near_duplicates


def quiet(done, total):
    pass


def strings(count, centres, flipped, seed=0):
    """Strings of 256 bits around some centres, each bit flipped with a chance."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (centres, 256), np.uint8)[rng.integers(0, centres, count)]
    return np.packbits(bits ^ (rng.random((count, 256)) < flipped), axis=1).view(np.uint64)


def pairs(parts):
    """Each pair once, the lower place first."""
    return {(*sorted((int(i), int(j))), int(bits)) for part in parts for i, j, bits in zip(*part, strict=True)}


def slow_pairs(found, distance):
    numbers = [int.from_bytes(each.tobytes()) for each in found]
    apart = {
        (i, j, (numbers[i] ^ numbers[j]).bit_count()) for i in range(len(numbers)) for j in range(i + 1, len(numbers))
    }
    return {each for each in apart if each[2] <= distance}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 80), st.integers(1, 6), st.sampled_from([0.01, 0.05, 0.1]), st.sampled_from([0, 3, 8, 24, 60]))
def test_both_ways_find_exactly_the_pairs_within_the_distance(count, centres, flipped, distance):
    found = strings(count, centres, flipped)
    expected = slow_pairs(found, distance)
    assert pairs(hamming.all_with_all(found, distance, quiet)) == expected
    if count:
        bands = max(hamming.BANDS, distance // 2 + 1)
        assert pairs(hamming.by_bands(found, bands, distance, quiet)) == expected


@pytest.mark.parametrize("bands", [13, 26])
def test_what_the_bands_compare_is_counted_beforehand(bands, monkeypatch):
    monkeypatch.setattr(hamming, "_AT_ONCE", 50)
    found = strings(300, 40, 0.05)
    for keys in hamming.band_keys(found, bands):
        numbers = keys.tolist()
        slow = sum((one ^ other).bit_count() <= 1 for at, one in enumerate(numbers) for other in numbers[:at])
        parts = list(hamming._neighbours(keys))
        assert hamming.neighbours(keys) == slow == sum(len(one) for one, _ in parts)
        assert len(parts) > 1


def test_a_band_reaches_as_far_as_it_must():
    """24 bits, two in each of 12 bands and none in the last: what only one band finds."""
    bits = np.zeros((2, 256), np.uint8)
    bits[1, [band + row * 13 for band in range(12) for row in (0, 1)]] = 1
    found = np.packbits(bits, axis=1).view(np.uint64)
    assert pairs(hamming.by_bands(found, 13, 24, quiet)) == {(0, 1, 24)}


@pytest.mark.parametrize(("centres", "by_bands"), [(2000, True), (3, False)])
def test_many_strings_go_by_bands_unless_most_are_alike(centres, by_bands, monkeypatch):
    monkeypatch.setattr(hamming, "FEW", 1000)
    used = []
    monkeypatch.setattr(hamming, "by_bands", lambda *a, way=hamming.by_bands: used.append(1) or way(*a))
    found = strings(3000, centres, 0.02)
    hashes = [each.tobytes().hex() for each in found]
    fast = near_duplicates(hashes)
    assert bool(used) == by_bands
    monkeypatch.setattr(hamming, "FEW", 10**9)
    slow = near_duplicates(hashes)
    assert groups(3000, fast) == groups(3000, slow)
    assert len(fast) == len(slow) == 3000 - len(set(groups(3000, slow)))


def groups(count, found):
    """Each place's lowest fellow."""
    lowest = list(range(count))
    for i, j, _ in found:
        low, high = sorted((lowest[i], lowest[j]))
        lowest = [low if each == high else each for each in lowest] if low != high else lowest
    return lowest
