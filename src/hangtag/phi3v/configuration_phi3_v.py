"""Configuration of Phi-3-vision and Phi-3.5-vision: the published config.json, read unmodified and written back alike.

The published file is flat (a Phi-3 decoder's fields beside `embd_layer` and `img_processor`) and leaves CLIP out:
it is always openai/clip-vit-large-patch14-336 there. A `vision_config` beside it describes any other CLIP.
Field by field: docs of microsoft/Phi-3.5-vision-instruct, configuration_phi3_v.py (MIT).
"""

import copy
import math
from typing import Any, ClassVar

from transformers import CLIPVisionConfig, Phi3Config

from hangtag.errors import ModelError

CLIP_LARGE_336: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 768,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
PUBLISHED_IMAGE_TOKEN = 32044  # <|image|>
PUBLISHED_CODE = "microsoft/Phi-3.5-vision-instruct"
EMBD_LAYER: dict[str, Any] = {
    "embedding_cls": "image",
    "hd_transform_order": "sub_glb",
    "projection_cls": "mlp",
    "use_hd_transform": True,
    "with_learnable_separator": True,
}


class Phi3VConfig(Phi3Config):
    """A Phi-3 decoder, a CLIP tower and how they are joined.

    Args (beside those of `transformers.Phi3Config`):
        vision_config: CLIP's own configuration (dict or `CLIPVisionConfig`); absent means CLIP-L/14-336.
        embd_layer: the joining, as published; only the published form is implemented.
        img_processor: the tower as published: `image_dim_out`, `num_img_tokens` per crop, and `layer_idx`, the
            CLIP hidden state used (-2, the last but one, where absent).
        image_token_id: the id that stands for one picture feature in `input_ids`.
        rope_scaling: as published, type "su" or "yarn" with `short_factor` and `long_factor`.
        sliding_window: as published: how many earlier tokens a token sees beside itself.

    In memory `rope_parameters` and `sliding_window` follow transformers: rope type "longrope", and the number of keys
    a token sees with itself among them, or None where the window cannot be reached within `max_position_embeddings`.
    `to_dict` and the saved file hold the published form again.

    Raises:
        ModelError: the joining is not the published one, or its numbers contradict `vision_config`.
    """

    model_type = "phi3_v"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": CLIPVisionConfig}

    max_position_embeddings: int = 131072
    sliding_window: int | None = None
    rope_parameters: Any = None
    vision_config: Any = None
    embd_layer: Any = None
    img_processor: Any = None
    image_token_id: int = PUBLISHED_IMAGE_TOKEN

    def __post_init__(self, **kwargs: Any) -> None:
        for unused in ("_attn_implementation", "auto_map"):
            kwargs.pop(unused, None)
        if not isinstance(self.vision_config, CLIPVisionConfig):
            self.vision_config = CLIPVisionConfig(**(self.vision_config or CLIP_LARGE_336))
        self.embd_layer = {**EMBD_LAYER, **(self.embd_layer or {})}
        self.img_processor = {
            "image_dim_out": self.vision_config.hidden_size,
            "model_name": "openai/clip-vit-large-patch14-336",
            "name": "clip_vision_model",
            "num_img_tokens": self.crop_grid**2,
            **(self.img_processor or {}),
        }
        self._check_joining()
        self._published_window = self.sliding_window
        if self.sliding_window is not None:
            bites = self.sliding_window < self.max_position_embeddings
            self.sliding_window = self.sliding_window + 1 if bites else None
        super().__post_init__(**kwargs)

    @property
    def crop_size(self) -> int:
        """Side of one crop in pixels."""
        return int(self.vision_config.image_size)

    @property
    def crop_grid(self) -> int:
        """Side of one crop in tokens: CLIP's patches, merged two by two."""
        return self.crop_size // int(self.vision_config.patch_size) // 2

    @property
    def vision_layers(self) -> int:
        """How many CLIP layers lie below the hidden state that is used."""
        index = int(self.img_processor.get("layer_idx", -2))
        return index if index >= 0 else int(self.vision_config.num_hidden_layers) + 1 + index

    def _check_joining(self) -> None:
        """Raise a ModelError with every way in which the fields leave what is implemented."""
        problems = [
            f"embd_layer.{key} is {self.embd_layer[key]!r}, only {value!r} is implemented"
            for key, value in EMBD_LAYER.items()
            if self.embd_layer[key] != value
        ]
        patch = self.vision_config.patch_size
        expected = {
            "image_dim_out": self.vision_config.hidden_size,
            "num_img_tokens": self.crop_grid**2,
            "type_feature": "patch",
        }
        for key, value in expected.items():
            if self.img_processor.get(key, value) != value:
                problems.append(f"img_processor.{key} is {self.img_processor[key]!r}, vision_config makes it {value!r}")
        if self.crop_size % (2 * patch):
            problems.append(f"vision_config.image_size {self.crop_size} is no multiple of two patches of {patch}")
        if not 0 <= self.vision_layers <= self.vision_config.num_hidden_layers:
            problems.append(f"img_processor.layer_idx is {self.img_processor['layer_idx']}, out of CLIP's range")
        if problems:
            raise ModelError("this is no Phi-3-vision configuration: " + "; ".join(problems))

    def convert_rope_params_to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Rename the published "su" and "yarn" to transformers' "longrope" before transformers reads them."""
        rope: dict[str, Any] = copy.deepcopy(kwargs.pop("rope_scaling", None) or self.rope_parameters) or {}
        kind = rope.get("type", rope.get("rope_type"))
        if kind in ("su", "yarn", "longrope"):
            rope.update(type="su" if kind == "longrope" else kind, rope_type="longrope")
        self.rope_parameters = rope
        converted: dict[str, Any] = super().convert_rope_params_to_dict(*args, **kwargs)
        return converted

    def standardize_rope_params(self) -> None:
        """Also fill in what follows from the two context lengths.

        The published "yarn" is longrope with another factor on cosine and sine: 0.1 ln(scale) + 1.
        """
        super().standardize_rope_params()
        rope = self.rope_parameters
        if rope["rope_type"] == "longrope":
            rope["factor"] = max(1.0, self.max_position_embeddings / self.original_max_position_embeddings)
            if rope["type"] == "yarn":
                rope["attention_factor"] = 0.1 * math.log(rope["factor"]) + 1.0

    def to_dict(self) -> dict[str, Any]:
        """The configuration in its published form, as the published code reads it too.

        `rope_scaling` with `rope_theta`, and `sliding_window`, as published. A model of the published geometry says
        nothing of its CLIP and names the published code; any other has `vision_config`.
        """
        written: dict[str, Any] = super().to_dict()
        rope = written.pop("rope_parameters")
        written["rope_theta"] = rope["rope_theta"]
        written["rope_scaling"] = None
        if rope["rope_type"] == "longrope":
            written["rope_scaling"] = {key: rope[key] for key in ("type", "short_factor", "long_factor")}
        published_window = written.pop("_published_window")
        window = written["sliding_window"]
        written["sliding_window"] = published_window if window is None else window - 1
        written.pop("vision_config")
        own = self._vision_fields_of_its_own()
        if own:
            vision = self.vision_config.to_dict()
            written["vision_config"] = {**{key: vision[key] for key in CLIP_LARGE_336}, **own}
        else:
            written["auto_map"] = published_code(
                AutoConfig="configuration_phi3_v.Phi3VConfig", AutoModelForCausalLM="modeling_phi3_v.Phi3VForCausalLM"
            )
        return written

    def to_diff_dict(self) -> dict[str, Any]:
        """What is saved: as `to_dict`, with the dtype under its published name."""
        written: dict[str, Any] = super().to_diff_dict()
        if written.get("dtype") is not None:
            written["torch_dtype"] = written.pop("dtype")
        return written

    def _vision_fields_of_its_own(self) -> dict[str, Any]:
        """What distinguishes the tower from CLIP-L/14-336, which the published code has built in."""
        published = CLIPVisionConfig(**CLIP_LARGE_336).to_dict()
        other = ("transformers_version", "dtype", "architectures", "_name_or_path")
        fields: dict[str, Any] = self.vision_config.to_dict()
        return {key: value for key, value in fields.items() if key not in other and value != published.get(key)}


def published_code(**classes: str) -> dict[str, str]:
    """An `auto_map` that names classes in the published repository; this package never follows it."""
    return {auto: f"{PUBLISHED_CODE}--{name}" for auto, name in classes.items()}


__all__ = ["Phi3VConfig"]
