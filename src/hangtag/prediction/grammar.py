"""What may stand next in an answer that follows its template: an automaton over bytes, and the tokens that fit it.

    literal text   its bytes, one after another
    text           a letter that is no space, then letters and plain spaces, whole ones in UTF-8, up to the first
                   place where the literal text behind the field stands
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
_PRINTED = range(0x20, 0x7F)
_FOLLOWS = range(0x80, 0xC0)
# First bytes of letters in UTF-8, which second bytes may follow, and how many more (RFC 3629, section 4).
_LEADS = [
    (range(0xC2, 0xE0), _FOLLOWS, 0),
    ([0xE0], range(0xA0, 0xC0), 1),
    ([*range(0xE1, 0xED), 0xEE, 0xEF], _FOLLOWS, 1),
    ([0xED], range(0x80, 0xA0), 1),
    ([0xF0], range(0x90, 0xC0), 2),
    (range(0xF1, 0xF4), _FOLLOWS, 2),
    ([0xF4], range(0x80, 0x90), 2),
]
_OTHER_SPACES = [each for each in map(chr, range(0x80, 0x3001)) if each.isspace()]
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
        self._shared: set[int] = set()
        self._letters_to: dict[int, dict[int, int]] = {}
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
                entry = self._text(template.follows(name), entry)
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

    def _text(self, literal: str, entry: int) -> int:
        """Knuth, Morris and Pratt over letters: `matched[n]` is where n letters of the literal text have just stood."""
        first = self._state()
        matched = [self._state(ends=not literal) for _ in literal or "-"]
        self._steps[first] = self._any_letter(matched[0])
        del self._steps[first][ord(" ")]
        for space in _OTHER_SPACES:
            self._letter(first, space, DEAD)
        targets = [*matched[1:], entry]
        goes: list[dict[str, int]] = []
        falls_to = 0
        for place, letter in enumerate(literal):
            back = goes[falls_to] if place else {}
            goes.append(back | {letter: targets[place]})
            falls_to = matched.index(back.get(letter, matched[0])) if place else 0
        for place, state in enumerate(matched):
            self._steps[state] = self._any_letter(matched[0])
            for letter in [*_OTHER_SPACES, *(goes[place] if literal else ())]:
                self._letter(state, letter, goes[place].get(letter, DEAD) if literal else DEAD)
        if self._hurry:
            for place, state in enumerate(matched):
                self._only(state, literal[place : place + 1].encode())
        return first

    def _any_letter(self, target: int) -> dict[int, int]:
        """Steps of one whole letter, printed or beyond ASCII, to `target`."""
        if target not in self._letters_to:
            rest = [target]
            for _ in range(2):
                rest.append(self._state())
                self._steps[rest[-1]] = dict.fromkeys(_FOLLOWS, rest[-2])
            steps = dict.fromkeys(_PRINTED, target)
            for leads, seconds, more in _LEADS:
                second = self._state()
                self._steps[second] = dict.fromkeys(seconds, rest[more])
                self._shared.add(second)
                steps |= dict.fromkeys(leads, second)
            self._shared |= {*rest[1:]}
            self._letters_to[target] = steps
        return dict(self._letters_to[target])

    def _letter(self, state: int, letter: str, target: int) -> None:
        """Let one letter lead elsewhere than the others from a state; states on its way become the state's own."""
        *before, last = letter.encode()
        for byte in before:
            there = self._steps[state].get(byte, DEAD)
            if there == DEAD or there in self._shared:
                own = self._state()
                self._steps[own] = dict(self._steps[there]) if there != DEAD else {}
                self._steps[state][byte] = there = own
            state = there
        self._steps[state][last] = target

    def _only(self, state: int, letters: bytes) -> None:
        """Let nothing else follow a state, whole letters that have begun aside."""
        for byte in letters:
            step = self._steps[state][byte]
            self._steps[state] = {byte: step}
            state = step
        if not letters:
            self._steps[state] = {}

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
