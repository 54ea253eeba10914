"""Under load: batches, the bounded queue, time-outs, clients that vanish, and the graceful stop."""

import socket
import threading

import httpx
import openai
import pytest
from served import PATIENCE, Served, data_uri, encoded, head_and_body


class Asking:
    """A request from another thread; `.answer` is there once it is answered."""

    def __init__(self, work):
        self.answer = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work):
        self.answer = work()

    def result(self):
        self._thread.join(PATIENCE)
        return self.answer


def asking(served, *pictures):
    def work():
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            return client.post("/v1/predict", files=[("files", ("a.jpg", each)) for each in pictures])

    return Asking(work)


@pytest.fixture
def fresh(model):
    with Served(model, {"places": 8}) as served:
        yield served


def request_bytes(photo):
    body = b'{"images": [{"base64": "%s"}]}' % encoded(photo).encode()
    head = (
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % len(body) + body


def test_what_arrives_while_the_model_works_joins_it(fresh, model, photos):
    with fresh.closed_gate():
        first = asking(fresh, photos[0])
        assert model.arrived.wait(PATIENCE)
        others = [asking(fresh, each) for each in photos[1:6]]
        fresh.until(lambda service: service.batcher.waiting == 5)
    assert first.result().status_code == 200
    alone = [fresh.predict(each).json()["tags"][0]["raw"] for each in photos[1:6]]
    assert [each.result().json()["tags"][0]["raw"] for each in others] == alone
    assert model.begun[:2] == [1, 5]
    assert model.beside[1] == 6, "the newcomers waited for the first to be answered"


def test_rows_and_tokens_that_are_answered_at_once_are_bounded(model, photos):
    (tokens,) = {model.prompt_tokens(ask) for ask in [_ask(model, photos[0])]}
    for bound, most in (({"rows": 2}, 2), ({"tokens": 3 * tokens + 1}, 3), ({}, 6)):
        with Served(model, **bound) as served:
            with served.closed_gate():
                asked = [asking(served, photos[0])]
                assert model.arrived.wait(PATIENCE)
                asked += [asking(served, photos[0]) for _ in range(5)]
                served.until(lambda service: service.batcher.waiting == 5)
            assert [each.result().status_code for each in asked] == [200] * 6
            assert max(model.beside) == most


def _ask(model, photo):
    from hangtag.catalogue.pictures import read_picture
    from hangtag.prediction.tag import Ask

    return Ask([read_picture(photo)])


def test_beyond_the_queue_503_and_nothing_accepted_is_dropped(fresh, model, photos):
    with fresh.closed_gate():
        accepted = [asking(fresh, each) for each in photos[:8]]
        fresh.until(lambda service: service.batcher.taken == 8)
        refused = fresh.predict(photos[8])
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "overloaded"
        assert fresh.client.get("/ready").status_code == 503
        assert fresh.client.get("/health").status_code == 200
        assert fresh.predict(*photos[:9]).status_code == 503
    assert [each.result().status_code for each in accepted] == [200] * 8
    assert fresh.predict(photos[8]).status_code == 200
    assert fresh.service.batcher.taken == 0


def test_a_client_that_vanishes_is_taken_out_of_the_queue(fresh, model, photos):
    with fresh.closed_gate():
        first = asking(fresh, photos[0])
        assert model.arrived.wait(PATIENCE)
        for photo in photos[1:4]:
            with socket.create_connection(("127.0.0.1", fresh.port)) as connection:
                connection.sendall(request_bytes(photo))
                fresh.until(lambda service: service.batcher.taken == 2)
            fresh.until(lambda service: service.batcher.taken == 1)
        last = asking(fresh, photos[4])
        fresh.until(lambda service: service.batcher.taken == 2)
    assert first.result().status_code == last.result().status_code == 200
    assert model.begun == [1, 1]
    assert 'status="499"' in fresh.client.get("/metrics").text


def test_a_client_that_vanishes_while_it_is_answered_stops_the_writing(fresh, model, photos, monkeypatch):
    seen = []
    whole = model.tagger.answering

    def watched(decoder, asks, on_text=None, cancelled=None):
        def asked(row):
            seen.append(cancelled(row))
            return seen[-1]

        return whole(decoder, asks, on_text, asked)

    monkeypatch.setattr(model.tagger, "answering", watched)
    with fresh.closed_gate(), socket.create_connection(("127.0.0.1", fresh.port)) as connection:
        connection.sendall(request_bytes(photos[0]))
        assert model.arrived.wait(PATIENCE)
        connection.close()
        fresh.until(lambda service: service.batcher.taken == 0)
    assert fresh.predict(photos[1]).status_code == 200
    assert True in seen[:5], "it was written on for nobody"
    assert seen.count(True) == 1


def test_a_stream_whose_client_vanishes_is_cancelled(fresh, model, photos):
    with openai.OpenAI(base_url=fresh.url + "/v1", api_key="x", max_retries=0) as client:
        part = {"type": "image_url", "image_url": {"url": data_uri(photos[0])}}
        stream = client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": [part]}], stream=True
        )
        next(iter(stream))
        stream.close()
    fresh.until(lambda service: service.batcher.taken == 0)
    assert fresh.predict(photos[1]).status_code == 200


def test_what_takes_too_long_is_504(model, photos):
    with Served(model, {"answer": 0.2}) as served:
        with served.closed_gate():
            answer = served.predict(photos[0])
            assert answer.status_code == 504
            assert answer.json()["error"]["code"] == "timeout"
            part = {"type": "image_url", "image_url": {"url": data_uri(photos[0])}}
            body = {"model": "small", "messages": [{"role": "user", "content": [part]}], "stream": True}
            assert served.client.post("/v1/chat/completions", json=body).status_code == 504
            served.until(lambda service: service.batcher.taken == 0)
        served.until(lambda service: service.batcher.waiting == 0)


def test_a_stop_answers_what_was_accepted_and_refuses_the_rest(model, photos):
    with Served(model) as served:
        with served.closed_gate():
            accepted = [asking(served, each) for each in photos[:3]]
            served.until(lambda service: service.batcher.taken == 3)
            served.stop()
            served.until(lambda service: service.batcher.stopping)
            refused = served.predict(photos[3])
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "stopping"
            assert refused.headers["retry-after"]
            assert served.client.get("/ready").status_code == 503
        assert [each.result().status_code for each in accepted] == [200] * 3
        served.thread.join(PATIENCE)
        assert not served.thread.is_alive()
        assert "3 pictures" in served.said[-1]
        with pytest.raises(httpx.ConnectError):
            served.client.get("/health")


def test_a_second_stop_ends_at_once(model, photos):
    with Served(model) as served, served.closed_gate():
        left = asking(served, photos[0])
        served.until(lambda service: service.batcher.taken == 1)
        served.stop()
        served.stop()
        served.thread.join(PATIENCE)
        assert not served.thread.is_alive()
        del left


def test_an_idle_connection_does_not_hold_up_a_stop(model):
    with Served(model) as served, socket.create_connection(("127.0.0.1", served.port), PATIENCE) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while not received.endswith(b"}"):
            received += idle.recv(65536)
        assert head_and_body(received)[0] == 200
        served.stop()
        served.thread.join(PATIENCE)
        assert not served.thread.is_alive()
        assert idle.recv(10) == b""
