"""Prompts and pictures to model inputs, as the published processing_phi3_v.py (MIT) makes them, for whole batches.

A prompt holds tags `<|image_1|>`, `<|image_2|>`, ...; every stretch of text between tags is tokenised alone and so
begins with its own BOS, which the published models were trained with. Where the published code puts negative numbers,
`image_token_id` (the tokenizer's `<|image|>`, 32044) stands, once per picture feature.
"""

import re
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from hangtag.errors import ModelError
from hangtag.files import read_json, write_json
from hangtag.phi3v.configuration_phi3_v import CLIP_LARGE_336, published_code
from hangtag.phi3v.image_processing_phi3_v import Phi3VImageProcessor
from hangtag.phi3v.pictures_phi3_v import flatten

IMAGE_TAG = re.compile(r"<\|image_(\d+)\|>")
IMAGE_TOKEN = "<|image|>"
BEGINNINGS = ("<|user|>", "<|system|>")

# The published template, which knows text alone; a content that is a list of parts has its pictures numbered.
CHAT_TEMPLATE = (
    "{% set pictures = namespace(count=0) %}{% for message in messages %}{{ '<|' + message['role'] + '|>' + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{% set pictures.count = pictures.count + 1 %}"
    "{{ '<|image_' ~ pictures.count ~ '|>\n' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{- '<|assistant|>\n' -}}{% endif %}"
)


