"""Tables with pictures: read, fetched, split, written and opened. Nothing here imports torch."""

from hangtag.catalogue.store import Catalogue, open_catalogue

__all__ = ["Catalogue", "open_catalogue"]
