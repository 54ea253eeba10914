"""Downloading from real servers that misbehave: what can be had is had, the rest has one reason; manners are kept."""

import asyncio
import contextlib
import gzip
import socket
import time
from itertools import pairwise

import pytest
from servers import CERTIFICATE, Drip, Hang, Http2Server, Reset, Server, ok, status

from hangtag.catalogue.web import Failure, Limits, download

QUICK = Limits(
    allow_private=True, first_wait=0.05, connect=2, first_byte=0.6, whole=3, longest_wait=3, max_bytes=100_000
)
PICTURE = b"picture " * 100


def fetch(urls, limits=QUICK, slow=0.0):
    """Outcomes by URL."""
    outcomes = {}

    async def done(outcome):
        await asyncio.sleep(slow)
        assert outcome.url not in outcomes
        outcomes[outcome.url] = outcome

    asyncio.run(download(urls, done, limits))
    return outcomes


def one(route, limits=QUICK, path="/x"):
    """The outcome of one URL, and the requests for it."""
    with Server({path: route}) as server:
        outcome = fetch([server.url(path)], limits)[server.url(path)]
    return outcome, server.counts[path]


def reason(outcome):
    return outcome.result.reason if isinstance(outcome.result, Failure) else "fetched"


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (status(404), "http-404"),
        (status(410), "http-410"),
        (status(403), "http-403"),
        (status(500), "http-500"),
        (status(204), "http-204"),
        (status(429, retry_after=3600), "http-429"),
        (ok(PICTURE, x_robots_tag="noai"), "noai"),
        (ok(PICTURE, x_robots_tag="noindex, noimageai"), "noai"),
        (ok(b"", content_length=10_000_000_000), "too-large"),
        (ok(bytes(100_001)), "too-large"),
        (ok(gzip.compress(bytes(200_000)), content_encoding="gzip"), "wrong-content"),
        (status(302, location="ftp://shop.example/x"), "bad-redirect"),
        (status(302, location="http://[::1"), "bad-redirect"),
        (status(302), "http-302"),
    ],
)
def test_what_cannot_pass_is_asked_for_once(route, expected):
    outcome, requests = one(route)
    assert (reason(outcome), outcome.attempts, requests) == (expected, 1, 1)


@pytest.mark.parametrize(
    "trouble",
    [
        status(429, retry_after=1),
        status(503, retry_after=1),
        status(503),
        status(502),
        status(408),
        Reset(),
        Reset(b"HTTP/1.1 200 OK\r\nContent-Length: 800\r\n\r\npict"),
        status(200, PICTURE[:99], closes=True, content_length=800),
        Hang(),
        status(200, b"", content_length="a lot"),
    ],
)
def test_what_can_pass_is_tried_again(trouble):
    outcome, requests = one(lambda number: trouble if number < 3 else PICTURE)
    assert (outcome.result, outcome.attempts, requests) == (PICTURE, 3, 3)


def test_in_the_end_the_last_reason_stands():
    outcome, requests = one(status(503))
    assert (reason(outcome), outcome.attempts, requests) == ("http-503", 3, 3)
    outcome, requests = one(Reset(), Limits(allow_private=True, retries=0))
    assert (reason(outcome), outcome.attempts, requests) == ("broken-off", 1, 1)


def test_retry_after_is_waited_for_by_the_whole_host_where_it_means_it():
    paths = [f"/{number}" for number in range(40)]
    busy = {path: (lambda number: status(429, retry_after=1) if number == 1 else PICTURE) for path in paths[4:9]}
    with Server(busy, default=ok(PICTURE), latency=0.02) as server:
        outcomes = fetch([server.url(path) for path in paths])
    assert {reason(each) for each in outcomes.values()} == {"fetched"}
    assert len(server.requests) == 1 + 40 + 5
    times = [seconds for seconds, *_ in server.requests]
    gap = max(later - earlier for earlier, later in pairwise(times))
    assert gap >= 0.9
    assert outcomes[server.url("/4")].attempts == 2


