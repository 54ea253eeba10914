"""What happens when other libraries are imported after hangtag, whoever imports them.

transformers: Phi-3-vision is registered with its Auto classes. So `import hangtag` stays instant (the command line
needs no torch for `--help`), and still `AutoModelForImageTextToText.from_pretrained(folder)` works after it, whichever
is imported first.

bitsandbytes: on processors with AVX512-bf16 it would fetch a compiled kernel from the Hub and run it, if the package
`kernels` is there. Nothing is fetched unasked: it is imported as if `kernels` were not.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Execute = Callable[[ModuleType], None]


class _When(MetaPathFinder):
    """Finds one module as everybody does, and has its code executed by `execute`, once.

    Args:
        execute: given what executes the module, and the module.
    """

    def __init__(self, name: str, execute: Callable[[Execute, ModuleType], None]) -> None:
        self.name = name
        self.execute = execute
        self.searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The others' spec; that it was asked for does not mean that the module will be imported."""
        if fullname != self.name or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.searching = False
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _watch(self, loader: Loader) -> None:
        own = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self.execute(own, module)

        loader.exec_module = exec_module  # type: ignore[method-assign]


def _and_register(execute: Execute, module: ModuleType) -> None:
    execute(module)
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("hangtag.phi3v")


def _without_kernels(execute: Execute, module: ModuleType) -> None:
    """Import it while `kernels` cannot be, and without its warning that it cannot."""
    missing = object()
    hidden = sys.modules.get("kernels", missing)
    log = logging.getLogger("bitsandbytes.backends.cpu.ops")
    silent, log.disabled = log.disabled, True
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        execute(module)
    finally:
        log.disabled = silent
        del sys.modules["kernels"]
        if hidden is not missing:
            sys.modules["kernels"] = hidden  # type: ignore[assignment]


def register() -> None:
    """Register Phi-3-vision now if transformers is already imported, else as soon as it is; watch bitsandbytes."""
    if "transformers" in sys.modules:
        importlib.import_module("hangtag.phi3v")
    for name, execute in {"transformers": _and_register, "bitsandbytes": _without_kernels}.items():
        watched = any(isinstance(each, _When) and each.name == name for each in sys.meta_path)
        if name not in sys.modules and not watched:
            sys.meta_path.insert(0, _When(name, execute))
