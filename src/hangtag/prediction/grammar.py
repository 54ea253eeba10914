"""What may stand next in an answer that follows its template: an automaton over bytes, and the tokens that fit it.

    literal text   its bytes, one after another
    text           a letter that is no space, then anything but control characters, up to the first place where the
                   literal text behind the field stands
    category       as text, or one of the known values
    number         -?[0-9]{1,15}([.][0-9]{1,2})?

A text ends at the first occurrence of what stands behind it, as `Template.read` takes it, so whatever the automaton
accepts is read back. Tokens of several bytes may reach from one part into the next.

Shapes: S states, V entries of the vocabulary, L bytes of its longest entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hangtag.answer import Template
from hangtag.prediction.pieces import Pieces

DEAD = -1
DIGITS, DECIMALS = 15, 2
MOST_KNOWN = 20_000
"""Bytes of known values that are held to; where a field has more, any text may stand there."""
_PRINTED = [byte for byte in range(0x20, 0x100) if byte != 0x7F]
_DIGITS = b"0123456789"

Known = Mapping[str, Sequence[str]]


class Automaton:
    """Deterministic; `table[state, byte]` [S, 256] is where it goes, `ends` [S] whether an answer may end there.

    Args:
        known: the values that a category may hold; any text where its name is missing.
        hurry: whether each part ends as soon as it can, to bring an answer to its end that has become too long. The
            states are the same.
    """

    def __init__(self, template: Template, known: Known, hurry: bool = False) -> None:
        self._hurry = hurry
        self._steps: list[dict[int, int]] = []
        self._may_end: list[bool] = []
        entry = self._state(ends=True)
        for name in reversed(template.names):
            literal, values = template.follows(name).encode(), known.get(name, ())
            if template.fields[name] == "number":
                entry = self._number(literal, entry)
            elif values and sum(len(each.encode()) + len(literal) for each in values) <= MOST_KNOWN:
                entry = self._one_of([each.encode() for each in values], literal, entry)
            else:
                entry = self._text(literal, entry)
        lead = self._chain(template.lead.encode(), entry)
        self.start = self._state()  # a tokenizer's first entry may bring a space
        self._steps[self.start] = self._steps[lead] | {ord(" "): lead}
        self.ends = np.array(self._may_end)
        self.table = np.full((len(self._steps), 256), DEAD, np.int32)
        for state, steps in enumerate(self._steps):
            self.table[state, list(steps)] = list(steps.values())

    def _state(self, ends: bool = False) -> int:
        self._steps.append({})
        self._may_end.append(ends)
        return len(self._steps) - 1

    def _chain(self, literal: bytes, entry: int) -> int:
        for byte in reversed(literal):
            state = self._state()
            self._steps[state][byte] = entry
            entry = state
        return entry

    def _text(self, literal: bytes, entry: int) -> int:
        first = self._state()
        matched = [self._state(ends=not literal) for _ in literal or b"-"]
        self._steps[first] = dict.fromkeys(_PRINTED, matched[0]) | {ord(" "): DEAD}
        if not literal:
            self._steps[matched[0]] = {} if self._hurry else dict.fromkeys(_PRINTED, matched[0])
            return first
        targets = [*matched[1:], entry]
        falls_to = 0
        for place, (state, byte) in enumerate(zip(matched, literal, strict=True)):
            # Knuth, Morris and Pratt: a state goes where the longest shorter match goes, but for its own byte.
            back = self._steps[matched[falls_to]] if place else dict.fromkeys(_PRINTED, matched[0])
            self._steps[state] = back | {byte: targets[place]}
            if place:
                falls_to = matched.index(back[byte]) if byte in back else 0
        if self._hurry:
            for state, byte, target in zip(matched, literal, targets, strict=True):
                self._steps[state] = {byte: target}
        return first

    def _one_of(self, values: Sequence[bytes], literal: bytes, entry: int) -> int:
        first = self._state()
        for value in dict.fromkeys(values):
            state, whole = first, value + literal
            if literal and whole.find(literal, 1) != len(value):
                continue  # a value that holds the template's own words could not be read back
            for place, byte in enumerate(whole):
                last = place == len(whole) - 1
                if byte not in self._steps[state]:
                    self._steps[state][byte] = entry if last and literal else self._state()
                state = self._steps[state][byte]
            self._may_end[state] |= not literal
        return first

    def _number(self, literal: bytes, entry: int) -> int:
        behind = {literal[0]: self._chain(literal[1:], entry)} if literal else {}
        decimals = [self._state(ends=not literal) for _ in range(DECIMALS)]
        point = self._state()
        self._steps[point] = dict.fromkeys(_DIGITS, decimals[0])
        for state, following in zip(decimals, [*decimals[1:], None], strict=True):
            self._steps[state] = self._more({} if following is None else dict.fromkeys(_DIGITS, following)) | behind
        digits = [self._state(ends=not literal) for _ in range(DIGITS)]
        for state, following in zip(digits, [*digits[1:], None], strict=True):
            more = {} if following is None else dict.fromkeys(_DIGITS, following)
            self._steps[state] = self._more(more | {ord("."): point}) | behind
        first, minus = self._state(), self._state()
        self._steps[minus] = dict.fromkeys(_DIGITS, digits[0])
        signed = {} if literal.startswith(b"-") else {ord("-"): minus}
        self._steps[first] = self._steps[minus] | signed
        return first

    def _more(self, steps: dict[int, int]) -> dict[int, int]:
        return {} if self._hurry else steps


class Grammar:
    """The tokens that may stand next, by an automaton's state. What a state allows is reckoned once, when first asked.

    Args:
        size: entries that the model's output has.
        stops: the tokens that end an answer.
    """

    def __init__(
        self, pieces: Pieces, template: Template, known: Known, size: int, stops: Sequence[int], device: torch.device
    ) -> None:
        self._letters, self._lengths = pieces.matrix(size)
        self._stops, self._device = list(stops), device
        self._plain, self._hurried = (Automaton(template, known, hurry) for hurry in (False, True))
        self.start = self._plain.start
        self._found: dict[tuple[int, bool], tuple[NDArray[np.int32], torch.Tensor]] = {}
        values = [max((len(each.encode()) for each in known.get(name, ())), default=1) for name in template.names]
        self.rest = len(template.text.encode()) + sum(values) + len(values)
        """Most tokens that a hurried answer still takes."""

    def allowed(self, state: int, hurry: bool = False) -> torch.Tensor:
        """Whether each token may stand next: bool [V], on the device."""
        return self._of(state, hurry)[1]

    def after(self, state: int, token: int) -> int:
        """The state behind a token that was allowed."""
        return int(self._of(state, False)[0][token])

    def _of(self, state: int, hurry: bool) -> tuple[NDArray[np.int32], torch.Tensor]:
        if (state, hurry) not in self._found:
            automaton = self._hurried if hurry else self._plain
            behind = self._walk(automaton.table, state)
            allowed = behind != DEAD
            allowed[self._stops] = bool(automaton.ends[state]) or not allowed.any()
            self._found[state, hurry] = behind, torch.from_numpy(allowed).to(self._device)
        return self._found[state, hurry]

    def _walk(self, table: NDArray[np.int32], state: int) -> NDArray[np.int32]:
        """Where each token leads, DEAD where it does not fit: [V]."""
        behind = np.where(self._lengths > 0, np.int32(state), np.int32(DEAD))
        going = np.flatnonzero(self._lengths)
        for place in range(self._letters.shape[1]):
            going = going[self._lengths[going] > place]
            behind[going] = table[behind[going], self._letters[going, place]]
            going = going[behind[going] != DEAD]
        return behind