def test_an_obeyed_wait_costs_no_try():
    limits = Limits(allow_private=True, retries=0, first_wait=0.01, obey_robots=False)
    outcome, requests = one(lambda number: status(429) if number < 4 else PICTURE, limits)
    assert (outcome.result, requests) == (PICTURE, 4)


def test_a_host_that_asks_to_wait_for_ever_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr("hangtag.catalogue.web.downloader._LONGEST_WAIT", 0.05)
    outcome, requests = one(status(429))
    assert (reason(outcome), requests) == ("http-429", 13)


def test_eight_connections_kept_and_used_again():
    with Server(default=ok(PICTURE), latency=0.03) as server:
        outcomes = fetch([server.url(f"/{number}") for number in range(100)])
    assert all(each.result == PICTURE for each in outcomes.values())
    assert server.most_open["127.0.0.1"] == 8
    assert server.connections["127.0.0.1"] == 8
    assert len(server.requests) == 101
    assert all(headers["user-agent"] == "hangtag" for *_, headers in server.requests)
    assert all(headers["accept-encoding"] == "identity" for *_, headers in server.requests)


def test_connections_that_break_are_replaced_one_by_one():
    with Server(default=ok(PICTURE), latency=0.01) as server:
        paths = [f"/{number}" for number in range(60)]
        server.routes = {path: (lambda number: Reset() if number == 1 else PICTURE) for path in paths[::3]}
        outcomes = fetch([server.url(path) for path in paths])
    assert all(each.result == PICTURE for each in outcomes.values())
    assert server.most_open["127.0.0.1"] <= 8


def test_a_slow_host_holds_up_no_other():
    hosts = ("127.0.0.1", "127.0.0.2")
    with Server(default=ok(PICTURE), hosts=hosts) as server:
        server.routes = {
            f"/slow{number}": Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", 0.2) for number in range(10)
        }
        finished = {}

        async def done(outcome):
            finished[outcome.url] = time.monotonic() - started

        urls = [server.url(path, "127.0.0.2") for path in server.routes]
        urls += [server.url(f"/{number}") for number in range(50)]
        started = time.monotonic()
        asyncio.run(download(urls, done, Limits(allow_private=True, whole=1, retries=0)))
    quick = [seconds for url, seconds in finished.items() if "slow" not in url]
    slow = [seconds for url, seconds in finished.items() if "slow" in url]
    assert (len(quick), len(slow)) == (50, 10)
    assert max(quick) < min(slow)


def test_a_host_that_never_answers_is_given_up_and_a_closed_port_too():
    limits = Limits(allow_private=True, connect=1, first_byte=0.3, whole=3)
    with Server(default=Hang()) as server:
        outcomes = fetch([server.url(f"/{number}") for number in range(200)], limits)
    assert {reason(each) for each in outcomes.values()} == {"time-out"}
    assert len(server.requests) <= 30
    assert sum("other files of this host" in each.result.detail for each in outcomes.values()) > 150
    closed = fetch([f"http://127.0.0.1:{server.port}/{number}" for number in range(50)], limits)
    assert {reason(each) for each in closed.values()} == {"no-connection"}


def test_a_server_that_drips_or_never_ends_is_cut_off():
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n"
    outcome, _ = one(Drip(start, 0.1), Limits(allow_private=True, whole=0.5, retries=0))
    assert (reason(outcome), outcome.result.detail) == ("time-out", "not whole within 0.5 s")
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    outcome, _ = one(Drip(endless + b"fffff\r\n", 0, size=5000))
    assert reason(outcome) == "too-large"
    outcome, _ = one(Drip(b"HTTP/1.1 200 OK\r\n", 0, size=5000), Limits(allow_private=True, whole=3, retries=0))
    assert reason(outcome) == "broken-off"


