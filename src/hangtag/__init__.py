"""Hangtag: fine-tune Phi-3-vision to write a product's tag from its photo alone.

`import hangtag` registers Phi-3-vision with transformers' Auto classes as soon as transformers is imported
or already there; `hangtag.load(run)` gives a tagger that turns pictures into tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hangtag._register import register_phi3v

if TYPE_CHECKING:
    from hangtag.prediction.tagger import Tag, Tagger, load

__all__ = ["Tag", "Tagger", "load"]
register_phi3v()


def __getattr__(name: str) -> Any:
    if name in __all__:
        from hangtag.prediction import tagger

        return getattr(tagger, name)
    if name == "__version__":
        from importlib import metadata

        return metadata.version("hangtag")
    raise AttributeError(f"module 'hangtag' has no attribute {name!r}")
