"""A room imports only from floors below it; rooms on one floor do not know each other."""

import ast
from pathlib import Path

import pytest

import hangtag

PACKAGE = Path(hangtag.__file__).parent
FLOORS = [
    {"errors", "files", "machine", "markup", "progress"},
    {"phi3v", "recipe", "answer", "schema", "reading", "calibration", "cost", "flops", "journal", "memory"},
    {"catalogue", "examples"},
    {"prediction", "evaluation"},
    {"training"},
    {"report", "serving", "exporting"},
    {"demo"},
    {"cli", "terminal"},
    {"__main__"},
]
# Inside a floor these may be known: recipe checks its template, memory reckons a recipe, flops take a model's sizes,
# schema and reading hold answers, examples are made of rows.
NEIGHBOURS = {
    ("recipe", "answer"),
    ("schema", "answer"),
    ("reading", "answer"),
    ("calibration", "reading"),
    ("memory", "recipe"),
    ("memory", "cost"),
    ("flops", "memory"),
    ("examples", "catalogue"),
    ("files", "errors"),
    ("cli", "terminal"),
}
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(each for each in PACKAGE.rglob("*.py") if each.name != "__init__.py" or each.parent != PACKAGE)


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda each: str(each.relative_to(PACKAGE)))
def test_a_room_knows_only_the_floors_below(module):
    room = room_of(module)
    if room == "_register":
        return
    for name in imports_of(module):
        parts = name.split(".")
        if parts[0] != "hangtag" or len(parts) < 2 or parts[1] in (room, "__version__"):
            continue
        below = FLOOR[parts[1]] < FLOOR[room]
        assert below or (room, parts[1]) in NEIGHBOURS, f"{module.name} ({room}) imports {name}"


@pytest.mark.parametrize(
    "module", [each for each in MODULES if room_of(each) == "catalogue"], ids=lambda each: each.name
)
def test_the_catalogue_never_imports_torch(module):
    assert not {name for name in imports_of(module) if name.split(".")[0] in ("torch", "transformers")}
