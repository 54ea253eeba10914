"""Checkpoints of Phi-3-vision: the published layout, in and out; a checkpoint that does not fit is refused."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.modeling_utils import PreTrainedModel

from hangtag.errors import ModelError, first_names


class Phi3VCheckpointMixin(PreTrainedModel):
    """`from_pretrained` and `save_pretrained` as transformers has them, strict about every tensor."""

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: Any, *model_args: Any, output_loading_info: bool = False, **kwargs: Any
    ) -> Any:
        """As transformers' own; only safetensors are read, and every tensor must be there in its shape.

        transformers fills a tensor that is missing with random numbers and goes on. Here that is an error, unless
        `ignore_mismatched_sizes=True` asks for new tensors where the shape differs.

        Raises:
            ModelError: tensors are missing, unknown or of another shape, or a file is damaged; all in one message.
        """
        kwargs.setdefault("use_safetensors", True)
        lenient = kwargs.pop("ignore_mismatched_sizes", False)
        try:
            with _without_report():
                model, info = super().from_pretrained(
                    pretrained_model_name_or_path,
                    *model_args,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                    **kwargs,
                )
        except SafetensorError as error:
            raise ModelError(_damaged(pretrained_model_name_or_path, error)) from None
        problems = _problems(info, lenient)
        if problems:
            source = pretrained_model_name_or_path or "the state dict"
            raise ModelError(f"{source} is no checkpoint of this model: {'; '.join(problems)}")
        _keep_four_bits(model)
        return (model, info) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: dict[str, Any] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        **kwargs: Any,
    ) -> None:
        """As transformers' own, in shards of 5 GB as published; weights of an earlier save are removed from the folder.

        transformers leaves them there, and `model.safetensors` would be read instead of new shards.
        """
        super().save_pretrained(save_directory, is_main_process, state_dict, push_to_hub, max_shard_size, **kwargs)
        whole, index = (Path(save_directory) / name for name in ("model.safetensors", "model.safetensors.index.json"))
        if is_main_process and whole.is_file() and index.is_file():
            older = min(whole, index, key=lambda file: file.stat().st_mtime_ns)
            for file in [older, *(Path(save_directory).glob("model-*-of-*.safetensors") if older == index else [])]:
                file.unlink()


def _keep_four_bits(model: PreTrainedModel) -> None:
    """Let bitsandbytes compute with the four bits as they are.

    On a CPU that knows bfloat16 it would pack them anew with scales rounded to bfloat16: other weights than those that
    were trained on, and none for layers narrower than a block.
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


@contextlib.contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers' own table of missing tensors off the screen: the error says it."""
    logger = logging.getLogger("transformers.modeling_utils")

    def is_no_report(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger.addFilter(is_no_report)
    try:
        yield
    finally:
        logger.removeFilter(is_no_report)


def _problems(info: dict[str, Any], lenient: bool) -> list[str]:
    """What transformers found not to fit."""
    mismatched = {} if lenient else {name: shapes for name, *shapes in info["mismatched_keys"]}
    shapes = [f"{name} is {list(found)}, not {list(expected)}" for name, (found, expected) in mismatched.items()]
    return tensor_problems(info["missing_keys"], info["unexpected_keys"], shapes)


def tensor_problems(missing: Iterable[str], unknown: Iterable[str], shapes: Iterable[str] = ()) -> list[str]:
    """A clause for each way in which tensors do not fit, with the first names."""
    kinds = {"missing": sorted(missing), "unknown": sorted(unknown), "of another shape": sorted(shapes)}
    return [f"{len(names)} tensors {kind}: {first_names(names)}" for kind, names in kinds.items() if names]


def _damaged(folder: Any, error: SafetensorError) -> str:
    """Which weight files cannot be opened."""
    files = sorted(Path(folder).glob("*.safetensors")) if folder is not None and Path(folder).is_dir() else []
    damaged = []
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError):
            damaged.append(file.name)
    named = f"{folder}: {', '.join(damaged)}" if damaged else str(folder)
    return f"{named} cannot be read ({error}); the file is damaged or was not copied whole, get it again"


__all__ = ["Phi3VCheckpointMixin", "tensor_problems"]
