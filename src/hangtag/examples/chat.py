"""What stands around pictures, question and answer, as `task.chat` of the recipe has it.

The published format, a BOS after each picture included (the processor adds it):

    <s><|user|>\\n <picture> <s>\\n{prompt}<|end|>\\n<|assistant|>\\n   {answer}<|end|>
    └────────────────────── labels -100 ─────────────────────────┘   └── labels ──┘
"""

from __future__ import annotations

from dataclasses import dataclass

from hangtag.recipe import Task
from hangtag.recipe.sections import ANSWER, END, PICTURES, PROMPT


@dataclass(frozen=True)
class Chat:
    """A task's chat format with its question filled in: `head`, the pictures, `tail`, the answer, the end."""

    head: str
    between: str
    tail: str

    @classmethod
    def of(cls, task: Task) -> Chat:
        """The chat of a recipe's [task], which has been checked to hold each place once and to end with the answer."""
        head, tail = task.chat.removesuffix(ANSWER + END).split(PICTURES)
        between = "\n" if tail.startswith("\n") else ""
        return cls(*(part.replace(PROMPT, task.prompt) for part in (head, between, tail.removeprefix(between))))

    def prompt(self, pictures: int) -> str:
        """What the model is shown before it writes: text with a tag for each of so many pictures."""
        tags = "".join(f"<|image_{number}|>{self.between}" for number in range(1, pictures + 1))
        return self.head + tags + self.tail

    def answer(self, text: str) -> str:
        """What it is to write: the answer and its end."""
        return text + END
