"""Hangtag: fine-tune Phi-3-vision to write a product's tag from its photo alone.

`import hangtag` registers Phi-3-vision with transformers' Auto classes as soon as transformers is imported
or already there; `hangtag.load(run)` gives a tagger that turns pictures into tags, and `hangtag.add_lora(model)` puts
an adapter on the model's own layers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hangtag._register import register

if TYPE_CHECKING:
    from hangtag.phi3v.adapters_phi3_v import adapted_layers as adapted_layers
    from hangtag.phi3v.adapters_phi3_v import add_lora as add_lora
    from hangtag.phi3v.adapters_phi3_v import load_adapter as load_adapter
    from hangtag.phi3v.adapters_phi3_v import lora_config as lora_config
    from hangtag.phi3v.adapters_phi3_v import merge_adapter as merge_adapter
    from hangtag.phi3v.collating_phi3_v import mask_pictures as mask_pictures
    from hangtag.prediction.loading import load as load
    from hangtag.prediction.tag import Ask as Ask
    from hangtag.prediction.tag import Tag as Tag
    from hangtag.prediction.tagger import Tagger as Tagger

ADAPTERS = "hangtag.phi3v.adapters_phi3_v"
# Where each public name is at home; it is imported when it is first asked for.
HOMES = {
    **dict.fromkeys(("adapted_layers", "add_lora", "load_adapter", "lora_config", "merge_adapter"), ADAPTERS),
    **dict.fromkeys(("Ask", "Tag"), "hangtag.prediction.tag"),
    "Tagger": "hangtag.prediction.tagger",
    "load": "hangtag.prediction.loading",
    "mask_pictures": "hangtag.phi3v.collating_phi3_v",
}
__all__ = list(HOMES)
register()


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name]), name)
    if name == "__version__":
        from importlib import metadata

        return metadata.version("hangtag")
    raise AttributeError(f"module 'hangtag' has no attribute {name!r}")
