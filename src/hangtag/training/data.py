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


def read_rows(recipe: Recipe, catalogue: Catalogue | None = None) -> Rows:
    """The rows of the recipe's catalogue, or of one that is open already.

    Raises:
        TableError: the catalogue is missing, damaged or lacks a column; its train split has no usable row; or the
            validation split has none, though the recipe keeps the best model.
    """
    catalogue = catalogue or open_catalogue(recipe.data.path)
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
    train, validation = (Examples(each, processor, template, chat) for each in (rows.train, rows.validation))
    too_long = {
        examples.rows[place].number: length
        for examples in (train, validation)
        for place, length in enumerate(examples.lengths())
        if length > limit
    }
    if too_long and recipe.train.overlong == "error":
        raise DataError(_told_overlong(too_long, limit, rows.catalogue))
    for examples in (train, validation):
        examples.only([place for place, row in enumerate(examples.rows) if row.number not in too_long])
    dropped = [
        rejected_row(number, rows.catalogue.rows[number - 1], f"{length} tokens, at most {limit}", "too-long")
        for number, length in too_long.items()
    ]
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


def _told_overlong(too_long: dict[int, int], limit: int, catalogue: Catalogue) -> str:
    """Why rows of more than `limit` tokens stop a run: an example is never cut."""
    longest = max(too_long, key=too_long.__getitem__)
    return (
        f"{len(too_long)} rows are longer than {limit} tokens; the longest, row {longest} of "
        f"{catalogue.path / 'metadata.csv'}, has {too_long[longest]}: raise train.token_budget, lower "
        'model.num_crops, or leave them out with train.overlong = "drop"'
    )


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
