"""Every error a user can meet, as one tree.

    HangtagError                 exit code 1: the work failed
    ├── DataError                what came from outside (table, picture, checkpoint, price) cannot be used
    │   ├── TableError           the table as a whole
    │   ├── ImageError           one picture
    │   └── ValueUnreadable      one cell, such as a price that is no plain number
    ├── ModelError               a prompt, its pictures and the model do not fit together, or a checkpoint is damaged
    ├── RunError                 a run folder is missing, has no model, or belongs to another recipe; training failed
    │   └── Interrupted          exit code 130: stopped on request, and saved
    ├── CacheError               the cache folder cannot be written, is full, or lacks what was in it
    └── UsageError               exit code 2: the command or the recipe is wrong
        ├── RecipeError          recipe, template or field list
        └── OutputNotEmpty       the output folder already holds something

A message says what is wrong, where, and the way out; several problems come in one message.
Bugs of our own stay `assert` or Python's own errors, and show a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HangtagError(Exception):
    """The work failed; the message is for the user and ends the command without a traceback."""

    exit_code = 1


class DataError(HangtagError):
    """Something that came from outside cannot be used."""


class TableError(DataError):
    """A table is missing, empty, unreadable, or lacks a column."""


class ImageError(DataError):
    """A picture is missing, damaged, too large or too flat."""


class ValueUnreadable(DataError):
    """A cell cannot be read as its field's type."""


class ModelError(HangtagError, ValueError):
    """Prompt, pictures and model do not fit together. Also a ValueError, as transformers' own code raises."""


class RunError(HangtagError):
    """A run folder is missing, incomplete, or was made from something else."""


class Interrupted(RunError):
    """Training was stopped on request; what was done is saved."""

    exit_code = 130


class CacheError(HangtagError):
    """The cache folder cannot be written, is full, or has lost an entry. Whatever needs it can be done without it."""


class ToldElsewhere(HangtagError):
    """What is wrong is told by another process of this run."""


class UsageError(HangtagError):
    """The command or the recipe is wrong."""

    exit_code = 2


class RecipeError(UsageError):
    """One or more problems in a recipe, all of them in one message."""


class OutputNotEmpty(UsageError):
    """The output folder already holds something."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """A hint naming the closest known name, or listing them all: `; did you mean 'title'?`"""
    names = [str(each) for each in known]
    close = difflib.get_close_matches(name.lower(), [each.lower() for each in names], n=1, cutoff=0.5)
    if close:
        return f"; did you mean {next(each for each in names if each.lower() == close[0])!r}?"
    return f"; there is: {', '.join(names)}" if names else ""


def first_names(names: Iterable[str], most: int = 4) -> str:
    """The first few of many names, and how many more there are: `a, b, c, d and 57 more`."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
