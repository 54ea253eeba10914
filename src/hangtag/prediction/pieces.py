"""Tokens and the text they stand for: which of an answer's tokens hold a field, which can go on a number or end it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Template
from hangtag.recipe.sections import END

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "▁"


class Pieces:
    """A tokenizer's entries as bytes, as Phi-3's SentencePiece vocabulary writes them.

    `▁` is a space and `<0x0A>` a byte; the text of several tokens is their bytes together, without a space in front.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @cached_property
    def _bytes(self) -> list[bytes]:
        return [_as_bytes(each) for each in self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))]

    def matrix(self, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The bytes of the first `size` tokens [size, longest], zeros behind them, and how many each has [size].

        Special tokens have none.
        """
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        texts = [b"" if token in special else self.of(token) for token in range(size)]
        lengths = np.array([len(each) for each in texts])
        letters = np.zeros((size, int(lengths.max())), np.uint8)
        for token, text in enumerate(texts):
            letters[token, : len(text)] = list(text)
        return letters, lengths

    def ends(self, ids: Sequence[int]) -> tuple[bytes, list[int]]:
        """The bytes of some tokens together, and how many of them each token has behind it [n]."""
        together, ends = b"", []
        for token in ids:
            together += self.of(token)
            ends.append(len(together))
        return together, ends

    def spans(self, template: Template, ids: Sequence[int]) -> dict[str, tuple[int, int]] | None:
        """For each field the first of an answer's tokens that holds some of it, and the one that ends it.

        The one that ends it holds the first letter behind the field: part of the literal text that follows, or the
        answer's end, which stands at len(ids). None where the answer is unreadable.
        """
        together, ends = self.ends(ids)
        text = together.decode(errors="surrogateescape")  # what is no letter keeps its length in bytes
        found = template.spans(text)
        if found is None:
            return None
        tokens = {}
        for name, (start, stop) in found.items():
            first, behind = (len(text[:place].encode(errors="surrogateescape")) for place in (start, stop))
            tokens[name] = (
                next(place for place, end in enumerate(ends) if end > first),
                next((place for place, end in enumerate(ends) if end > behind), len(ids)),
            )
        return tokens

    def starts_with(self, ids: Sequence[int], place: int, characters: bytes) -> bool:
        """Whether the token at `place` begins with one of some characters: nothing of what stands before is in it."""
        return self.of(ids[place])[:1] in [bytes([each]) for each in characters]

    def of(self, token: int) -> bytes:
        """A token's bytes; none where the model's vocabulary is larger than the tokenizer's."""
        return self._bytes[token] if token < len(self._bytes) else b""

    @cached_property
    def number_tokens(self) -> dict[str, int]:
        """The tokens that stand for one digit, the decimal point or the minus."""
        found = {each.decode(): token for token, each in enumerate(self._bytes) if re.fullmatch(rb"[0-9.-]", each)}
        return {sign: found[sign] for sign in "0123456789.-" if sign in found}

    def enders(self, literal: str, stops: Sequence[int]) -> list[int]:
        """The tokens that can stand behind a number: those that begin the literal text there, or the answer's end."""
        if not literal:
            return sorted({*stops, self.tokenizer.convert_tokens_to_ids(END)})
        wanted = literal.encode()
        return [
            token for token, each in enumerate(self._bytes)
            if each and (wanted.startswith(each) or each.startswith(wanted))
        ]  # fmt: skip


def _as_bytes(piece: str | None) -> bytes:
    if piece is None:
        return b""
    if byte := _BYTE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    return piece.replace(_SPACE, " ").encode()