def test_redirects_are_followed_and_bounded():
    routes = {
        "/a": status(301, location="/b c"),
        "/b%20c": status(302, location="//127.0.0.2:{port}/d"),
        "/d": PICTURE,
        "/loop": status(302, location="/loop"),
    }
    with Server(routes, hosts=("127.0.0.1", "127.0.0.2")) as server:
        routes["/b%20c"] = status(302, location=f"//127.0.0.2:{server.port}/d#part")
        outcomes = fetch([server.url("/a"), server.url("/loop")])
    assert outcomes[server.url("/a")].result == PICTURE
    assert outcomes[server.url("/a")].attempts == 1
    assert reason(outcomes[server.url("/loop")]) == "redirects"
    assert server.counts["/loop"] == 6
    assert [host for _, host, path, _ in server.requests if path == "/d"] == ["127.0.0.2"]


def test_after_a_redirect_too_a_private_host_is_not_asked(monkeypatch):
    monkeypatch.setattr("hangtag.catalogue.web.addresses.is_public", lambda address: address == "127.0.0.1")
    with Server(hosts=("127.0.0.1", "127.0.0.2")) as server:
        server.routes = {"/a": status(302, location=server.url("/secret", "127.0.0.2")), "/secret": PICTURE}
        outcome = fetch([server.url("/a")], Limits())[server.url("/a")]
    assert reason(outcome) == "private"
    assert "127.0.0.2 is 127.0.0.2, on a private network" in outcome.result.detail
    assert server.counts["/secret"] == 0
    assert server.connections["127.0.0.2"] == 0


def test_private_hosts_are_refused_as_a_rule():
    with Server(default=ok(PICTURE)) as server:
        urls = [server.url("/x"), f"http://localhost:{server.port}/x", f"http://[::1]:{server.port}/x"]
        assert {reason(each) for each in fetch(urls, Limits()).values()} == {"private"}
        assert not server.connections
        assert fetch(urls[:1])[urls[0]].result == PICTURE


def test_robots_txt_is_asked_for_once_and_obeyed():
    rules = b"User-agent: *\nDisallow: /private/\n\nUser-agent: hangtag\nDisallow: /secret*.jpg\n"
    with Server({"/robots.txt": ok(rules)}, default=ok(PICTURE)) as server:
        paths = ["/a", "/private/b", "/secret/c.jpg", "/secret/c.png"]
        outcomes = fetch([server.url(path) for path in paths])
        assert [reason(outcomes[server.url(path)]) for path in paths] == ["fetched", "fetched", "robots", "fetched"]
        assert outcomes[server.url("/secret/c.jpg")].attempts == 0
        assert server.counts == {"/robots.txt": 1, "/a": 1, "/private/b": 1, "/secret/c.png": 1}
        ignoring = fetch([server.url("/secret/c.jpg")], Limits(allow_private=True, obey_robots=False))
        assert ignoring[server.url("/secret/c.jpg")].result == PICTURE
        assert server.counts["/robots.txt"] == 1


@pytest.mark.parametrize(
    ("robots", "expected"),
    [
        (status(404), "fetched"),
        (status(403), "fetched"),
        (status(301, location="/rules"), "robots"),
        (status(500), "robots"),
        (lambda number: status(503) if number < 3 else status(404), "fetched"),
        (Hang(), "time-out"),
        (ok(b"\xff\xfe\0 nonsense" * 1000), "fetched"),
        (ok(b"User-agent: *\nAllow: /\n#" + b"x" * 600_000), "fetched"),
        (ok(b"User-agent: *\nDisallow: /\n#" + b"x" * 600_000), "robots"),
        (ok(b"User-agent: *\nDisallow: /", x_robots_tag="noai"), "robots"),
        (ok(gzip.compress(b"User-agent: *\nDisallow: /"), content_encoding="gzip"), "robots"),
        (ok(b"packed, but not by gzip", content_encoding="gzip"), "fetched"),
    ],
)
def test_robots_txt_that_is_not_there_or_not_well(robots, expected):
    routes = {"/robots.txt": robots, "/rules": ok(b"User-agent: *\nDisallow: /"), "/x": PICTURE}
    with Server(routes) as server:
        assert reason(fetch([server.url("/x")])[server.url("/x")]) == expected


