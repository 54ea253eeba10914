"""What Phi-3-vision adds to transformers' generation: pictures computed once, rotary factors switched once."""

from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers.cache_utils import Cache
from transformers.generation import GenerationConfig, GenerationMixin, LogitsProcessor, LogitsProcessorList

from hangtag.errors import ModelError
from hangtag.phi3v.configuration_phi3_v import PUBLISHED_IMAGE_TOKEN, Phi3VConfig
from hangtag.phi3v.vision_phi3_v import images_per_row

PUBLISHED_EOS = (2, 32000)  # </s> in the published files, <|endoftext|> by Phi-3's default
PUBLISHED_STOP_TOKENS = (32007, 32000)  # <|end|>, <|endoftext|>


def padded_on_the_left(input_ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask with every row's padding at its end moved to its beginning: new tokens must follow the prompt."""
    length = mask_BT.shape[1]
    after = (mask_BT.flip(1).cumsum(1) == 0).sum(1, keepdim=True)
    source = (torch.arange(length, device=mask_BT.device)[None] - after) % length
    return input_ids_BT.gather(1, source.to(input_ids_BT.device)), mask_BT.gather(1, source)


class NoPicturePlaces(LogitsProcessor):
    """Keeps the id that stands for a picture feature from being generated: it would look like a missing picture."""

    def __init__(self, image_token_id: int) -> None:
        self.image_token_id = image_token_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        scores[:, self.image_token_id : self.image_token_id + 1] = -torch.inf
        return scores


class Phi3VGenerationMixin(GenerationMixin):
    """`generate` for `Phi3VForCausalLM`."""

    config: Phi3VConfig
    model: Any

    @property
    def generation_config(self) -> GenerationConfig | None:
        """As loaded, except that the published EOS, a token the models never write, becomes those they do write."""
        return self.__dict__.get("_generation_config")

    @generation_config.setter
    def generation_config(self, value: GenerationConfig | None) -> None:
        published_ids = self.config.vocab_size > self.config.image_token_id == PUBLISHED_IMAGE_TOKEN
        if value is not None and published_ids and value.eos_token_id in PUBLISHED_EOS:
            value.eos_token_id = list(PUBLISHED_STOP_TOKENS)
        self.__dict__["_generation_config"] = value

    @torch.no_grad()
    def generate(
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: LogitsProcessorList | None = None,
        **kwargs: Any,
    ) -> Any:
        """As transformers' `generate`; pictures go through CLIP once, and a picture place is never generated.

        On sharded weights (FSDP2) every process must call it, with rows of its own; all go on until the last is done.

        Args:
            inputs: input_ids [B, T], with pictures also `pixel_values` (or `crop_features`) and `image_sizes`, all as
                in `Phi3VForCausalLM.forward`. With an `attention_mask`, rows may be padded on either side (the
                published tokenizer pads on the right); those padded on the right are moved, and come back with their
                padding on the left.

        Raises:
            ModelError: pictures and places do not fit together; padding on the right of what cannot be moved; or a way
                of generating that would mix the two sets of rotary factors, or part the processes of sharded weights.
        """
        given = inputs if inputs is not None else kwargs.pop("input_ids", None)
        if given is not None:
            inputs, kwargs["input_ids"] = None, given
            self._move_padding(kwargs)
            self._refuse_to_cross_the_limit(generation_config, kwargs)
        if self._is_sharded() and kwargs.get("synced_gpus") is None:
            kwargs["synced_gpus"] = torch.distributed.get_world_size() > 1
        pixel_values = kwargs.pop("pixel_values", None)
        if pixel_values is not None:
            image_sizes = kwargs.get("image_sizes")
            grids = self.model.picture_grids(pixel_values, image_sizes, kwargs.get("crop_features"))
            if self._is_sharded():  # CLIP's weights come together only inside the model's own call: the crops wait
                kwargs["pixel_values"] = self.model.gather_crops(pixel_values, grids)
            else:
                kwargs["crop_features"] = self.model.encode_pictures(pixel_values, image_sizes)
        processors = LogitsProcessorList([*(logits_processor or []), NoPicturePlaces(self.config.image_token_id)])
        return super().generate(inputs, generation_config, logits_processor=processors, **kwargs)

    def _is_sharded(self) -> bool:
        return isinstance(self.model.vision_embed_tokens.glb_GN, DTensor)

    @staticmethod
    def _move_padding(kwargs: dict[str, Any]) -> None:
        """Rows padded on the right are padded on the left."""
        ids, mask = kwargs["input_ids"], kwargs.get("attention_mask")
        if mask is None or mask.shape != ids.shape or bool(mask[:, -1].all()):
            return
        cache = kwargs.get("past_key_values")
        fixed = [name for name in ("inputs_embeds", "position_ids") if kwargs.get(name) is not None]
        if isinstance(cache, Cache) and cache.get_seq_length():
            fixed.append("past_key_values")
        if fixed:
            raise ModelError(
                f"rows are padded on the right, and {' and '.join(fixed)} cannot be moved with them; pad on the left"
            )
        kwargs["input_ids"], kwargs["attention_mask"] = padded_on_the_left(ids, mask)

    def _refuse_to_cross_the_limit(self, config: GenerationConfig | None, kwargs: dict[str, Any]) -> None:
        """What cannot go on beyond the original context, where the whole prompt is computed again.

        A rejected guess is cut off a cache that was made anew; and of processes that share their weights, one would
        compute its pictures again while the others wait for its next token.
        """
        limit, settings = self.config.original_max_position_embeddings, config or self.generation_config

        def setting(name: str) -> Any:
            return kwargs[name] if kwargs.get(name) is not None else getattr(settings, name, None)

        assisted = kwargs.get("assistant_model") is not None or setting("prompt_lookup_num_tokens") is not None
        shared = self._is_sharded() and torch.distributed.get_world_size() > 1
        if not (assisted or shared) or self.config.rope_parameters["rope_type"] != "longrope":
            return
        length = kwargs["input_ids"].shape[1]
        most = length + setting("max_new_tokens") if setting("max_new_tokens") else setting("max_length") or length + 20
        if length <= limit < most:
            way, reason, out = "assisted generation", "where a cache cannot be cut back", "leave the assistant out"
            if not assisted:
                way, reason = "generation on sharded weights", "where one process would wait for the others"
                out = "load the weights whole"
            raise ModelError(
                f"{way} from {length} to {most} tokens would cross the original context of {limit}, {reason}; "
                f"{out}, or end before"
            )

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        past_key_values: Cache | None = None,
        next_sequence_length: int | None = None,
        is_first_iteration: bool | None = False,
        pixel_values: torch.Tensor | None = None,
        crop_features: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """One step's inputs.

        On crossing the original context the cache, made with the short rotary factors, is dropped once, and the whole
        prompt is computed again with the long ones; the pictures' features are at hand.

        Raises:
            ModelError: it would have to be computed again, but `input_ids` do not hold what is in the cache.
        """
        limit = self.config.original_max_position_embeddings
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        length = past + (next_sequence_length or input_ids.shape[1])
        if 0 < past <= limit < length and self.config.rope_parameters["rope_type"] == "longrope":
            if input_ids.shape[1] < length:
                raise ModelError(
                    f"{length} tokens cross the original context of {limit}, so all must be computed again, but "
                    f"input_ids hold the last {input_ids.shape[1]}; give the whole sequence, without prefill_chunk_size"
                )
            past_key_values, next_sequence_length, past = None, None, 0
        model_inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids,
            past_key_values=past_key_values,
            next_sequence_length=next_sequence_length,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )
        if is_first_iteration or not past:
            pictures = {"pixel_values": pixel_values, "crop_features": crop_features, "image_sizes": image_sizes}
            if past and image_sizes is not None:
                pictures = self._pictures_beyond(input_ids, model_inputs["input_ids"].shape[1], pictures)
            model_inputs.update(pictures)
        return model_inputs

    def _pictures_beyond(self, input_ids: torch.Tensor, left: int, pictures: dict[str, Any]) -> dict[str, Any]:
        """The pictures whose places are among the last `left` tokens; those before are in the cache already."""
        kept, picture = [], 0
        tokens, per_row = self._pictures_of_rows(input_ids, pictures["image_sizes"])
        for row, count in enumerate(per_row):
            cached = int((input_ids[row, : input_ids.shape[1] - left] == self.config.image_token_id).sum())
            for index in range(picture, picture + count):
                cached -= tokens[index]
                if cached < 0:
                    kept.append(index)
            picture += count
        return self._take_pictures(kept, pictures) if kept else dict.fromkeys(pictures)

    def _pictures_of_rows(self, input_ids: torch.Tensor, image_sizes: torch.Tensor) -> tuple[list[int], list[int]]:
        """How many tokens each picture takes, and how many pictures each row holds."""
        vision = self.model.vision_embed_tokens
        tokens = [vision.num_tokens(*grid) for grid in vision.grids(image_sizes)]
        return tokens, images_per_row(input_ids, tokens, self.config.image_token_id)

    def _take_pictures(self, order: list[int], pictures: dict[str, Any]) -> dict[str, Any]:
        """Crops (or their features) and sizes of the pictures named, in that order."""
        sizes = pictures["image_sizes"]
        counts = [1 + rows * columns for rows, columns in self.model.vision_embed_tokens.grids(sizes)]
        taken = {"image_sizes": sizes[order]}
        for name in ("pixel_values", "crop_features"):
            if pictures[name] is not None:
                parts = pictures[name].split(counts)
                taken[name] = torch.cat([parts[index] for index in order])
        return taken

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: torch.Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[torch.Tensor | None, dict[str, Any]]:
        """Repeat every row and, group by group, its pictures: rows a a b b, pictures a1 a2 a1 a2 b1 b1."""
        pictures = {name: model_kwargs.pop(name, None) for name in ("pixel_values", "crop_features", "image_sizes")}
        rows, sizes = input_ids, pictures["image_sizes"]
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        if sizes is not None and rows is not None and expand_size > 1:
            order: list[int] = []
            for count in self._pictures_of_rows(rows, sizes)[1]:
                first = len(order) // expand_size
                order += list(range(first, first + count)) * expand_size
            pictures = self._take_pictures(order, pictures)
        return input_ids, {**model_kwargs, **pictures}


__all__ = ["Phi3VGenerationMixin"]
