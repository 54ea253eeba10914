"""A table's model: what its columns are and how they go together, and new rows drawn from it."""

from hangtag.catalogue.like.synth_like import synthesise_like

__all__ = ["synthesise_like"]
