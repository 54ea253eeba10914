"""Templates to pages that hold all they show: the style is inside, and whatever comes from a table is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hangtag.evaluation.metrics import show_amount
from hangtag.report.words import FILTERS

_FOLDER = Path(__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(FILTERS, amount=show_amount)


def fill(template: str, /, styles: tuple[str, ...] = ("page.css",), **values: Any) -> str:
    """The HTML of a template with its styles, one after another."""
    style = Markup("").join(Markup((_FOLDER / each).read_text(encoding="utf-8")) for each in styles)
    return _TEMPLATES.get_template(template).render(style=style, **values)
