"""Hangtag: fine-tune Phi-3-vision to write a product's tag from its photo alone.

`import hangtag` registers Phi-3-vision with transformers' Auto classes as soon as transformers is imported
or already there; `hangtag.load(run)` gives a tagger that turns pictures into tags, and `hangtag.add_lora(model)` puts
an adapter on the model's own layers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hangtag._register import register_phi3v

if TYPE_CHECKING:
    from hangtag.phi3v.adapters_phi3_v import adapted_layers, add_lora, load_adapter, lora_config, merge_adapter
    from hangtag.phi3v.collating_phi3_v import mask_pictures
    from hangtag.prediction.tagger import Tag, Tagger, load

__all__ = [
    "Tag",
    "Tagger",
    "adapted_layers",
    "add_lora",
    "load",
    "load_adapter",
    "lora_config",
    "mask_pictures",
    "merge_adapter",
]
TAGGING = ("Tag", "Tagger", "load")
register_phi3v()


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = {"mask_pictures": "hangtag.phi3v.collating_phi3_v"}.get(name, "hangtag.phi3v.adapters_phi3_v")
        return getattr(importlib.import_module("hangtag.prediction.tagger" if name in TAGGING else module), name)
    if name == "__version__":
        from importlib import metadata

        return metadata.version("hangtag")
    raise AttributeError(f"module 'hangtag' has no attribute {name!r}")
