"""The page as text: whole, with nothing loaded from elsewhere, and no word of a recipe taken for code."""

import json
import re

import pytest
from pages import Page

from hangtag.recipe import Data, Recipe, Task
from hangtag.serving.page import page

HOSTILE = "</script><img src=x onerror=alert(1)>"


def recipe(fields):
    answer = "; ".join(f"{{{name}}}" for name in fields)
    return Recipe(data=Data(path="shop"), task=Task(answer=answer, fields=fields))


@pytest.mark.parametrize("fields", [{"title": "text"}, {"kind": "category", "price": "number", "size": "number"}])
def test_it_is_whole_and_alone(fields):
    html = page(recipe(fields), name="shop", nonce="n0nce")
    read = Page(html)
    assert read.tags["h1"] == 1
    for name in fields:
        assert name in read.text
    # What has an address is the icon, which is inside, and the list of endpoints.
    assert [value.partition(":")[0] for _, key, value in read.attributes if key in ("href", "src")] == [
        "data", "docs", "docs"
    ]  # fmt: skip
    assert "http://www.w3.org" in html
    assert re.findall(r"https?://(?!www\.w3\.org)", html) == []
    assert not re.search(r"@import|url\(", html)
    assert all(value == "n0nce" for tag, key, value in read.attributes if key == "nonce")
    nonces = [tag for tag, key, _ in read.attributes if key == "nonce"]
    assert nonces.count("script") == read.tags["script"] - 1
    assert nonces.count("style") == read.tags["style"] == 1
    assert not [key for _, key, _ in read.attributes if key.startswith("on") or key == "style"]
    assert len(html) < 60_000


def test_names_are_words_and_no_code():
    html = page(recipe({HOSTILE: "text", "made_in": "category"}), name=HOSTILE, nonce="n0nce", token=True, most_bytes=7)
    assert "<img src=x" not in html
    assert "made in" in Page(html).text
    settings = re.search(r'id="settings">(.*?)</script>', html, re.DOTALL)[1]
    assert json.loads(settings) == {
        "fields": [[HOSTILE, "text"], ["made_in", "category"]], "token": True, "mostBytes": 7
    }  # fmt: skip


def test_each_page_has_a_nonce_of_its_own(served):
    answers = [served.client.get("/") for _ in range(2)]
    nonces = [re.search(r"script-src 'nonce-([^']+)'", each.headers["content-security-policy"])[1] for each in answers]
    assert nonces[0] != nonces[1]
    for answer, nonce in zip(answers, nonces, strict=True):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert f'nonce="{nonce}"' in answer.text
        assert "unsafe" not in answer.headers["content-security-policy"]
