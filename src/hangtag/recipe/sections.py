"""A recipe's sections, typed; the only place where a default lives. Each key's description says what it means."""

from __future__ import annotations

from typing import Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hangtag.answer import Kind, Template
from hangtag.errors import RecipeError

PART_NAMES = ("clip", "projector", "decoder")
PICTURES, PROMPT, ANSWER = "{pictures}", "{prompt}", "{answer}"
END = "<|end|>"
PUBLISHED_CHAT = f"<|user|>\n{PICTURES}\n{PROMPT}{END}\n<|assistant|>\n{ANSWER}{END}"
FULL_RATE, ADAPTER_RATE = 1e-5, 1e-4

Auto = Literal["auto"]


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
    pictures: list[str] = Field(
        ["file_name"],
        min_length=1,
        description="columns that name a row's pictures, in the order shown; an empty cell is no picture",
    )


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
    chat: str = Field(
        PUBLISHED_CHAT,
        description="what stands around pictures, prompt and answer; a newline after {pictures} also stands between "
        "two of them, and goes where a row has none",
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
            raise ValueError("prompt and answer must not hold special tokens such as <|end|>; chat adds them")
        places = {place: self.chat.count(place) for place in (PICTURES, PROMPT, ANSWER)}
        wrong = [f"{place} stands {count} times" for place, count in places.items() if count != 1]
        if wrong:
            raise ValueError(f"chat needs {PICTURES}, {PROMPT} and {ANSWER} once each, but {', '.join(wrong)}")
        if not self.chat.startswith(("<|user|>", "<|system|>")) or not self.chat.endswith(ANSWER + END):
            raise ValueError(f"chat must begin with <|user|> or <|system|> and end with {ANSWER}{END}")
        return self


class Lora(Section):
    rank: int = Field(16, ge=1, description="of an adapter's two matrices")
    alpha: int = Field(32, ge=1, description="the update is scaled by alpha / rank")
    dropout: float = Field(0.05, ge=0, lt=1, description="of an adapter's input, in training")


class Rates(Section):
    """A learning rate for each part; 0 freezes it."""

    clip: float | Auto = Field(
        "auto", description="CLIP's; auto: learning_rate where method is full, else 0, which freezes it"
    )
    projector: float | Auto = Field("auto", description="of the projection and the separators; auto: learning_rate")
    decoder: float | Auto = Field("auto", description="of the language model; auto: learning_rate")

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        rates = [getattr(self, part) for part in PART_NAMES]
        if any(rate != "auto" and not 0 <= rate < 1 for rate in rates):
            raise ValueError("a rate lies in 0 to 1; 0 freezes the part")
        return self


class Train(Section):
    objective: Literal["sft"] = Field("sft", description="supervised fine-tuning on the answer's tokens")
    method: Literal["lora", "qlora", "full"] = Field(
        "full", description="full: every weight; lora: adapters; qlora: adapters on a base in 4 bits (NF4)"
    )
    lora: Lora = Lora()
    epochs: float = Field(3, gt=0, description="times through the training split")
    batch_size: int = Field(16, ge=1, description="rows per optimizer step, over all processes")
    token_budget: int = Field(
        8192, ge=64, description="most tokens of one pass; a step's rows are packed into as few passes as hold them"
    )
    overlong: Literal["error", "drop"] = Field(
        "error", description="a row longer than token_budget or the model's context: stop, or drop and list it"
    )
    learning_rate: float | Auto = Field(
        "auto", description=f"highest rate, reached after the warm-up; auto: {FULL_RATE} for full, else {ADAPTER_RATE}"
    )
    rates: Rates = Rates()
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps with a rising rate")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="the rate after the warm-up")
    optimizer: Literal["adamw", "adamw_8bit", "muon"] = Field(
        "adamw", description="adamw_8bit: needs bitsandbytes; muon: for layer matrices, when training from scratch"
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
    checkpointing: bool = Field(
        False, description="keep only each layer's input and compute the rest again: less memory, a third more work"
    )
    compile: bool = Field(
        False, description="compile the decoder's layers: a slow first step, fewer and larger kernels after it"
    )
    vision_cache: bool = Field(
        True, description="where CLIP is frozen and pictures are not augmented, keep its features on disk"
    )
    vision_cache_gb: float = Field(50, gt=0, description="most the cache takes on disk, 10^9 bytes")
    workers: int | Auto = Field("auto", description="processes that decode and crop ahead; 0: none")
    checkpoint_epochs: float = Field(1, gt=0, description="epochs between two checkpoints and validations")
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints kept, beside the best")
    best: Literal["last", "loss", "answers"] = Field(
        "last", description="the model kept: the last, or the best validation loss or score of written answers"
    )
    patience: int = Field(0, ge=0, description="validations without a better one before training stops; 0: never")
    validation_answers: int = Field(
        32, ge=0, description="validation rows whose answers are written and scored at each validation"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="decides first weights, order and augmentation")

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        if self.learning_rate != "auto":
            return self.learning_rate
        return FULL_RATE if self.method == "full" else ADAPTER_RATE

    def part_rates(self) -> dict[str, float]:
        """The highest learning rate of each part; 0 where it is frozen."""
        auto = {"clip": self.rate if self.method == "full" else 0.0, "projector": self.rate, "decoder": self.rate}
        return {part: auto[part] if (own := getattr(self.rates, part)) == "auto" else float(own) for part in PART_NAMES}

    @property
    def augments(self) -> bool:
        """Whether training pictures are changed at random."""
        return bool(self.flip or self.shift or self.zoom or self.light)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        problems = []
        if self.learning_rate != "auto" and not 0 < self.learning_rate <= 1:
            problems.append(f"learning_rate {self.learning_rate} lies not in 0 to 1")
        if self.workers != "auto" and self.workers < 0:
            problems.append(f"workers {self.workers} is below 0")
        if self.best == "answers" and not self.validation_answers:
            problems.append('best = "answers" needs validation_answers above 0')
        if self.patience and self.best == "last":
            problems.append('patience needs best = "loss" or "answers", which say what better means')
        if self.optimizer == "muon" and self.method != "full":
            problems.append('optimizer = "muon" needs method = "full"')
        if not any(self.part_rates().values()):
            problems.append("every part is frozen, so nothing would be trained; give one a rate above 0")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Track(Section):
    wandb: Literal["off", "offline", "online"] = Field("off", description="Weights & Biases; needs `pip install wandb`")
    project: str = Field("hangtag", min_length=1, description="the project's name in Weights & Biases")
    artifact: bool = Field(False, description="also log the finished model to Weights & Biases, as an artifact")
    tensorboard: bool = Field(False, description="event files in the run folder; needs `pip install tensorboard`")
    samples: int = Field(8, ge=0, le=64, description="validation pictures shown with true and written tag")


class Recipe(Section):
    model: Model = Model()
    data: Data
    task: Task = Task()
    train: Train = Train()
    track: Track = Track()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.model.base == "nano" and self.train.method != "full":
            raise ValueError(
                f'base = "nano" has no weights to adapt; method = "{self.train.method}" needs a trained base'
            )
        if self.track.artifact and self.track.wandb == "off":
            raise ValueError('track.artifact needs track.wandb = "offline" or "online"')
        return self

    def dump(self) -> str:
        """The recipe as TOML, every default written out."""
        return tomli_w.dumps(self.model_dump())