class Phi3VProcessor(ProcessorMixin):
    """An image processor and a tokenizer that together make what `Phi3VForCausalLM` takes.

    Args:
        image_processor: a `Phi3VImageProcessor`.
        tokenizer: any fast tokenizer that adds BOS and has the token `<|image|>`.
        chat_template: absent, the published one, which here also takes contents with pictures.

    Raises:
        ModelError: the tokenizer has no `<|image|>`, or is a `LlamaTokenizer`, which tokenises in another way than the
            tokenizer.json it was loaded from.
    """

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None = None) -> None:
        if "LlamaTokenizer" in type(tokenizer).__name__:
            raise ModelError(
                "LlamaTokenizer gives other ids than the tokenizer.json it was loaded from; "
                "load it with transformers.PreTrainedTokenizerFast"
            )
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.get_vocab().get(IMAGE_TOKEN)
        if self.image_token_id is None:
            raise ModelError(f"the tokenizer has no token {IMAGE_TOKEN}; add it as a special token")
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """Both parts, without AutoImageProcessor (which may ask for torchvision) and AutoTokenizer (see `__init__`)."""
        return [
            part.from_pretrained(pretrained_model_name_or_path, **kwargs)
            for part in (Phi3VImageProcessor, PreTrainedTokenizerFast)
        ]

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Write the published layout, which the published code and older releases of transformers read as well.

        `preprocessor_config.json` holds the image processor, `processor_config.json` names the classes,
        `tokenizer_config.json` has the chat template, and `tokenizer.json` its merges in the form of old.
        """
        folder = Path(save_directory)
        super().save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
        names = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json")
        processor, preprocessor, tokenizer_config, tokenizer = (read_json(folder / name) for name in names)
        processor = {"processor_class": processor["processor_class"]}
        preprocessor.update(processor, do_convert_rgb=True)
        if self.image_processor.crop_size == CLIP_LARGE_336["image_size"]:
            code = published_code(
                AutoProcessor="processing_phi3_v.Phi3VProcessor",
                AutoImageProcessor="processing_phi3_v.Phi3VImageProcessor",
            )
            processor["auto_map"] = {"AutoProcessor": code["AutoProcessor"]}
            preprocessor["auto_map"] = code
        tokenizer_config = self._published_tokenizer_config(tokenizer_config)
        written = (processor, preprocessor, tokenizer_config, _with_merges_of_old(tokenizer))
        for name, fields in zip(names, written, strict=True):
            write_json(folder / name, fields)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs)
        return [str(folder / name) for name in names]

    def _published_tokenizer_config(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Without what only this release of transformers knows; as a class that takes tokenizer.json as it is."""
        for unknown in ("auto_map", "backend", "is_local", "local_files_only"):
            fields.pop(unknown, None)
        if "extra_special_tokens" in fields:
            fields["additional_special_tokens"] = fields.pop("extra_special_tokens")
        return {**fields, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": self.chat_template}

    def picture_order(self, text: str, pictures: int, row: int = 0) -> list[int]:
        """The pictures (from 0) in the order in which the tags of `text` name them.

        Raises:
            ModelError: the tags are not each of 1..`pictures` once; the message names `row` and both counts.
        """
        # No prompt has a thousand million pictures, and Python refuses to read numbers of thousands of digits.
        tags = [int(number) if len(number) < 10 else 0 for number in IMAGE_TAG.findall(text)]
        if sorted(tags) != list(range(1, pictures + 1)):
            named = ", ".join(f"<|image_{tag}|>" for tag in tags) or "none"
            raise ModelError(
                f"row {row}: {len(tags)} picture tags ({named}) for {pictures} pictures; "
                "write each of <|image_1|>, <|image_2|>, ... once, one for each picture"
            )
        return [tag - 1 for tag in tags]

    def prompt_ids(self, text: str, num_img_tokens: list[int], row: int = 0, continued: bool = False) -> list[int]:
        """Token ids of one prompt, given how many tokens each of its pictures takes.

        Args:
            text: the prompt with its tags.
            num_img_tokens: tokens of picture 1, 2, ... (see `Phi3VImageProcessor.num_image_tokens`).
            row: named in errors.
            continued: the text follows another, such as an answer its prompt, and so has no BOS before it.

        Raises:
            ModelError: tags and pictures do not match, or the text itself holds `<|image|>`.
        """
        order = self.picture_order(text, len(num_img_tokens), row)
        ids: list[int] = []
        for position, chunk in enumerate(IMAGE_TAG.split(text)[::2]):
            begins = bool(position or num_img_tokens or not continued)
            chunk_ids = self.tokenizer(chunk, add_special_tokens=begins)["input_ids"]
            if self.image_token_id in chunk_ids:
                raise ModelError(f"row {row}: the text holds {IMAGE_TOKEN} itself; write <|image_1|> for a picture")
            if position:
                ids += [self.image_token_id] * num_img_tokens[order[position - 1]]
            ids += chunk_ids
        return ids

    def __call__(  # type: ignore[override]
        self, *positional: Any, images: Any = None, text: str | list[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Model inputs for one prompt or several.

        Args:
            text: a prompt, or a list of them.
            images: for one prompt a picture or a list; for several a list with one list a row (None or empty where a
                row has no picture), or one flat list that is dealt out by the rows' tags.
            positional: text and pictures without their names, in either order: the published code takes text first,
                transformers pictures.
            kwargs: of the tokenizer's padding (`padding`, `padding_side`, `max_length`, `pad_to_multiple_of`), of the
                image processor (`num_crops`, `pad_to_num_crops`), and `return_tensors`.

        Returns:
            input_ids, attention_mask: [B, T]; with pictures also pixel_values and image_sizes as
            `Phi3VImageProcessor.preprocess` gives them, for all rows, each row's pictures in the order of its tags.

        Raises:
            ModelError: tags and pictures of a row do not match, or a row would have to be truncated.
            ImageError: a picture cannot be used.
        """
        images, text = _by_name(positional, images, text)
        if text is None or kwargs.pop("videos", None) is not None or kwargs.pop("audio", None) is not None:
            raise ModelError("Phi-3-vision takes text, with or without pictures; pass text=")
        options = self._merge_kwargs(
            self.valid_processor_kwargs, tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs
        )
        text_options, image_options = options["text_kwargs"], options["images_kwargs"]
        return_tensors = text_options.pop("return_tensors", None)
        without_bos = text_options.get("add_special_tokens") is False
        image_options.pop("return_tensors", None)
        texts = [text] if isinstance(text, str) else list(text)
        rows = self._images_by_row(texts, images, batched=not isinstance(text, str))
        orders = [self.picture_order(texts[row], len(pictures), row) for row, pictures in enumerate(rows)]
        ordered = [pictures[index] for pictures, order in zip(rows, orders, strict=True) for index in order]

        data: dict[str, Any] = {}
        counts: list[int] = []
        if ordered:
            image_options["names"] = [
                f"row {row}, picture {index + 1}" for row, order in enumerate(orders) for index in order
            ]
            data = dict(self.image_processor.preprocess(ordered, return_tensors=return_tensors, **image_options))
            counts = data.pop("num_img_tokens")
        input_ids = []
        for row, order in enumerate(orders):
            mine, counts = counts[: len(order)], counts[len(order) :]
            by_number = [mine[order.index(number)] for number in range(len(order))]
            continued = without_bos and not texts[row].startswith(BEGINNINGS)
            input_ids.append(self.prompt_ids(texts[row], by_number, row, continued))
        return BatchFeature(data={**self._pad(input_ids, text_options, return_tensors), **data})

    def _images_by_row(self, texts: list[str], images: Any, batched: bool) -> list[list[Any]]:
        """The pictures of every row; a flat list is dealt out by the rows' tags."""
        if images is None:
            return [[] for _ in texts]
        if not batched:
            return [list(flatten(images))]
        if isinstance(images, list | tuple) and any(each is None or isinstance(each, list | tuple) for each in images):
            if len(images) != len(texts):
                raise ModelError(f"{len(texts)} prompts but {len(images)} lists of pictures; give one list a prompt")
            return [[] if each is None else list(flatten(each)) for each in images]
        pictures = list(flatten(images))
        tags = [len(IMAGE_TAG.findall(each)) for each in texts]
        rows = [[pictures.pop(0) for _ in range(min(count, len(pictures)))] for count in tags]
        rows[-1] += pictures
        return rows

    def _pad(self, input_ids: list[list[int]], options: dict[str, Any], return_tensors: str | None) -> dict[str, Any]:
        """input_ids and attention_mask as the tokenizer pads them; nothing is ever cut."""
        limit = options.get("max_length")
        if limit is not None and options.get("truncation"):
            for row, ids in enumerate(input_ids):
                if len(ids) > limit:
                    raise ModelError(
                        f"row {row}: {len(ids)} tokens, more than max_length {limit}; a picture is not cut: raise "
                        "max_length, leave truncation out, or take a smaller num_crops"
                    )
        known = ("padding", "max_length", "pad_to_multiple_of", "padding_side")
        padding = {key: options[key] for key in known if options.get(key) is not None}
        padding.setdefault("padding", False)
        encoded = {"input_ids": input_ids, "attention_mask": [[1] * len(ids) for ids in input_ids]}
        return dict(self.tokenizer.pad(encoded, return_tensors=return_tensors, **padding))


def _by_name(positional: tuple[Any, ...], images: Any, text: Any) -> tuple[Any, Any]:
    """Pictures and text, however they were given."""
    if len(positional) + (images is not None) + (text is not None) > 2:
        raise ModelError("pictures or text were given twice; pass text= and images=")
    if len(positional) == 2:
        first, second = positional
        return (second, first) if _is_text(first) and not _is_text(second) else (first, second)
    if len(positional) == 1:
        return (images, positional[0]) if text is None and _is_text(positional[0]) else (positional[0], text)
    return images, text


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(each, str) for each in value)
    )


def _with_merges_of_old(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """tokenizer.json with merges as "a b", which every release of tokenizers reads, rather than ["a", "b"]."""
    model = tokenizer["model"]
    merges = model.get("merges", [])
    if merges and all(" " not in part for merge in merges for part in merge):
        model["merges"] = [" ".join(merge) for merge in merges]
    return tokenizer


__all__ = ["Phi3VProcessor"]
