"""Who may ask, what every answer carries, and how much a request may be."""

import asyncio
import socket
import threading

import httpx
import pytest
from served import PATIENCE, Served, encoded, head_and_body

from hangtag.errors import UsageError
from hangtag.serving.settings import check_origins, is_loopback, read_token

PATHS = [
    "/docs",
    "/health",
    "/ready",
    "/metrics",
    "/openapi.json",
    "/v1/models",
    "/v1/models/x",
    "/v1/pictures/0",
    "/x",
]


@pytest.fixture(scope="module")
def hasty(model):
    """A server with short times and small bounds."""
    limits = {"body": 200_000, "bodies": 300_000, "head": 0.3, "upload": 0.3, "head_bytes": 4000}
    with Served(model, limits) as server:
        yield server


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD"])
def test_every_answer_has_security_headers(served, path, method):
    answer = served.client.request(method, path)
    assert answer.status_code in (200, 400, 404, 405)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "no-store" in answer.headers["cache-control"]
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers
    if answer.status_code >= 400 and method != "HEAD":
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_docs_load_nothing_from_elsewhere(served):
    text = served.client.get("/docs").text
    assert "http://" not in text.replace("http://127.0.0.1", "")
    assert "https://" not in text
    assert "<script" not in text
    assert "/v1/chat/completions" in text


