"""What a run is: the typed recipe, and the only place where a default lives.

A recipe is a TOML file. It is checked whole before anything starts: every problem comes in one message,
and an unknown key names the nearest known one. `Recipe.dump()` writes it back with every default written out.
"""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hangtag.answer import Kind, Template
from hangtag.errors import RecipeError, nearest_name

SHIPPED = resources.files("hangtag") / "recipes"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NanoSizes(Section):
    """The numbers of the nano model, which is trained from scratch; used only where `base = "nano"`."""

    crop_size: int = Field(56, multiple_of=28, ge=28, description="side of a square crop, pixels; patches are 14")
    vision_hidden: int = Field(96, multiple_of=32, description="width of the vision tower")
    vision_layers: int = Field(3, ge=1, description="vision layers that are computed")
    hidden: int = Field(128, multiple_of=32, description="width of the decoder")
    layers: int = Field(3, ge=1, description="decoder layers")
    head_size: int = Field(32, multiple_of=8, description="width of one attention head, in both parts")
    vocabulary: int = Field(1024, ge=320, description="most tokenizer entries, special and byte ones included")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        for name in ("vision_hidden", "hidden"):
            if getattr(self, name) % self.head_size:
                raise ValueError(f"{name} {getattr(self, name)} is no multiple of head_size {self.head_size}")
        return self


class Model(Section):
    base: str = Field("microsoft/Phi-3.5-vision-instruct", description='hub name, local folder, or "nano"')
    num_crops: int = Field(4, ge=1, le=64, description="most crops a picture is cut into")
    nano: NanoSizes = NanoSizes()


class Data(Section):
    path: str = Field(description="the catalogue's folder")


class Task(Section):
    prompt: str = Field("What is shown in this image?", min_length=1, description="the question asked of every picture")
    answer: str = Field(
        "Product: {title}, Category: {category3_code}, Full Price: {full_price}",
        description="the answer's template: literal text with {column} places",
    )
    fields: dict[str, Kind] = Field(
        {"title": "text", "category3_code": "category", "full_price": "number"},
        description="the kind of each place: text, category or number",
    )

    @property
    def template(self) -> Template:
        return Template(self.answer, self.fields)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            self.template  # noqa: B018  (raises where places and fields do not match)
        except RecipeError as error:
            raise ValueError(str(error)) from None
        if "<|" in self.prompt or "<|" in self.answer:
            raise ValueError("prompt and answer must not hold special tokens such as <|end|>; they are added for you")
        return self


class Train(Section):
    objective: Literal["sft"] = Field("sft", description="supervised fine-tuning on the answer's tokens")
    method: Literal["full"] = Field("full", description="every weight is trained")
    epochs: float = Field(3, gt=0, description="times through the training split")
    batch_size: int = Field(16, ge=1, description="rows per optimizer step and process")
    learning_rate: float = Field(1e-5, gt=0, description="highest rate, reached after the warm-up")
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of the steps with a rising rate; then it falls as a cosine"
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: for layer matrices, when training from scratch"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decay of matrices")
    adam_beta2: float = Field(0.999, gt=0, lt=1, description="AdamW's second moment decay")
    clip_norm: float = Field(1.0, gt=0, description="largest gradient norm")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over the vocabulary")
    flip: bool = Field(False, description="mirror half of the training pictures, anew each epoch")
    shift: float = Field(
        0.0, ge=0, le=0.25, description="largest random shift of a training picture, share of its side"
    )
    zoom: float = Field(0.0, ge=0, le=0.5, description="largest random change of a training picture's size, share")
    light: float = Field(
        0.0, ge=0, le=0.5, description="largest random change of a training picture's brightness, share"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the hardware computes it faster"
    )
    checkpoint_epochs: float = Field(1, gt=0, description="epochs between two checkpoints and validation losses")
    keep_checkpoints: int = Field(2, ge=1, description="checkpoints kept, the newest ones")
    seed: int = Field(0, ge=0, lt=2**32, description="decides first weights, order and augmentation")


class Track(Section):
    wandb: Literal["off", "offline", "online"] = Field("off", description="Weights & Biases; needs `pip install wandb`")
    tensorboard: bool = Field(False, description="event files in the run folder; needs `pip install tensorboard`")


class Recipe(Section):
    model: Model = Model()
    data: Data
    task: Task = Task()
    train: Train = Train()
    track: Track = Track()

    def dump(self) -> str:
        """The recipe as TOML, every default written out."""
        return tomli_w.dumps(self.model_dump())


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
        found += [_sentence(each) for each in error.errors()]
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
    location = [str(each) for each in error["loc"]]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}{nearest_name(location[-1], _known_keys(location[:-1]))}"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    shown = repr(error["input"])
    return f"{key} = {shown if len(shown) <= 60 else shown[:57] + '...'}: {error['msg'].lower()}"


def _known_keys(location: list[str]) -> list[str]:
    section: Any = Recipe
    for key in location:
        section = section.model_fields[key].annotation
        if not (
            isinstance(section, type) and not isinstance(section, types.GenericAlias) and issubclass(section, BaseModel)
        ):
            return list(typing.get_args(Kind))
    return list(section.model_fields)
