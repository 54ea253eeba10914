"""What every room that makes pages needs: templates that escape what they are given, and JSON in a script element."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_ESCAPES = str.maketrans({each: f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"})


def templates(folder: Path, **filters: Callable[..., Any]) -> Environment:
    """The templates of a folder. A name that is not given is an error; what a table or a stranger wrote is escaped."""
    found = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(filters)
    return found


def script_json(value: Any) -> Markup:
    """JSON that nothing can end or turn into a tag inside a script element. No NaN or infinity.

    Raises:
        ValueError: a number is not finite.
    """
    return Markup(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES))
