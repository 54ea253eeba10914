"""The model card: README.md, filled in from the run. What is unknown is said to be unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import ModelCardData

from hangtag.catalogue.store import Catalogue
from hangtag.errors import first_names
from hangtag.examples.chat import Chat
from hangtag.exporting.comparison import Comparison
from hangtag.exporting.front_matter import front_matter
from hangtag.exporting.markdown import Markdown, code, one_line, plain, table
from hangtag.exporting.models import name_of
from hangtag.exporting.scores import number_lines, score_rows
from hangtag.files import Run, read_json, read_jsonl, write_whole
from hangtag.recipe import Recipe
from hangtag.recipe.sections import PUBLISHED_CHAT
from hangtag.schema import known_of
from hangtag.training.environment import environment

INVENTED = "hangtag synth"
MOST_NAMES = 40
COLUMNS = {
    "limit": "the best that any reader of the pictures could reach",
    "constant": "the training split's median, most frequent category and most frequent text",
    "nearest": "the most similar training pictures",
    "untrained": "the base before it was trained",
    "shuffled": "the model shown another row's picture",
    "blank": "the model shown a grey picture",
}


@dataclass(frozen=True)
class Facts:
    """What a card is made from.

    Args:
        name: of the exported model.
        catalogue: that the export was compared on; None where it was not.
        dtype: of the weights; None of an adapter's.
        compared: the proof; None where nothing was compared.
    """

    name: str
    run: Run
    recipe: Recipe
    catalogue: Catalogue | None
    parameters: int
    adapter_only: bool
    dtype: str | None
    compared: Comparison | None

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        file = self.run.evaluation("test") / "metrics.json"
        return read_json(file) if file.is_file() else None

    @cached_property
    def made_with(self) -> dict[str, Any]:
        return read_json(self.run.environment) if self.run.environment.is_file() else {}

    @cached_property
    def known(self) -> dict[str, list[str]]:
        """The categories that training showed, where the run kept them."""
        return known_of(read_json(self.run.schema), self.recipe.task.template) if self.run.schema.is_file() else {}

    @property
    def base(self) -> str:
        """The base's name; of a local folder, its own name alone."""
        base = self.recipe.model.base
        return Path(base).name if Path(base).is_dir() else base

    @property
    def source(self) -> str:
        """What the catalogue was made from; empty where that is unknown."""
        return one_line(self.catalogue.info.get("source", "")) if self.catalogue else ""


def write_card(folder: Path, facts: Facts) -> None:
    """Write README.md."""
    places = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    page = places.get_template("card.md.jinja").render(_fields(facts))
    card: ModelCardData = front_matter(
        facts.recipe, facts.base, facts.name, facts.source, facts.metrics, facts.adapter_only
    )
    write_whole(folder / "README.md", f"---\n{card.to_yaml()}\n---\n\n{page}")


def _fields(facts: Facts) -> dict[str, Any]:
    task, metrics = facts.recipe.task, facts.metrics
    kinds = [Markdown(f"{code(name)} ({kind})") for name, kind in task.fields.items()]
    return {
        "name": facts.name,
        "fields": Markdown(", ".join(kinds)),
        "form": code(task.answer),
        "kind": _kind(facts),
        "parameters": f"{facts.parameters:,}",
        "folder": Markdown(_string(facts.name)),
        "snippet": Markdown(_snippet(facts)),
        "question": code(task.prompt),
        "data_rows": _data_rows(facts),
        "data": _data(facts),
        "training": _training(facts),
        "scores": metrics and table(*score_rows(metrics)),
        "scores_of": metrics and f"{metrics['rows']:,} rows of the {metrics['split']} split, with 95 % intervals:",
        "columns": Markdown(" ".join(_columns(metrics))) if metrics else "",
        "number_lines": list(number_lines(metrics)) if metrics else [],
        "limits": list(_limits(facts)),
        "checked": _checked(facts),
        "measured": facts.compared and table(("", "measured", "allowed"), facts.compared.table()),
        "versions": list(_versions(facts)),
    }


def _string(text: str) -> str:
    """A Python string of one line; what it holds cannot end the block of code it stands in."""
    return ascii(one_line(text)) if text != one_line(text) else repr(text)


def _snippet(facts: Facts) -> str:
    prompt = Chat.of(facts.recipe.task).prompt(1)
    load = f'AutoModelForImageTextToText.from_pretrained(folder, dtype="{facts.dtype}")'
    names = "AutoModelForImageTextToText, AutoProcessor"
    if facts.adapter_only:
        load, names = "hangtag.load_adapter(folder)  # on the base that it names", "AutoProcessor"
    return "\n".join(
        [
            "import hangtag",
            "from PIL import Image",
            f"from transformers import {names}",
            "",
            f"folder = {_string(facts.name)}",
            f"model = {load}",
            "processor = AutoProcessor.from_pretrained(folder)",
            f"prompt = {prompt!r}",
            'inputs = processor(text=prompt, images=Image.open("photo.jpg"), return_tensors="pt")',
            "ids = model.generate(**inputs)[0, inputs.input_ids.shape[1] :]",
            "print(processor.decode(ids, skip_special_tokens=True))",
        ]
    )


