"""Templates to pages that hold all they show: style and script are inside, whatever comes from a table is escaped.

A page's policy forbids its browser everything but its own style, this one script, told by its hash, and pictures that
are inside. Tables come from strangers: even where something of them were taken for a script, it would not run, and
nothing could be fetched or sent.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hangtag.evaluation.metrics import show_amount
from hangtag.markup import script_json, templates
from hangtag.report.words import FILTERS

_FOLDER = Path(__file__).parent
_TEMPLATES = templates(_FOLDER, **FILTERS, amount=show_amount)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def fill(
    template: str, styles: tuple[str, ...] = ("page.css",), script: str = "", payload: Any = None, /, **values: Any
) -> str:
    """The HTML of a template with its styles, one after another.

    Args:
        script: a file beside the templates that runs at the end of the page.
        payload: what the script reads, as JSON, from the element `payload`.
    """
    style = Markup("").join(Markup(_read(each)) for each in styles)
    code, policy = (_read(script), _POLICY) if script else ("", _POLICY)
    if code:
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    return _TEMPLATES.get_template(template).render(
        style=style, policy=Markup(policy), script=Markup(code), payload=script_json(payload), **values
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
