"""Phi-3-vision and Phi-3.5-vision: transformers' Phi-3 decoder layers and CLIP vision layers, joined as published.

Written from recorded results of the published modeling_phi3_v.py (MIT); where the two revisions differ, 3.5 is
followed. Module names are the published checkpoint's, so its tensors load and save under their own names.

Shapes: B rows, T tokens, N pictures, C crops of all pictures together, S crop side in pixels, G token rows of a crop,
V CLIP's width, D the decoder's width.
"""

from typing import Any, ClassVar

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers import initialization
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.models.phi3.modeling_phi3 import Phi3Attention, Phi3DecoderLayer, Phi3RMSNorm
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from hangtag.errors import ModelError
from hangtag.phi3v.attention_phi3_v import packed_arguments
from hangtag.phi3v.checkpoint_phi3_v import Phi3VCheckpointMixin
from hangtag.phi3v.collating_phi3_v import IGNORED_LABEL, without_picture_places
from hangtag.phi3v.configuration_phi3_v import Phi3VConfig
from hangtag.phi3v.generation_phi3_v import Phi3VGenerationMixin
from hangtag.phi3v.rotary_phi3_v import Phi3VRotaryEmbedding, packed_lengths
from hangtag.phi3v.vision_phi3_v import Phi3VImageEmbedding, images_per_row


def keep_positions(tensor_BT: torch.Tensor, logits_to_keep: int | torch.Tensor) -> torch.Tensor:
    """The positions of [B, T, ...] that `logits_to_keep` names (see `Phi3VForCausalLM.forward`)."""
    if isinstance(logits_to_keep, int):
        return tensor_BT[:, -logits_to_keep:] if logits_to_keep else tensor_BT
    if logits_to_keep.ndim == 2 and logits_to_keep.dtype == torch.bool:
        return tensor_BT[logits_to_keep]
    return tensor_BT[:, logits_to_keep]


class Phi3VPreTrainedModel(Phi3VCheckpointMixin):
    """What transformers needs to know about the family."""

    config_class = Phi3VConfig
    config: Phi3VConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = ("Phi3DecoderLayer", "Phi3VImageEmbedding")
    _skip_keys_device_placement = ("past_key_values",)
    _keys_to_ignore_on_load_unexpected: ClassVar[tuple[str, ...]] = (r"vision_embed_tokens\.wte\.weight",)
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": Phi3DecoderLayer, "attentions": Phi3Attention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Phi3VImageEmbedding):
            initialization.zeros_(module.glb_GN)
            initialization.zeros_(module.sub_GN)


