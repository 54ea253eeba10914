"""Many texts at once, as pyarrow keeps them: folded, told apart, put below each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hangtag.catalogue.split import fold

_LONGEST_TOKEN = 8
"""A missing value's token is no longer."""
_UNEVEN = r"^ |  | $|[\x00-\x1f]"

Places = np.ndarray[Any, np.dtype[np.int64]]


def strings(texts: Iterable[str]) -> Any:
    """As pyarrow keeps texts, of any length in all."""
    return pa.array(texts, pa.large_string())


def joined_texts(*parts: Any) -> Any:
    """Texts below each other."""
    return pa.concat_arrays([part.cast(pa.large_string()) for part in parts])


def as_list(texts: Any) -> list[str]:
    """Python's own strings; quicker than `to_pylist`."""
    return texts.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


def fold_all(texts: Any) -> list[str]:
    """`fold` of every text."""
    folded = as_list(pc.utf8_lower(texts))
    plain = pc.and_(pc.string_is_ascii(texts), pc.greater(pc.utf8_length(texts), _LONGEST_TOKEN))
    plain = pc.and_not(plain, pc.match_substring_regex(texts, _UNEVEN)).to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(~plain).tolist():
        folded[place] = fold(texts[place].as_py())
    return folded


class Taken:
    """Texts that must not be given out, or not again: what the source has, what is made already, and none at all."""

    def __init__(self, known: Iterable[str]) -> None:
        self.hashes = {hash(""), *map(hash, known)}

    def admit(self, texts: Iterable[str]) -> Places:
        """Which of the texts are new, each once; they are taken from now on."""
        taken, take = self.hashes, self.hashes.add
        return np.array([each not in taken and not take(each) for each in map(hash, texts)], bool)  # type: ignore[func-returns-value]


def ragged(starts: Places, lengths: Places) -> Places:
    """The numbers start, start + 1, ... of every stretch, one stretch after the other."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(int(ends[-1]) if len(ends) else 0)
