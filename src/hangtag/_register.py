"""Register Phi-3-vision with transformers' Auto classes at the moment transformers is imported.

`import hangtag` stays instant (the command line needs no torch for `--help`), and still
`AutoModelForImageTextToText.from_pretrained(folder)` works after it, whichever is imported first.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _AfterTransformers(MetaPathFinder):
    """Finds transformers as everybody does, and registers our classes once it has been imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "transformers":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("transformers")
        if spec is not None and spec.loader is not None:
            _run_afterwards(spec.loader)
        return spec


def _run_afterwards(loader: Loader) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if importlib.util.find_spec("torch") is not None:
            importlib.import_module("hangtag.phi3v")

    loader.exec_module = exec_module  # type: ignore[method-assign]


def register_phi3v() -> None:
    """Register now if transformers is already imported, else as soon as it is."""
    if "transformers" in sys.modules:
        importlib.import_module("hangtag.phi3v")
    elif not any(isinstance(each, _AfterTransformers) for each in sys.meta_path):
        sys.meta_path.insert(0, _AfterTransformers())
