"""A client's schema against what a run can give."""

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.serving.refusals import Refused
from hangtag.serving.wanted import wanted_fields

RUN = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "kind": {"type": "string", "enum": ["bag", "coat", "other"]},
        "price": {"type": "number"},
    },
    "required": ["title", "kind", "price"],
    "additionalProperties": False,
}


def schema(properties, **more):
    return {"type": "object", "properties": properties, **more}


@pytest.mark.parametrize(
    "asked",
    [
        RUN,
        schema({"price": {"type": "number"}}),
        schema({"price": {"type": ["number", "null"]}, "title": {}}, required=["price"], additionalProperties=False),
        schema({"kind": {"enum": ["other", "coat", "bag", "shoe", None], "title": "Kind"}}),
        schema({"kind": {"type": "string", "description": "which"}}, title="Tag"),
        schema({"title": {"anyOf": [{"type": "null"}, {"type": "string"}]}}),
        schema({"kind": {"$ref": "#/$defs/Kind"}}, **{"$defs": {"Kind": {"enum": ["bag", "coat", "other"]}}}),
        {"$ref": "#/$defs/Tag", "$defs": {"Tag": schema({"title": {"type": "string"}})}},
    ],
)
def test_what_a_run_can_give_is_given(asked):
    names = wanted_fields(asked, RUN)
    jsonschema.validate({name: {"title": "a", "kind": "other", "price": 1.5}[name] for name in names}, asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "no object"),
        ({}, "no object with properties"),
        (schema({}), "no object with properties"),
        ({"type": "array", "items": RUN}, "items"),
        (schema({"colour": {"type": "string"}}), "no field colour"),
        (schema({"title": {"type": "string"}}, required=["price"]), "no field price"),
        (schema({"title": {"type": "string"}}, additionalProperties=True), "additionalProperties"),
        (schema({"title": {"type": "string", "pattern": "^A"}}), "pattern"),
        (schema({"title": {"type": "string", "enum": ["a"]}}), "one of a few values"),
        (schema({"price": {"type": "integer"}}), "price is to be integer"),
        (schema({"price": {"type": "number", "minimum": 0}}), "minimum"),
        (schema({"kind": {"type": "string", "enum": ["bag", "coat"]}}), "kind must allow other"),
        (schema({"kind": {"const": "bag"}}), "const"),
        (schema({"kind": {"$ref": "#/$defs/None"}}), "refers to"),
        (schema({"kind": {"$ref": "#/properties/kind"}}), "refers to"),
        (schema({"kind": {"$ref": "https://a.example/kind.json"}}), "refers to"),
        (schema({"kind": {"$ref": ["#"]}}), "refers to"),
        (schema({"title": {"anyOf": []}}), "anyOf"),
        (schema({"title": "string"}), "title is no object"),
        (schema({"title": {"type": "string"}}, required="title"), "required is no list"),
    ],
)
def test_what_it_cannot_promise_is_refused_with_what_there_is(asked, message):
    with pytest.raises(Refused, match=message) as caught:
        wanted_fields(asked, RUN)
    assert caught.value.status == 400
    assert "kind: one of 3 strings" in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["string", "number", "#/$defs/a", "bag", "object"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "enum", "anyOf", "$ref", "$defs", "a", "title", "price"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(values)
def test_any_schema_is_either_kept_or_refused(asked):
    try:
        names = wanted_fields(asked, RUN)
    except Refused:
        return
    jsonschema.validate({name: {"title": "a", "price": 1.5}[name] for name in names}, asked)
