"""From written answers to readings: confidence, distributions of numbers, how likely the true values were."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from hangtag.answer import Template, Value, written
from hangtag.prediction.branches import Answers
from hangtag.prediction.hypotheses import BEAMS, Hypotheses
from hangtag.prediction.numbers import NODES, Alphabet, distributions
from hangtag.prediction.pieces import Pieces
from hangtag.prediction.tree import Tree
from hangtag.reading import Distribution, Reading
from hangtag.recipe.sections import END

LONGER = 8
"""How many tokens a prefix may be longer than the longest answer that was written."""

Values = Mapping[str, Value]


@dataclass(frozen=True)
class Continuation:
    """A branch that is judged: the tokens of an answer with another value in one place.

    ids: the whole answer's. It grows from the written one behind `shared` equal tokens; those from `first` to `last`
    are judged: the value, and what ends it.
    """

    row: int
    field: str
    ids: list[int]
    shared: int
    first: int
    last: int


class Judge:
    """Reads what a model holds likely out of its answers' cache; one for a model, its tokenizer and its template."""

    def __init__(
        self, pieces: Pieces, template: Template, stops: Sequence[int], nodes: int = NODES, beams: int = BEAMS
    ) -> None:
        self.pieces, self.template, self.nodes, self.beams = pieces, template, nodes, beams
        self.alphabets = {
            name: self._alphabet(template.follows(name), stops)
            for name in template.names
            if template.fields[name] == "number"
        }

    def _alphabet(self, literal: str, stops: Sequence[int]) -> Alphabet:
        """A sign that the literal text behind a number begins with is taken for that text."""
        signs = {sign: token for sign, token in self.pieces.number_tokens().items() if not literal.startswith(sign)}
        return Alphabet(signs, self.pieces.enders(literal, stops))

    def readings(
        self, answers: Answers, texts: Sequence[str | None], truths: Sequence[Values] | None = None
    ) -> list[Reading]:
        """A reading for each row of a batch; its cache is as before at the end.

        Args:
            texts: the rows' decoded answers.
            truths: each row's true values, to be judged too.
        """
        spans = [None if new is None else self.pieces.spans(self.template, new) for new in answers.new]
        numbers = {name: self._numbers(name, answers) for name in self.alphabets}
        judged = self.truths(answers, truths) if truths is not None else [{} for _ in texts]
        return [
            Reading(
                text,
                self.confidence(answers.log_probs[row], spans[row]),
                {name: found for name in numbers if spans[row] and (found := numbers[name][row]) is not None},
                judged[row],
            )
            for row, text in enumerate(texts)
        ]

    def confidence(self, log_probs: Sequence[float], spans: Mapping[str, tuple[int, int]] | None) -> dict[str, float]:
        return {
            name: math.exp(min(math.fsum(log_probs[first : last + 1]), 0.0))
            for name, (first, last) in (spans or {}).items()
            if self.template.fields[name] != "number"
        }

    def _numbers(self, name: str, answers: Answers) -> list[Distribution | None]:
        """The number's distribution in each row with a readable answer."""
        alphabet, tree = self.alphabets[name], Tree(answers)
        hypotheses = Hypotheses(self.pieces, self.template, name, list(alphabet.signs.values()), self.beams)
        longest = max((len(new) for new in answers.new if new is not None), default=0)
        prefixes = hypotheses.prefixes(tree, longest + LONGER)
        found = distributions(tree, prefixes, alphabet, self.nodes)
        answers.growth.forget()
        return found

    def truths(self, answers: Answers, truths: Sequence[Values]) -> list[dict[str, float]]:
        """Each field's log probability of its true value, behind what the model itself wrote before it.

        Where the answer is unreadable there is nothing to stand behind: the true answer as a whole is judged.
        """
        spans = [None if new is None else self.pieces.spans(self.template, new) for new in answers.new]
        branches = [
            each for row, truth in enumerate(truths) for each in self._continuations(answers, row, spans[row], truth)
        ]
        found = branch_log_probs(answers, branches)
        judged: list[dict[str, float]] = [{} for _ in truths]
        for branch, log_probs in zip(branches, found, strict=True):
            shared = answers.log_probs[branch.row][branch.first : branch.shared]
            judged[branch.row][branch.field] = math.fsum([*shared, *log_probs])
        return judged

    def _continuations(
        self, answers: Answers, row: int, spans: Mapping[str, tuple[int, int]] | None, truth: Values
    ) -> list[Continuation]:
        new = answers.new[row] if spans else None
        if new is None:
            texts = dict.fromkeys(self.template.names, self.template.write(truth))
        else:
            together, _ = self.pieces.ends(new)
            text = together.decode(errors="replace").strip()
            places = self.template.spans(text)
            assert places is not None
            texts = {name: text[:start] + written(truth[name]) + text[stop:] for name, (start, stop) in places.items()}
        ids_of = self.pieces.tokenizer([text + END for text in texts.values()], add_special_tokens=False)["input_ids"]
        found = []
        for name, ids in zip(texts, ids_of, strict=True):
            held = self.pieces.spans(self.template, ids[:-1])
            if held is None:  # the true value beside written ones reads as another form
                continue
            first, last = held[name]
            shared = 0
            while new is not None and shared < min(first, len(new)) and ids[shared] == new[shared]:
                shared += 1
            found.append(Continuation(row, name, ids, shared, first, last))
        return found