def test_ready_says_whether_one_more_is_accepted(model):
    with Served(model, {"places": 1}) as served:
        assert served.client.get("/ready").status_code == 200
        with served.service.batcher.take(1):
            answer = served.client.get("/ready")
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
        assert served.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "8.8.8.8", "[::2]"]
)
def test_a_foreign_host_is_refused_on_loopback(served, host):
    status, headers, told = head_and_body(
        served.raw(f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    )
    assert status == 403
    assert "localhost" in told["error"]["message"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "a.localhost"]
)
def test_loopbacks_own_names_are_served(served, host):
    status, _, _ = head_and_body(
        served.raw(f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    )
    assert status == 200


def test_pages_of_other_sites_may_not_ask_unless_told(served, model, photos):
    foreign = {"Origin": "https://shop.example"}
    assert served.predict(photos[0], headers=foreign).status_code == 403
    assert served.predict(photos[0], headers={"Origin": "null"}).status_code == 403
    assert served.predict(photos[0], headers={"Origin": served.url}).status_code == 200
    preflight = foreign | {"Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in served.client.options("/v1/predict", headers=preflight).headers
    with Served(model, origins=("https://shop.example",), token="secret") as told:
        answer = told.client.options("/v1/predict", headers=preflight)
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        answer = told.predict(photos[0], headers=foreign | {"Authorization": "Bearer secret"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        other = {"Origin": "https://other.example", "Authorization": "Bearer secret"}
        assert told.predict(photos[0], headers=other).status_code == 403
        # A refusal, too, can be read by the page that may ask.
        assert told.predict(photos[0], headers=foreign).status_code == 401


def test_a_token_is_wanted_where_there_is_one(model, photos):
    with Served(model, token="a-secret") as served:
        for header in ("", "a-secret", "Basic a-secret", "Bearer", "Bearer A-secret", "Bearer a-secret\xe9"):
            answer = served.client.get("/v1/models", headers={"Authorization": header.encode("latin-1")})
            assert answer.status_code == 401, header
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "a-secret" not in answer.text
        assert served.predict(photos[0]).status_code == 401
        assert served.client.get("/metrics").status_code == 401
        assert served.client.get("/v1/pictures/0").status_code == 401
        assert served.client.get("/health").status_code == 200
        assert served.client.get("/v1/models", headers={"Authorization": "bearer a-secret"}).status_code == 200
        assert served.predict(photos[0], headers={"Authorization": "Bearer a-secret"}).status_code == 200


def test_a_token_comes_from_a_variable_or_a_file(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    monkeypatch.setenv("SOME_TOKEN", "from-a-variable")
    assert read_token(str(file)) == "from-a-file"
    assert read_token("SOME_TOKEN") == "from-a-variable"
    for wrong in ("s3cr3t-itself", str(tmp_path)):
        with pytest.raises(UsageError) as caught:
            read_token(wrong)
        assert wrong not in str(caught.value)
    for text in ("", " \n", "two words", "café"):
        file.write_text(text)
        with pytest.raises(UsageError, match="the token is empty"):
            read_token(str(file))


def test_origins_and_hosts_are_told_apart():
    assert check_origins(["https://Shop.example", "http://localhost:5173", "*"])[0] == "https://shop.example"
    for wrong in ("shop.example", "https://shop.example/", "https://shop.example/a", "file://x"):
        with pytest.raises(UsageError, match="no web origin"):
            check_origins([wrong])
    assert all(map(is_loopback, ("localhost", "127.8.9.1", "::1", "[::1]", "x.localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", "localhost.example", "192.168.0.1")))


def test_a_body_is_counted_as_it_comes_whatever_its_head_says(hasty):
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    said = head + b"Content-Length: 99999999999999\r\n\r\n"
    assert head_and_body(hasty.raw(said, b"x"))[0] == 413
    chunk = b"%x\r\n" % 60_000 + b" " * 60_000 + b"\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    status, _, told = head_and_body(hasty.raw(chunked, *[chunk] * 5))
    assert status == 413
    assert "200,000 bytes" in told["error"]["message"]
    assert hasty.raw(head + b"Content-Length: -5\r\n\r\n").startswith(b"HTTP/1.1 400")
    both = head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
    assert hasty.raw(both).startswith(b"HTTP/1.1 400")
    assert hasty.service.bodies.held == 0


def test_all_bodies_together_are_bounded(hasty):
    with socket.create_connection(("127.0.0.1", hasty.port)) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 190000\r\n\r\n" + b" " * 150_000)
        hasty.until(lambda service: service.bodies.held == 150_000)
        answer = hasty.client.post("/v1/predict", content=b" " * 190_000)
        assert answer.status_code == 503
        assert "uploaded" in answer.json()["error"]["message"]
    hasty.until(lambda service: service.bodies.held == 0)


def test_slow_uploads_end_in_408_and_block_nobody(hasty, photos):
    body = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
    found = []
    slow = [threading.Thread(target=lambda: found.append(hasty.raw(body))) for _ in range(20)]
    for each in slow:
        each.start()
    assert hasty.predict(photos[0]).status_code == 200
    for each in slow:
        each.join(PATIENCE)
    assert [head_and_body(each)[0] for each in found] == [408] * 20
    assert hasty.service.bodies.held == 0


def test_a_head_that_does_not_come_ends_the_connection(hasty):
    status, headers, told = head_and_body(hasty.raw(b"GET /health HTTP/1.1\r\nHost: loc"))
    assert status == 408
    assert headers["connection"] == "close"
    assert "head" in told["error"]["message"]
    assert hasty.raw(b"") == b""


def test_the_head_of_a_further_request_is_waited_for_no_longer(hasty):
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    received = hasty.raw(whole, b"GET /health HTTP/1.1\r\n", pause=0.1)
    assert received.count(b"HTTP/1.1 200") == 1
    assert received.count(b"HTTP/1.1 408") == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5000, 431),
        (b"GET /" + b"x" * 5000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), 400),
        (b"HELLO\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: x\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_is_told_so_in_the_same_form(hasty, sent, status):
    found, headers, told = head_and_body(hasty.raw(sent))
    assert found == status
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert headers["x-content-type-options"] == "nosniff"


def test_pipelined_requests_are_answered_in_turn(hasty):
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert hasty.raw(one + one + last).count(b"HTTP/1.1 200") == 3


def test_too_many_connections_are_told_so(model):
    with Served(model, {"connections": 3, "head": 5.0}) as served:
        held = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(3)]
        served.until(lambda _: len(served.server.server_state.connections) == 3)
        status, headers, _ = head_and_body(served.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        assert status == 503
        assert headers["retry-after"]
        for each in held:
            each.close()
        served.until(lambda _: not served.server.server_state.connections)
        assert served.client.get("/health").status_code == 200


def test_metrics_count_and_strangers_cannot_make_up_routes(served, photos):
    def count(line):
        text = served.client.get("/metrics").text
        return sum(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line))

    answered = 'hangtag_requests_total{route="/v1/predict",status="200"}'
    before, tokens = count(answered), count('hangtag_tokens_total{kind="written"}')
    served.predict(photos[0], photos[1])
    assert count(answered) == before + 1
    assert count('hangtag_tokens_total{kind="written"}') > tokens
    assert count("hangtag_queue_pictures") == 0
    for number in range(30):
        served.client.get(f"/made-up-{number}")
    text = served.client.get("/metrics").text
    assert "made-up" not in text
    assert 'route="other",status="404"' in text
    assert served.client.get("/health", headers={"Host": "evil.example"}).status_code == 403
    assert count('hangtag_refused_total{reason="foreign host or page"}') >= 1
    assert "_created" not in text


def test_what_fails_unforeseen_is_500_without_a_trace(served, model, photos, monkeypatch, caplog):
    def fail(decoder, asks, *_):
        raise RuntimeError("/secret/path is broken")

    monkeypatch.setattr(model.tagger, "answering", fail)
    answer = served.json({"images": [{"base64": encoded(photos[0])}]})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "secret" in caplog.text
    monkeypatch.undo()
    assert served.predict(photos[0]).status_code == 200


def test_one_that_fails_does_not_take_others_with_it(served, model, photos, monkeypatch):
    whole = model.tagger.answering

    def fail_for_one(decoder, asks, *rest):
        if any(each.prompt == "poison" for each in asks):
            raise ValueError("poisoned")
        return whole(decoder, asks, *rest)

    monkeypatch.setattr(model.tagger, "answering", fail_for_one)
    picture = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + encoded(photos[0])}}

    async def together():
        async with httpx.AsyncClient(base_url=served.url, timeout=PATIENCE) as client:
            words = [{"type": "text", "text": each} for each in ("poison", "a", "b")]
            messages = [[{"role": "user", "content": [picture, each]}] for each in words]
            bodies = [{"model": "small", "max_tokens": 5, "messages": each} for each in messages]
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=each) for each in bodies))

    with served.closed_gate():
        starter = threading.Thread(target=served.predict, args=(photos[1],))
        starter.start()
        assert model.arrived.wait(PATIENCE)
        results = []
        asking = threading.Thread(target=lambda: results.extend(asyncio.run(together())))
        asking.start()
        served.until(lambda service: service.batcher.waiting == 3)
    asking.join(PATIENCE)
    starter.join(PATIENCE)
    assert [each.status_code for each in results] == [500, 200, 200]
