"""Reading a recipe: a TOML file, or one that comes with the package, with settings laid over it.

It is checked whole before anything starts: every problem comes in one message, and an unknown key names the nearest
known one.
"""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hangtag.answer import Kind
from hangtag.errors import RecipeError, nearest_name
from hangtag.recipe.sections import Recipe

_EITHER = ("float", "int", "literal['auto']")
SHIPPED = resources.files("hangtag") / "recipes"


def load_recipe(source: str | Path, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, or a shipped recipe by its name, with `section.key=value` settings laid over it.

    Args:
        source: path of a TOML file, or a name such as `demo` (see `shipped_recipes`).
        settings: overrides; the value is read as TOML, and as plain text where it is none.

    Raises:
        RecipeError: not found, not TOML, or wrong; every problem is in the one message.
    """
    text, where = _source(str(source))
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where} is not TOML: {error}") from None
    problems: list[str] = []
    for setting in settings:
        _override(values, setting, problems)
    return check_recipe(values, where, problems)


def check_recipe(values: dict[str, Any], where: str = "the recipe", problems: Iterable[str] = ()) -> Recipe:
    """Make a Recipe of plain values; `problems` found before are reported with the rest.

    Raises:
        RecipeError: every problem in one message.
    """
    found = list(problems)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        found += list(dict.fromkeys(_sentence(each) for each in error.errors()))
    if found:
        raise RecipeError(f"{where}: " + "; ".join(found))
    return recipe


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(each.name.removesuffix(".toml") for each in SHIPPED.iterdir() if each.name.endswith(".toml"))


def _source(source: str) -> tuple[str, str]:
    if Path(source).is_file():
        try:
            return Path(source).read_text(encoding="utf-8"), source
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{source} cannot be read as UTF-8 text: {error}") from None
    if source in shipped_recipes():
        return (SHIPPED / f"{source}.toml").read_text(encoding="utf-8"), f"recipe {source}"
    raise RecipeError(
        f"there is no recipe file {source}; recipes that come with hangtag: {', '.join(shipped_recipes())}"
    )


def _override(values: dict[str, Any], setting: str, problems: list[str]) -> None:
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        problems.append(f"--set {setting!r} is not section.key=value")
        return
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            problems.append(f"--set {path}: {key} is not a section")
            return
    values[keys[-1]] = value


def _sentence(error: Any) -> str:
    """One pydantic error as one clear clause with the key's full name."""
    either = error["loc"] and error["loc"][-1] in _EITHER  # a key that takes a number or "auto" fails once for each
    location = [str(each) for each in (error["loc"][:-1] if either else error["loc"])]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}{nearest_name(location[-1], _known_keys(location[:-1]))}"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    shown = repr(error["input"])
    what = "input should be a number or 'auto'" if either else error["msg"].lower()
    return f"{key} = {shown if len(shown) <= 60 else shown[:57] + '...'}: {what}"


def _known_keys(location: list[str]) -> list[str]:
    section: Any = Recipe
    for key in location:
        section = section.model_fields[key].annotation
        if not (
            isinstance(section, type) and not isinstance(section, types.GenericAlias) and issubclass(section, BaseModel)
        ):
            return list(typing.get_args(Kind))
    return list(section.model_fields)
