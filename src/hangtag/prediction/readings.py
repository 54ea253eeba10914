"""From answers to readings: confidence, distributions of numbers, how likely the true values were."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hangtag.answer import Template, Value, written
from hangtag.prediction.hypotheses import BEAMS, Hypotheses, Prefix
from hangtag.prediction.nodes import Node, Program
from hangtag.prediction.numbers import CLOSE, NODES, Alphabet, Numbers
from hangtag.prediction.pieces import Pieces
from hangtag.prediction.writing import Row
from hangtag.reading import Distribution, Reading
from hangtag.recipe.sections import END

Values = Mapping[str, Value]


@dataclass(frozen=True)
class Continuation:
    """A branch that is judged: the tokens of an answer with another value in one place.

    ids: the whole answer's. It grows from the written one behind `shared` equal tokens; those from `first` to `last`
    are judged: the value, and what ends it.
    """

    field: str
    ids: list[int]
    shared: int
    first: int
    last: int


class Judge:
    """Reads what a model holds likely beside its answers; one for a model, its tokenizer and its template.

    Args:
        stops: the tokens that end an answer.
        nodes, beams: most nodes of a level of a number's tree, and most prefixes that it stands on.
        close: the share by which numbers of one node may differ.
    """

    def __init__(
        self,
        pieces: Pieces,
        template: Template,
        stops: Sequence[int],
        nodes: int = NODES,
        beams: int = BEAMS,
        close: float = CLOSE,
    ) -> None:
        self.pieces, self.template, self.beams = pieces, template, beams
        self.signs = pieces.number_tokens
        self.numbers = {
            name: Numbers(self._alphabet(template.follows(name), stops), list(self.signs), nodes, close)
            for name in template.names
            if template.fields[name] == "number"
        }
        self._hypotheses = {
            name: Hypotheses(pieces, template, name, each.told, beams) for name, each in self.numbers.items()
        }

    def _alphabet(self, literal: str, stops: Sequence[int]) -> Alphabet:
        """A sign that the literal text behind a number begins with is taken for that text."""
        signs = {sign: token for sign, token in self.signs.items() if not literal.startswith(sign)}
        return Alphabet(signs, tuple(self.pieces.enders(literal, stops)))

    def prefixes(self, row: Row) -> list[Program[list[Prefix]]]:
        """For each number of the template, what finds the ways to write up to it; to be run beside the writing."""
        return [each.prefixes(row) for each in self._hypotheses.values()]

    def reading(self, row: Row, text: str | None, prefixes: Sequence[Sequence[Prefix]]) -> Program[Reading]:
        """What a row's answer says, beside what is likely.

        Args:
            text: the row's decoded answer; None where it did not end.
            prefixes: of each number.
        """
        spans = self.spans(row)
        numbers: dict[str, Distribution] = {}
        for (name, each), found in zip(self.numbers.items(), prefixes, strict=True):
            distribution = (yield from each.distribution(row, found)) if spans else None
            if distribution is not None:
                numbers[name] = distribution
        return Reading(text, self.confidence(row.log_probs, spans), numbers)

    def spans(self, row: Row) -> dict[str, tuple[int, int]] | None:
        """Which of a row's tokens hold each field; None where there is no readable answer."""
        return self.pieces.spans(self.template, row.tokens) if row.ended else None

    def confidence(self, log_probs: Sequence[float], spans: Mapping[str, tuple[int, int]] | None) -> dict[str, float]:
        return {
            name: math.exp(min(math.fsum(log_probs[first : last + 1]), 0.0))
            for name, (first, last) in (spans or {}).items()
            if self.template.fields[name] != "number"
        }

    def truths(self, row: Row, truth: Values) -> Program[dict[str, float]]:
        """Each field's log probability of its true value, behind what the model itself wrote before it.

        Where the answer is unreadable there is nothing to stand behind: the true answer as a whole is judged. All
        branches stand side by side in one step; each sees what it grows from and itself.
        """
        branches = self._continuations(row, truth)
        nodes: list[Node] = []
        if max((row.prompt + branch.last + 1 for branch in branches), default=0) > row.longest_sequence:
            return dict.fromkeys((branch.field for branch in branches), -math.inf)
        for branch in branches:
            nodes += _nodes(row, branch)
        found = (yield nodes) if nodes else None
        judged: dict[str, float] = {}
        start = 0
        for branch in branches:
            count = branch.last + 1 - branch.shared
            new = found.target[start : start + count].tolist() if found and count > 0 else []
            start += max(count, 0)
            wanted = new[max(branch.first - branch.shared, 0) :]
            judged[branch.field] = math.fsum([*row.log_probs[branch.first : branch.shared], *wanted])
        return judged

    def _continuations(self, row: Row, truth: Values) -> list[Continuation]:
        spans = self.spans(row)
        if spans is None:
            texts = dict.fromkeys(self.template.names, self.template.write(truth))
        else:
            together, _ = self.pieces.ends(row.tokens)
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
            while spans and shared < min(first, len(row.tokens)) and ids[shared] == row.tokens[shared]:
                shared += 1
            found.append(Continuation(name, ids, shared, first, last))
        return found


def _nodes(row: Row, branch: Continuation) -> list[Node]:
    """The last shared token again, for what follows it, and the branch's own up to the last but one that is judged."""
    nodes = []
    tokens = [row.last, *branch.ids]
    sees = row.sights[branch.shared - 1] if branch.shared else row.sights[0] >> 1
    for token, target in zip(
        tokens[branch.shared : branch.last + 1], branch.ids[branch.shared : branch.last + 1], strict=True
    ):
        sees |= row.new_place()
        nodes.append(Node(token, sees, target=target))
    return nodes
