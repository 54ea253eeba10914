"""Addresses: what is private stays closed however it is written; any text is an http URL or a sentence about it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtag.catalogue.web.addresses import AddressRefused, GuardedNetwork, NotResolved, is_public, web_url


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("172.32.0.1", True),
        ("192.168.0.1", False),
        ("169.254.169.254", False),  # the metadata service of clouds
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),  # 6to4 around 127.0.0.1
        ("2002:808:808::", True),  # and around 8.8.8.8
        ("64:ff9b::7f00:1", False),  # NAT64 around 127.0.0.1
        ("64:ff9b::808:808", True),
        ("2001:0:a00:1::", False),  # Teredo by a server at 10.0.0.1
    ],
)
def test_public_and_private(address, public):
    assert is_public(address) == public


def connect(host, allow_private=False):
    network = GuardedNetwork(allow_private)

    async def go():
        stream = await network.connect_tcp(host, 9, timeout=5)
        await stream.aclose()

    try:
        asyncio.run(go())
    finally:
        network.close()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "::1", "::ffff:127.0.0.1"],
)
def test_every_spelling_of_this_machine_is_refused_before_a_connection(host):
    with pytest.raises(AddressRefused, match="on a private network; if it is yours, use --allow-private"):
        connect(host)


def test_a_host_without_an_address():
    with pytest.raises(NotResolved, match="nowhere.invalid has no address"):
        connect("nowhere.invalid")


def test_a_name_with_a_private_and_a_public_address_leads_to_the_public_one_only(monkeypatch):
    tried = []

    async def connect_tcp(self, address, *_):
        tried.append(address)
        raise OSError("closed")

    monkeypatch.setattr(
        "socket.getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("10.0.0.1", 9)), (0, 0, 0, "", ("8.8.8.8", 9))]
    )
    monkeypatch.setattr("httpcore2.AnyIOBackend.connect_tcp", connect_tcp)
    with pytest.raises(OSError, match="closed"):
        connect("mixed.example")
    assert tried == ["8.8.8.8"]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://shop.example/a.jpg", "http://shop.example/a.jpg"),
        ("  HTTPS://Shop.Example:443/a b.jpg#top ", "https://shop.example/a%20b.jpg"),
        ("http://shop.example/is/image/E646D207-DC83", "http://shop.example/is/image/E646D207-DC83"),
        ("https://exämple.com/ü?q=é", "https://xn--exmple-cua.com/%C3%BC?q=%C3%A9"),
        ("http://[2606:4700::1111]/x", "http://[2606:4700::1111]/x"),
    ],
)
def test_urls_as_they_are_asked_for(text, url):
    assert str(web_url(text)) == url
    assert str(web_url(url)) == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://shop.example/a", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("shop.example/a", "only http and https"),
        ("http:///a", "proper host name"),
        ("http://a b/", "proper host name"),
        ("http://" + "a" * 300 + "/", "proper host name"),
        ("http://shop.example:99999/", "port 99999 does not exist"),
        ("http://me:secret@shop.example/", "names and passwords are not sent"),
        ("http://[::1/", "no URL"),
        ("http://shop.example/" + "a" * 9000, "9,020 characters"),
        ("http://\u202e/", "no URL"),
    ],
)
def test_what_is_no_url_is_told(text, words):
    with pytest.raises(ValueError, match=words):
        web_url(text)


@given(st.one_of(st.text(max_size=60), st.text(max_size=40).map("http://".__add__)))
def test_any_text_is_a_url_or_a_sentence(text):
    try:
        url = web_url(text)
    except ValueError:
        return
    assert url.scheme in ("http", "https")
    assert url.host
    assert "#" not in str(url)
    assert web_url(str(url)) == url
