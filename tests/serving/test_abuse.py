"""Malformed requests: those that schemathesis makes of the server's own OpenAPI, and damaged pictures. None is a 500.

A slice of them; `HANGTAG_MALFORMED=1000 pytest tests/serving/test_abuse.py` sends about so many of each kind.
"""

import json
import os
from collections import Counter

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from served import data_uri, encoded, picture

MOST = int(os.environ.get("HANGTAG_MALFORMED", "25"))
CALM = settings(
    derandomize=True,
    deadline=None,
    max_examples=MOST,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
REFUSALS = {400, 401, 403, 404, 405, 408, 413, 415, 422, 431, 503}


@pytest.fixture(scope="module")
def operations(served):
    described = served.client.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=served.url)
    return {each.ok().label: each.ok() for each in schema.get_all_operations()}


seen = Counter()


def check(answer):
    """Either done, or refused in the one form, in strict JSON."""
    seen[answer.status_code] += 1
    assert answer.status_code == 200 or answer.status_code in REFUSALS, (answer.status_code, answer.text[:300])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in answer.text
    if answer.status_code != 200:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("label", ["POST /v1/predict", "POST /v1/chat/completions"])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_what_schemathesis_makes_is_answered_or_refused(served, operations, label, mode):
    @CALM
    @given(case=operations[label].as_strategy(generation_mode=mode))
    def send(case):
        options = case.as_transport_kwargs(base_url=served.url)
        try:
            request = served.client.build_request(
                options["method"],
                options["url"],
                params=options.get("params"),
                json=options.get("json"),
                content=options.get("data") if isinstance(options.get("data"), bytes | str) else None,
                data=options.get("data") if isinstance(options.get("data"), dict) else None,
                files=options.get("files"),
                headers={key: value for key, value in (options.get("headers") or {}).items() if key and value},
            )
            answer = served.client.send(request)
        except (httpx.LocalProtocolError, httpx.InvalidURL, AttributeError, TypeError, ValueError):
            return  # no client can send that
        check(answer)

    send()


files = [
    picture(64, 48, form="JPEG"),
    picture(
        64,
        48,
        form="JPEG",
        progressive=True,
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
    ),
    picture(40, 40, form="PNG", mode="RGBA", colour=(1, 2, 3, 90)),
    picture(40, 40, form="WEBP"),
    picture(40, 40, form="GIF", mode="P", colour=3),
    picture(40, 40, form="BMP"),
    picture(40, 40, form="TIFF"),
]


@st.composite
def damaged(draw):
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(0, 12))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    start, stop = draw(st.integers(0, 8)), draw(st.integers(0, len(data)))
    return bytes(data[start if draw(st.integers(0, 5)) == 0 else 0 : stop if draw(st.booleans()) else len(data)])


@CALM
@given(st.lists(damaged(), min_size=1, max_size=8))
def test_damaged_pictures_are_tags_or_errors(served, pictures):
    answer = served.predict(*pictures)
    check(answer)
    assert len(answer.json()["tags"]) == len(pictures)
    for tag in answer.json()["tags"]:
        assert (tag["error"] is None) == (tag["fields"] is not None)
        assert "/" not in (tag["error"] or "").replace("HEIC or AVIF", "")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["images", "base64", "url", "name", "heat", "type", "text", "a"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@CALM
@given(json_values, json_values)
def test_any_json_is_answered_or_refused(served, value, other):
    check(served.client.post("/v1/predict", json={"images": value, "heat": other} if other else value))
    part = {"type": "image_url", "image_url": {"url": data_uri(files[0])}}
    body = {"model": "small", "messages": [{"role": "user", "content": [part]}], "response_format": value}
    check(served.client.post("/v1/chat/completions", json=body))
    check(served.client.post("/v1/chat/completions", json={**body, "response_format": None, "messages": other}))


@CALM
@given(st.binary(max_size=200), st.sampled_from(["application/json", "multipart/form-data; boundary=x", "text/plain"]))
def test_any_bytes_are_refused(served, body, kind):
    for path in ("/v1/predict", "/v1/chat/completions"):
        check(served.client.post(path, content=body, headers={"Content-Type": kind}))


def test_the_server_is_as_good_as_before(served, photos):
    assert served.service.batcher.taken == 0
    assert served.service.bodies.held == 0
    answer = served.json({"images": [{"base64": encoded(photos[0])}]})
    assert answer.status_code == 200
    assert json.loads(answer.text)["tags"][0]["fields"]
    print(f"answered before: {sum(seen.values())} requests, by status {dict(sorted(seen.items()))}")
