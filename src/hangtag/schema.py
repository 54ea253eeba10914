"""A tag's JSON Schema: what `schema.json` of a run says, for whoever reads its tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hangtag.answer import Template
from hangtag.errors import DataError

OTHER = "other"
"""Stands in a tag for a category that training never showed."""
_TYPES = {"text": "string", "category": "string", "number": "number"}

Categories = Mapping[str, Sequence[str]]


def tag_schema(template: Template, categories: Categories) -> dict[str, Any]:
    """The JSON Schema of a tag: every field, a category being a known one or "other".

    Args:
        categories: the known values of each category field; a field without an entry may hold any.
    """
    properties: dict[str, Any] = {}
    for name in template.names:
        properties[name] = {"type": _TYPES[template.fields[name]]}
        if name in categories:
            properties[name]["enum"] = list(dict.fromkeys([*categories[name], OTHER]))
    return {"type": "object", "properties": properties, "required": template.names, "additionalProperties": False}


def known_of(schema: Any, template: Template) -> dict[str, list[str]]:
    """The known values of each category field, as `tag_schema` wrote them.

    Raises:
        DataError: it is not the schema of this template's tags.
    """
    try:
        enums = {name: part["enum"] for name, part in schema["properties"].items() if "enum" in part}
        known = {name: [str(each) for each in enum if each != OTHER] for name, enum in enums.items()}
        fits = tag_schema(template, known) | {"required": None} == schema | {"required": None}
    except (AttributeError, KeyError, TypeError):
        fits = False
    if not fits:
        raise DataError("it is not the schema of this recipe's tags")
    return known
