"""The page that `hangtag serve` shows: pictures in, hang tags out. One file, which asks for nothing but its own server.

page.html.jinja   the page
page.css          how it looks, in light and dark, on a phone and on paper
*.js              what it does, one after another: elements, asking, tags, heat, keeping, page
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from hangtag.markup import script_json, templates
from hangtag.recipe import Recipe

SCRIPTS = ("elements.js", "asking.js", "tags.js", "heat.js", "keeping.js", "page.js")
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""The header Content-Security-Policy that the page goes with."""
_FOLDER = Path(__file__).parent
_TEMPLATES = templates(_FOLDER)


def page(recipe: Recipe, model: str, nonce: str, most_bytes: int | None = None) -> str:
    """The HTML of the page.

    Args:
        model: its name.
        nonce: the policy's, anew for each response.
        most_bytes: the largest file that the server takes; larger ones are not sent.
    """
    template = recipe.task.template
    fields = [[name, template.fields[name]] for name in template.names]
    return _TEMPLATES.get_template("page.html.jinja").render(
        model=model,
        nonce=nonce,
        names=[words(name) for name in template.names],
        kinds=fields,
        style=Markup(_read("page.css")),
        scripts=[Markup(_read(each)) for each in SCRIPTS],
        settings=script_json({"fields": fields, "mostBytes": most_bytes}),
    )


def words(name: str) -> str:
    """A field's name as people read it."""
    return name.replace("_", " ")


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