def _kind(facts: Facts) -> str:
    train = facts.recipe.train
    if facts.adapter_only:
        return f"a LoRA adapter of rank {train.lora.rank} for {facts.base}"
    if facts.run.has_adapter():
        return f"{facts.base} with a LoRA adapter of rank {train.lora.rank} merged into it, in {facts.dtype}"
    if facts.recipe.model.base == "nano":
        return f"a nano model, Phi-3-vision's architecture in small, trained from scratch, in {facts.dtype}"
    return f"{facts.base}, trained whole, in {facts.dtype}"


def _data_rows(facts: Facts) -> Markdown | None:
    """Rows by split: those used, as the run kept them, and those of the test split, as they were scored."""
    used = {split: told.get("rows", 0) for split, told in facts.made_with.get("data", {}).items()}
    if facts.metrics:
        used["test"] = facts.metrics["rows"]
    return table(("split", "rows used"), [(split, f"{rows:,}") for split, rows in used.items()]) if used else None


def _data(facts: Facts) -> Markdown:
    info = facts.catalogue.info if facts.catalogue else {}
    name = plain(Path(facts.recipe.data.path).name)
    licence = info.get("licence") or info.get("license")
    source = plain(facts.source) if facts.source else "unknown"
    if facts.source == INVENTED:
        source = "invented by `hangtag synth`: drawn pictures, no real products"
    return Markdown(f"Catalogue: {name}. Source: {source}. Licence of the data: {plain(licence or 'unknown')}.")


def _training(facts: Facts) -> Markdown:
    recipe, log = facts.recipe, read_jsonl(facts.run.log) if facts.run.log.is_file() else []
    train = recipe.train
    steps = max((each["step"] for each in log if "step" in each), default=None)
    rates = ", ".join(f"{part} {rate:g}" for part, rate in train.part_rates().items())
    method = {"full": "every weight", "lora": "LoRA", "qlora": "QLoRA, on the base in 4 bits (NF4)"}[train.method]
    lines = [
        ("method", f"supervised on the answer's tokens; {method}"),
        *([("adapter", f"rank {train.lora.rank}, alpha {train.lora.alpha}")] if train.method != "full" else []),
        ("epochs, steps", f"{train.epochs:g}, {'unknown' if steps is None else format(round(steps), ',')}"),
        ("rows a step", f"{train.batch_size}"),
        ("optimizer", f"{train.optimizer}, {train.schedule} schedule, highest rates {rates} (0 is frozen)"),
        ("most crops of a picture", f"{recipe.model.num_crops}"),
        ("seed", f"{train.seed}"),
    ]
    whole = Markdown("\n\n`recipe.toml` beside this card has every setting.")
    if recipe.task.chat != PUBLISHED_CHAT:
        whole = Markdown(
            f"{whole} What stands around picture and question is this model's own ({code(recipe.task.chat)}); the chat "
            "template in this folder is the published one and does not fit it: use the prompt above as it is."
        )
    return Markdown("\n".join(f"- {plain(name)}: {plain(value)}" for name, value in lines) + whole)


def _columns(metrics: dict[str, Any]) -> Iterator[str]:
    """What stands in the columns of the scores' table, beside the model."""
    there = {"limit": metrics.get("limit"), **metrics.get("baselines", {}), **metrics.get("controls", {})}
    for name, meaning in COLUMNS.items():
        if there.get(name):
            yield f"*{name}*: {meaning}."
    if metrics.get("controls"):
        yield "A model that scores as well on another's picture or none does not look at it."


def _limits(facts: Facts) -> Iterator[str]:
    if facts.recipe.train.method == "qlora" and not facts.adapter_only:
        yield (
            "Trained beside a base in 4 bits: the weights here are what those 4 bits say, with the adapter worked in, "
            "and answer as the model that was scored."
        )
    if facts.source == INVENTED:
        yield "It learned from invented, drawn products alone: of real photos it knows nothing."
    yield from facts.metrics.get("warnings", []) if facts.metrics else []
    if facts.metrics and facts.metrics.get("picture_used"):
        yield facts.metrics["picture_used"]
    kinds = facts.recipe.task.fields
    for name in [name for name, kind in kinds.items() if kind == "category"]:
        known = facts.known.get(name, [])
        listed = f" It knows {len(known)}: {first_names(known, MOST_NAMES)}." if known else ""
        yield f"{name}: a category that training never showed is not written, or only by accident.{listed}"
    for name in [name for name, kind in kinds.items() if kind == "number"]:
        yield f"{name}: learned from the catalogue as it was; it does not follow the market, and knows no currency."
    yield "Pictures that show no product of this kind get a tag all the same."
    yield "Not for valuing goods, for insurance, customs or tax, nor for any decision that nobody looks over."
    if facts.dtype == "float16":
        yield "Weights are in float16, but the comparison computed in another format: activations may overflow."


def _checked(facts: Facts) -> str:
    if not facts.compared:
        return "Nothing was compared: whether this folder answers as the run did is unknown."
    proof = facts.compared
    same = "every logit the same bit by bit" if proof.exact else "what the rounding of weights explains, and no more"
    return (
        f"This folder was loaded afresh and wrote answers for {len(proof.rows)} rows of the test split beside the "
        f"model it was made from, both computing in {name_of(proof.computed)}. Expected: {same}. Differences are of "
        "logits where answers are written."
    )


def _versions(facts: Facts) -> Iterator[str]:
    trained = facts.made_with.get("packages")
    yield f"trained with {_named(trained)}" if trained else "trained with: unknown"
    yield f"exported with {_named(environment()['packages'])}"


def _named(packages: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version)
