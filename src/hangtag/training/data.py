"""What a recipe trains and validates on: the catalogue's splits as examples, and the steps made of them."""

from __future__ import annotations

from dataclasses import dataclass

from hangtag.catalogue.store import Catalogue, open_catalogue
from hangtag.errors import DataError, RunError, TableError
from hangtag.examples.chat import Chat
from hangtag.examples.examples import Examples
from hangtag.examples.packing import Plan
from hangtag.examples.rows import UsableRow, rejected_row, usable_rows
from hangtag.phi3v import Phi3VProcessor
from hangtag.recipe import Recipe

Rejected = list[dict[str, str]]


@dataclass(frozen=True)
class Rows:
    """The usable rows of both splits; validation may be empty. What cannot be used stands in `rejected`."""

    catalogue: Catalogue
    train: list[UsableRow]
    validation: list[UsableRow]
    rejected: Rejected


def read_rows(recipe: Recipe) -> Rows:
    """The rows of the recipe's catalogue.

    Raises:
        TableError: the catalogue is missing, damaged or lacks a column; its train split has no usable row; or the
            validation split has none, though the recipe keeps the best model.
    """
    catalogue = open_catalogue(recipe.data.path)
    template, columns = recipe.task.template, recipe.data.pictures
    train, rejected = usable_rows(catalogue, "train", template, columns)
    try:
        validation, more = usable_rows(catalogue, "validation", template, columns)
    except TableError as error:
        if recipe.train.best != "last":
            raise TableError(f'train.best = "{recipe.train.best}" needs validation rows: {error}') from None
        validation, more = [], []
    return Rows(catalogue, train, validation, rejected + more)


def make_examples(
    recipe: Recipe, rows: Rows, processor: Phi3VProcessor, context: int
) -> tuple[Examples, Examples | None, Rejected]:
    """Both splits' examples, and the rows left out because they are too long.

    Args:
        context: tokens the model can take.

    Raises:
        ImageError: pictures cannot be read.
        DataError: rows are too long and the recipe does not drop them, or none is left; or no row has a picture for
            a part that only pictures teach.
    """
    template, chat = recipe.task.template, Chat.of(recipe.task)
    limit = min(recipe.train.token_budget, context)
    made, dropped = [], []
    for each in (rows.train, rows.validation):
        examples = Examples(each, processor, template, chat)
        dropped += _drop_overlong(examples, limit, recipe, rows.catalogue)
        made.append(examples)
    train, validation = made
    if not len(train):
        raise DataError(f"every training row is longer than {limit} tokens; raise train.token_budget")
    if not len(validation) and recipe.train.best != "last":
        raise DataError(
            f'train.best = "{recipe.train.best}" needs validation rows, but each is longer than {limit} tokens; '
            "raise train.token_budget"
        )
    if not train.sizes and any(recipe.train.part_rates()[part] for part in ("clip", "projector")):
        raise RunError("no training row has a picture, so clip and projector cannot learn; set their train.rates to 0")
    return train, validation if len(validation) else None, dropped


def _drop_overlong(examples: Examples, limit: int, recipe: Recipe, catalogue: Catalogue) -> Rejected:
    """Take out the rows of more than `limit` tokens; an example is never cut."""
    lengths = examples.lengths()
    over = [place for place, length in enumerate(lengths) if length > limit]
    if over and recipe.train.overlong == "error":
        longest = max(over, key=lambda place: lengths[place])
        raise DataError(
            f"{len(over)} rows are longer than {limit} tokens; the longest, row {examples.rows[longest].number} of "
            f"{catalogue.path / 'metadata.csv'}, has {lengths[longest]}: raise train.token_budget, lower "
            'model.num_crops, or leave them out with train.overlong = "drop"'
        )
    numbers = [(examples.rows[place].number, lengths[place]) for place in over]
    examples.only([place for place, length in enumerate(lengths) if length <= limit])
    return [
        rejected_row(number, catalogue.rows[number - 1], f"{length} tokens, at most {limit}", "too-long")
        for number, length in numbers
    ]


def make_plan(examples: Examples, recipe: Recipe, processes: int, shuffled: bool) -> Plan:
    """The plan of a split's steps under the recipe's batch size and token budget."""
    return Plan(
        examples.lengths(),
        [bool(row.pictures) for row in examples.rows],
        recipe.train.batch_size,
        recipe.train.token_budget,
        recipe.train.seed if shuffled else None,
        processes,
    )