def branch_log_probs(answers: Answers, branches: Sequence[Continuation]) -> list[list[float]]:
    """The log probability of each judged token of each branch that is not shared with the written answer.

    All branches of a row stand side by side in one call; each sees what it grows from and itself.
    """
    rows: dict[int, list[int]] = {}
    for place, branch in enumerate(branches):
        rows.setdefault(branch.row, []).append(place)
    inputs = [_inputs(answers, branch) for branch in branches]
    width = max((sum(len(inputs[place]) for place in places) for places in rows.values()), default=0)
    count = len(answers.new)
    if not width or width > answers.room:
        return [[-math.inf] for _ in branches] if width else []
    ids = torch.zeros(count, width, dtype=torch.long)
    positions = torch.zeros(count, width, dtype=torch.long)
    sees = torch.zeros(count, width, answers.cached + width, dtype=torch.bool)
    sees[:, :, answers.cached :] = torch.eye(width, dtype=torch.bool)
    there = torch.zeros(count, width, dtype=torch.bool)
    at: list[int] = [0] * len(branches)
    for row, places in rows.items():
        start = 0
        for place in places:
            size, branch = len(inputs[place]), branches[place]
            end = start + size
            ids[row, start:end], there[row, start:end] = torch.tensor(inputs[place]), True
            positions[row, start:end] = answers.lengths[row] + branch.shared - 1 + torch.arange(size)
            sees[row, start:end, : answers.cached] = answers.sees(row, branch.shared - 1)
            own = torch.ones(size, size, dtype=torch.bool).tril()
            sees[row, start:end, answers.cached + start : answers.cached + end] = own
            at[place], start = start, end
    where = there.nonzero(as_tuple=True)
    log_probs_MV = answers.growth.extend(ids[where], positions[where], where, sees)
    answers.growth.forget()
    number = torch.zeros(count, width, dtype=torch.long)
    number[where] = torch.arange(len(log_probs_MV))
    found = []
    for place, branch in enumerate(branches):
        judged = range(max(branch.first, branch.shared), branch.last + 1)
        predicting = [at[place] + token - branch.shared for token in judged]
        wanted = torch.tensor([branch.ids[token] for token in judged])
        nodes = number[branch.row, predicting]
        found.append(log_probs_MV[nodes.to(log_probs_MV.device), wanted.to(log_probs_MV.device)].double().tolist())
    return found


def _inputs(answers: Answers, branch: Continuation) -> list[int]:
    """The last shared token again, for what follows it, and the branch's own up to the last but one that is judged."""
    return [answers.token(branch.row, branch.shared - 1), *branch.ids[branch.shared : branch.last]]
