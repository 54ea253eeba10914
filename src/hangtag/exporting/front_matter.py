"""What stands before a card for the Hub to read: licence, base, data and scores, as it expects them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hangtag.evaluation.metrics import METRICS
from hangtag.exporting.markdown import one_line
from hangtag.recipe import Recipe

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
LICENCES = {"microsoft/Phi-3.5-vision-instruct": "mit", "microsoft/Phi-3-vision-128k-instruct": "mit"}
"""Of published bases. What was trained on one of them may be bound by the data's licence too."""
# The Hub's names for metrics, where it has one.
HUB_METRICS = {"exact": "exact_match", "rouge_l": "rouge", "token_f1": "f1", "macro_f1": "f1"}


def front_matter(
    recipe: Recipe, base: str, name: str, source: str, metrics: Mapping[str, Any] | None, adapter_only: bool
) -> ModelCardData:
    """The card's data.

    Args:
        base: the name of the base model; a folder's own name is no name on the Hub.
        name: of the exported model.
        source: what the catalogue was made from, empty where unknown.
        metrics: the content of metrics.json, if there is one.
    """
    published = bool(_HUB_NAME.fullmatch(recipe.model.base)) and not Path(recipe.model.base).is_dir()
    method = recipe.train.method
    more: dict[str, Any] = {}
    if published:
        more["base_model"] = base
        more["base_model_relation"] = "adapter" if adapter_only else "finetune"
    if _HUB_NAME.fullmatch(source) and not source.endswith(_TABLES) and not Path(source).exists():
        more["datasets"] = [source]
    if metrics:
        more["eval_results"] = _results(metrics, source or Path(recipe.data.path).name)
        more["model_name"] = one_line(name)
    return ModelCardData(
        license=LICENCES.get(recipe.model.base, "unknown"),
        library_name="peft" if adapter_only else "transformers",
        pipeline_tag="image-text-to-text",
        tags=["hangtag", "phi3_v", "product-tagging", *([method] if method != "full" else [])],
        **more,
    )


def _results(metrics: Mapping[str, Any], data: str) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="image-text-to-text",
            dataset_type="imagefolder",
            dataset_name=one_line(data),
            dataset_split=metrics["split"],
            metric_type=HUB_METRICS.get(name, name),
            metric_name=one_line(f"{field}, {METRICS[name].label}"),
            metric_value=score["value"],
        )
        for field, scores in metrics["fields"].items()
        for name, score in scores.items()
        if math.isfinite(score["value"])
    ]
