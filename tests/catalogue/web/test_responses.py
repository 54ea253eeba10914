"""What answers mean."""

import gzip
import zlib
from datetime import UTC, datetime

import pytest

from hangtag.catalogue.web.responses import decoded, forbids_ai, header, retry_after, status_failure

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1e9", 0.0),
        ("9" * 400, 0.0),
        ("Tue, 99 Nov 2026 12:00:30 GMT", 0.0),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "forbidden"),
    [
        ("noai", True),
        ("noindex, NoImageAI", True),
        ("hangtag: noai", True),
        ("otherbot: noai", False),
        ("otherbot: noindex, noai", True),
        ("noindex, nofollow", False),
        ("unavailable_after: 25 Jun 2026 15:00:00 PST", False),
        ("", False),
    ],
)
def test_noai(value, forbidden):
    assert forbids_ai(value, "hangtag") == forbidden


def test_only_what_can_pass_is_tried_again():
    passing = {code for code in range(300, 600) if status_failure(code, []).passing}
    assert passing == {408, 425, 429, 502, 503, 504}
    failure = status_failure(429, [(b"Retry-After", b"3")])
    assert (failure.reason, failure.asked, failure.wait) == ("http-429", True, 3.0)
    assert status_failure(429, []).asked
    assert not status_failure(503, []).asked
    assert status_failure(404, [(b"retry-after", b"3")]).wait == 0


def test_headers_are_joined_and_read_as_utf_8_or_latin_1():
    headers = [(b"X-Robots-Tag", b"a"), (b"x-robots-tag", b"b"), (b"Location", "/ü".encode()), (b"Other", b"/\xfc")]
    assert header(headers, "x-robots-tag") == "a, b"
    assert (header(headers, "location"), header(headers, "other"), header(headers, "none")) == ("/ü", "/ü", "")


def test_a_body_that_was_packed_without_being_asked_for():
    assert decoded(b"picture", "", 10) == decoded(b"picture", "identity", 10) == b"picture"
    assert decoded(gzip.compress(b"picture"), "GZIP", 10) == b"picture"
    assert decoded(zlib.compress(b"picture"), "deflate", 10) == b"picture"
    for body, encoding, words in [
        (gzip.compress(bytes(10_000_000)), "gzip", "more than 1,000 bytes"),
        (b"picture", "gzip", "damaged"),
        (gzip.compress(b"picture" * 9)[:-9], "gzip", "cut short"),
        (b"picture", "br", "not read"),
    ]:
        with pytest.raises(ValueError, match=words):
            decoded(body, encoding, 1000)