class Phi3VModel(Phi3VPreTrainedModel):
    """The decoder with its picture embedding, without the language-model head."""

    _keys_to_ignore_on_load_unexpected: ClassVar[tuple[str, ...]] = (
        *Phi3VPreTrainedModel._keys_to_ignore_on_load_unexpected,
        r"^lm_head\.weight$",
    )

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.vision_embed_tokens = Phi3VImageEmbedding(config)
        self.layers = nn.ModuleList(Phi3DecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = Phi3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = Phi3VRotaryEmbedding(config)
        self.gradient_checkpointing = False
        self.post_init()

    def picture_grids(
        self,
        pixel_values: torch.Tensor | None,
        image_sizes: torch.Tensor | None,
        crop_features: torch.Tensor | None,
    ) -> list[tuple[int, int]]:
        """Rows and columns of tiles of every picture given, as pixels or as features.

        Raises:
            ModelError: the arguments do not fit together.
        """
        given = [each for each in (pixel_values, crop_features) if each is not None]
        if not given and (image_sizes is None or not len(image_sizes)):
            return []
        if len(given) != 1 or image_sizes is None:
            raise ModelError("pictures need image_sizes and one of pixel_values and crop_features")
        return self.vision_embed_tokens.grids(image_sizes)

    def encode_pictures(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor) -> torch.Tensor:
        """`crop_features` [C, G * G, 4 V] of pixel_values, both as in `Phi3VForCausalLM.forward`."""
        vision = self.vision_embed_tokens
        return vision.encode_crops(self.gather_crops(pixel_values, vision.grids(image_sizes)))

    def gather_crops(self, pixel_values: torch.Tensor, grids: list[tuple[int, int]]) -> torch.Tensor:
        """The crops in use [C, 3, S, S], on the tower's device."""
        vision, device = self.vision_embed_tokens, self.vision_embed_tokens.glb_GN.device
        if device.type != "meta":  # where accelerate keeps the weights elsewhere, it also moves what they meet
            pixel_values = pixel_values.to(device)
        return vision.gather_crops(pixel_values, grids)

    def embed(
        self,
        input_ids_BT: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        crop_features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Token embeddings with the pictures' features in their places [B, T, D].

        Raises:
            ModelError: ids, crops and sizes do not fit together, or an id lies beyond the vocabulary.
        """
        vision, image_token_id = self.vision_embed_tokens, self.config.image_token_id
        grids = self.picture_grids(pixel_values, image_sizes, crop_features)
        images_per_row(input_ids_BT, [vision.num_tokens(*grid) for grid in grids], image_token_id)
        places_BT = input_ids_BT == image_token_id
        word_ids_BT = input_ids_BT.masked_fill(places_BT, 0)
        self._check_vocabulary(word_ids_BT)
        hidden_BTD: torch.Tensor = self.embed_tokens(word_ids_BT)
        if not grids:
            return hidden_BTD + vision.nothing() if isinstance(vision, FSDPModule) else hidden_BTD
        # One call of the module, from crops to features: sharded training gathers its weights for just that.
        crops = None if pixel_values is None else self.gather_crops(pixel_values, grids)
        features = vision(grids, crops, crop_features)
        return hidden_BTD.masked_scatter(places_BT[..., None], features.to(hidden_BTD))

    def _check_vocabulary(self, word_ids_BT: torch.Tensor) -> None:
        low, high = torch.stack(word_ids_BT.aminmax()).tolist()
        if low < 0 or high >= self.config.vocab_size:
            outside = ((word_ids_BT < 0) | (word_ids_BT >= self.config.vocab_size)).nonzero()[0].tolist()
            raise ModelError(
                f"row {outside[0]}: id {int(word_ids_BT[tuple(outside)])} at place {outside[1]}, "
                f"but the vocabulary has {self.config.vocab_size} ids; use the model's own tokenizer"
            )

    @merge_with_config_defaults
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        crop_features: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states after the final norm [B, T, D]; arguments as in `Phi3VForCausalLM.forward`."""
        pictures = pixel_values is not None or crop_features is not None
        if (input_ids is None) == (inputs_embeds is None):
            raise ModelError("give one of input_ids and inputs_embeds")
        if input_ids is None:
            if pictures:
                raise ModelError("pictures need input_ids: inputs_embeds does not say where they go")
        elif input_ids.shape[1] == 1 and past_key_values is not None and not pictures:
            inputs_embeds = self.embed_tokens(input_ids)
        else:
            inputs_embeds = self.embed(input_ids, pixel_values, image_sizes, crop_features)
        return self.decode(inputs_embeds, attention_mask, position_ids, past_key_values, use_cache, **kwargs)

    @capture_outputs
    def decode(
        self,
        hidden_BTD: torch.Tensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        past_key_values: Cache | None,
        use_cache: bool | None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """The decoder layers and the final norm over embeddings [B, T, D]."""
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        length: int | torch.Tensor = past + hidden_BTD.shape[1]
        if position_ids is None:
            position_ids = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)[None] + past
        elif past_key_values is None and (own := packed_lengths(position_ids, attention_mask)) is not None:
            length, use_cache = own, False
            kwargs.update(packed_arguments(self.config, position_ids.expand(len(hidden_BTD), -1), hidden_BTD.dtype))
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)

        mask = None
        if "packing" not in kwargs:
            windowed = self.config.sliding_window is not None
            mask = (create_sliding_window_causal_mask if windowed else create_causal_mask)(
                config=self.config,
                inputs_embeds=hidden_BTD,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                position_ids=position_ids,
            )
        position_embeddings = self.rotary_emb(position_ids, length, hidden_BTD.dtype)
        for layer in self.layers:
            hidden_BTD = layer(
                hidden_BTD,
                attention_mask=mask,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                position_embeddings=position_embeddings,
                **kwargs,
            )
        return BaseModelOutputWithPast(
            last_hidden_state=self.norm(hidden_BTD), past_key_values=past_key_values if use_cache else None
        )


class Phi3VForCausalLM(Phi3VPreTrainedModel, Phi3VGenerationMixin):
    """Phi-3-vision with its language-model head: text, or text with pictures, to text."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.model = Phi3VModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        crop_features: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, and the loss where labels are given.

        Args:
            input_ids: int64 [B, T], `config.image_token_id` once for every picture feature.
            attention_mask: [B, T], 0 where a row is padded.
            position_ids: int64 [B, T]. Without `attention_mask` and `past_key_values`, positions that begin anew
                inside a row mark packed examples: each sees itself alone and has its own choice of rotary factors.
                No cache is made then.
            pixel_values: [N, slots, 3, S, S], as the processor gives them, or the crops in use alone [C, 3, S, S];
                the pictures of all rows in order. Bytes (the processor's do_normalize=False) are normalised here.
            image_sizes: int64 [N, 2], canvas height and width in pixels.
            crop_features: [C, G * G, 4 V] from `model.vision_embed_tokens.encode_crops`, instead of pixel_values.
            labels: int64 [B, T], ids or -100; shifted here. Picture places are never a target; label them -100 all the
                same where `num_items_in_batch` is given, because whoever counts the labels cannot know.
            use_cache: absent, as the configuration says, but not in training and not with labels.
            logits_to_keep: 0 for all positions; a number for the last so many; positions, int64 [positions]; or a
                mask, bool [B, T]. Only the hidden states named go through `lm_head`, and only they count in the loss.
                With a mask, logits are [kept, vocabulary], row by row; the logits at position t predict token t + 1.

        Raises:
            ModelError: pictures, places and sizes do not fit together, or an id lies beyond the vocabulary.
        """
        if use_cache is None and past_key_values is None and (self.training or labels is not None):
            use_cache = False
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            crop_features=crop_features,
            use_cache=use_cache,
            **kwargs,
        )
        logits = self.lm_head(keep_positions(outputs.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            targets_BT = without_picture_places(labels, self.config.image_token_id)
            targets_BT = nn.functional.pad(targets_BT, (0, 1), value=IGNORED_LABEL)[:, 1:]
            loss = self.loss_function(
                logits=logits,
                labels=None,
                vocab_size=self.config.vocab_size,
                shift_labels=keep_positions(targets_BT, logits_to_keep).contiguous(),
                **kwargs,
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = ["Phi3VForCausalLM", "Phi3VModel", "Phi3VPreTrainedModel"]
