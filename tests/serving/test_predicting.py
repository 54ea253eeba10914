"""`POST /v1/predict` by HTTP: forms and JSON, good pictures and bad ones, and what is wrong with a request."""

import json

import pytest
from served import Served, encoded, picture
from servers import Server

from hangtag.catalogue.pictures import read_picture

RECORD = {"name", "fields", "confidence", "numbers", "raw", "error", "calibrated", "neighbours", "heat"}


def test_a_form_gets_the_tags_that_the_tagger_writes(served, tagger, photos):
    answer = served.predict(*photos[:3])
    assert answer.status_code == 200
    told = answer.json()
    assert told["model"] == "small"
    expected = tagger.tags([read_picture(data) for data in photos[:3]])
    assert [each["raw"] for each in told["tags"]] == [each.raw for each in expected]
    assert [each["fields"] for each in told["tags"]] == [each.fields for each in expected]
    assert [each["name"] for each in told["tags"]] == ["1.jpg", "2.jpg", "3.jpg"]
    assert all(set(each) == RECORD for each in told["tags"])


def test_json_gets_the_same_as_a_form(served, photos):
    images = [{"base64": encoded(data), "name": f"{number}.jpg"} for number, data in enumerate(photos[:2], 1)]
    assert served.json({"images": images, "model": "small"}).json() == served.predict(*photos[:2]).json()


@pytest.mark.parametrize("size", [(1500, 400), (400, 1500), (33, 31), (1, 1), (999, 1000)])
def test_a_large_picture_is_made_small_without_changing_its_answer(served, tagger, size):
    data = picture(*size, form="PNG")
    (tag,) = served.predict(data).json()["tags"]
    assert tag["raw"] == tagger.tags([read_picture(data)])[0].raw


def test_a_bad_picture_among_good_ones_is_a_tag_with_an_error(served, photos):
    cmyk, animated = picture(mode="CMYK", colour=(9, 90, 0, 0)), picture(form="GIF", save_all=True)
    heic = b"\0\0\0\x18ftypheic" + bytes(100)
    answer = served.predict(photos[0], b"no picture", heic, cmyk, animated, b"", photos[1][:-400])
    assert answer.status_code == 200
    errors = [each["error"] for each in answer.json()["tags"]]
    assert [bool(each) for each in errors] == [False, True, True, False, False, True, True]
    assert "HEIC" in errors[2]
    assert "is empty" in errors[5]
    bad = answer.json()["tags"][1]
    assert set(bad) == RECORD
    assert bad["fields"] is bad["raw"] is None


def test_all_bad_is_422_with_the_same_body_and_an_error(served):
    huge, large = (picture(side, side, form="PNG", mode="1", colour=0) for side in (20_000, 7_100))
    answer = served.predict(huge, large, b"no picture")
    assert answer.status_code == 422
    told = answer.json()
    assert "more pixels than can be decoded" in told["tags"][0]["error"]
    assert "7100 x 7100 pixels; at most 50,000,000" in told["tags"][1]["error"]
    assert "more pixels than can be decoded" in told["error"]["message"]
    assert served.json({"images": [{"base64": "###"}]}).json()["tags"][0]["error"].startswith("picture is not base64")


def test_a_hundred_files_in_one_request_are_refused_at_once(served, photos):
    answer = served.predict(*[photos[0]] * 100)
    assert answer.status_code == 413
    assert "at most 16" in answer.json()["error"]["message"] or "16 parts" in answer.json()["error"]["message"]
    answer = served.json({"images": [{"base64": ""}] * 100})
    assert answer.status_code == 413
    assert "100 pictures" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"images": "x"}, "images"),
        ({"images": []}, "images"),
        ({"images": [{"base64": 7}]}, "images.0.base64"),
        ({"images": [{"base64": "aa", "url": "https://a.example/b.jpg"}]}, "either base64 or url"),
        ({"images": [{}]}, "either base64 or url"),
        ({"images": [{"base64": "aa"}], "neighbours": 1000}, "neighbours"),
        ({"images": [{"base64": "aa"}], "heat": "perhaps"}, "heat"),
        ({"images": [{"base64": "aa"}], "picture": 1}, "picture"),
        ([], "the body"),
    ],
)
def test_json_of_wrong_types_is_400_and_says_where(served, body, word):
    answer = served.json(body)
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000])
def test_what_is_no_json_is_400(served, body):
    answer = served.client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"x", 415),
        ("", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=files\r\n\r\nx", 400),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 400),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nx\r\n--b--\r\n',
            400,
        ),
        ("multipart/form-data; boundary=" + "b" * 300, b"x", 400),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"X-A: b\r\n" * 100 + b"\r\n\r\n--b--\r\n", 400),
    ],
)
def test_a_form_that_is_none_is_refused(served, content_type, body, status):
    answer = served.client.post("/v1/predict", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_options_of_a_form_are_checked_too(served, photos):
    assert served.predict(photos[0], params={"neighbours": "many"}).status_code == 400
    assert served.predict(photos[0], params={"colour": "red"}).status_code == 400
    assert served.predict(photos[0], params={"neighbours": "2"}).status_code == 200


def test_an_unknown_model_is_404_in_openais_form(served, photos):
    answer = served.json({"images": [{"base64": encoded(photos[0])}], "model": "gpt-9"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "model_not_found"
    assert "'small'" in error["message"]


def test_a_name_comes_back_as_it_was_sent_and_harms_nothing(served, photos):
    name = '<script>"\u2028../../etc/passwd'
    answer = served.client.post("/v1/predict", files=[("files", (name, photos[0]))])
    assert answer.json()["tags"][0]["name"].startswith("<script>")
    assert "\u2028" not in answer.text


def test_urls_are_fetched_only_where_allowed(served, model, photos):
    with Server({"/a.jpg": photos[0], "/page": b"<html>"}) as elsewhere:
        url = f"http://localhost:{elsewhere.port}/a.jpg"
        answer = served.json({"images": [{"url": url}]})
        assert answer.status_code == 422
        assert "--allow-urls" in answer.json()["error"]["message"]
        with Served(model, allow_urls=True) as public:
            answer = public.json({"images": [{"url": url}, {"url": "file:///etc/passwd"}, {"url": "https://"}]})
            assert answer.status_code == 422
            errors = [each["error"] for each in answer.json()["tags"]]
            assert "private network" in errors[0]
            assert "127.0.0.1" not in errors[0]
            assert "only http and https" in errors[1]
            assert "host name" in errors[2]
        assert not elsewhere.requests
        with Served(model, allow_urls=True, allow_private=True) as private:
            page = url.replace("a.jpg", "page")
            answer = private.json({"images": [{"url": url}, {"url": page}, {"url": url + "x"}]})
            first, second, third = answer.json()["tags"]
            assert first["raw"] == served.predict(photos[0]).json()["tags"][0]["raw"]
            assert "web page" in second["error"]
            assert "404" in third["error"]


def test_answers_are_strict_json(served, photos):
    def refuse(word):
        raise AssertionError(word)

    json.loads(served.predict(photos[0]).text, parse_constant=refuse)
