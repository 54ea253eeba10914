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
_FOLDER = Path(__file__).parent
_TEMPLATES = templates(_FOLDER)


def page(recipe: Recipe, *, name: str, nonce: str, token: bool = False, most_bytes: int | None = None) -> str:
    """The HTML of the page.

    Args:
        name: the model's.
        nonce: of the response's policy, which lets only this style and these scripts run.
        token: whether the server wants one; it is asked for before anything is sent.
        most_bytes: the largest file that the server takes; larger ones are not sent.
    """
    template = recipe.task.template
    fields = [[each, template.fields[each]] for each in template.names]
    return _TEMPLATES.get_template("page.html.jinja").render(
        model=name,
        nonce=nonce,
        names=[words(each) for each in template.names],
        kinds=fields,
        style=Markup(_read("page.css")),
        scripts=[Markup(_read(each)) for each in SCRIPTS],
        settings=script_json({"fields": fields, "token": token, "mostBytes": most_bytes}),
    )


def words(name: str) -> str:
    """A field's name as people read it."""
    return name.replace("_", " ")


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