def test_a_noai_header_is_ignored_only_when_told():
    noai = ok(PICTURE, x_robots_tag="noai")
    assert reason(one(noai)[0]) == "noai"
    assert one(noai, Limits(allow_private=True, obey_robots=False))[0].result == PICTURE


def test_waits_between_tries_grow_and_differ():
    """Each is so long as its bounds say, from the start of one try to that of the next; no two URLs keep step."""
    limits = Limits(allow_private=True, obey_robots=False, retries=3, first_wait=0.2)
    with Server({f"/{number}": Reset() for number in range(6)}) as server:
        fetch([server.url(path) for path in server.routes], limits)
    waits = []
    for path in server.routes:
        times = [seconds for seconds, _, asked, _ in server.requests if asked == path]
        waits.append([later - earlier for earlier, later in pairwise(times)])
    for number, (least, most) in enumerate([(0.1, 0.3), (0.2, 0.6), (0.4, 1.2)]):
        found = [each[number] for each in waits]
        assert least - 0.05 <= min(found)  # the server may have noted the earlier try late
        assert max(found) <= most + 1
        assert max(found) - min(found) > 0.01


def test_a_connection_that_is_never_taken_times_out():
    """A listening socket whose queue is full lets further connections wait for ever, on Linux."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        limits = Limits(allow_private=True, connect=0.3, first_byte=5, retries=0)
        started = time.monotonic()
        outcome = fetch([url], limits)[url]
    assert (reason(outcome), outcome.result.detail) == ("time-out", "no connection in time")
    assert time.monotonic() - started < 3


def test_crawl_delay_is_kept():
    with Server({"/robots.txt": ok(b"User-agent: *\nCrawl-delay: 0.3\n")}, default=ok(PICTURE)) as server:
        fetch([server.url(f"/{number}") for number in range(4)])
    times = [seconds for seconds, _, path, _ in server.requests if path != "/robots.txt"]
    # A busy machine may note a request 0.1 s late.
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(times[1:]))


def test_many_slow_readers_do_not_pile_up_pictures():
    with Server(default=ok(PICTURE)) as server:
        limits = Limits(allow_private=True, overall=5)
        started = time.monotonic()
        outcomes = fetch([server.url(f"/{number}") for number in range(30)], limits, slow=0.1)
        assert time.monotonic() - started >= 0.5
    assert len(outcomes) == 30


def test_an_error_of_the_reader_ends_all():
    async def done(outcome):
        raise OSError(28, "No space left on device")

    with Server(default=ok(PICTURE)) as server, pytest.raises(OSError, match="No space"):
        asyncio.run(download([server.url(f"/{number}") for number in range(30)], done, QUICK))


def test_http_2_shares_one_connection(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    pictures = {f"/{number}": bytes([number]) * 50_000 for number in range(24)}
    with Http2Server(pictures) as server:
        base = f"https://localhost:{server.port}"
        outcomes = fetch([f"{base}/{number}" for number in range(25)])
    assert [outcomes[f"{base}/{number}"].result for number in range(24)] == list(pictures.values())
    assert reason(outcomes[f"{base}/24"]) == "http-404"
    assert server.connections == 1
    assert 4 <= server.streams_at_once <= 8


def test_a_certificate_that_nobody_signed_is_refused():
    with Http2Server({}) as server:
        outcome = fetch([f"https://localhost:{server.port}/x"])[f"https://localhost:{server.port}/x"]
    assert (reason(outcome), outcome.attempts) == ("certificate", 1)
