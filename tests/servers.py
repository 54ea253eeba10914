"""Real servers for the tests: one that misbehaves as told, one that speaks HTTP/2, one that answers as the Hub."""

import asyncio
import contextlib
import http.server
import json
import ssl
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events

CERTIFICATE = Path(__file__).with_name("localhost.pem")


class _Threaded:
    """A server with an event loop of its own, in a thread; a context manager."""

    def __enter__(self):
        self._loop, self._servers, self._tasks = asyncio.new_event_loop(), [], set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def _run(self, ready):
        self._loop.run_until_complete(self.start())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._stop())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def listen(self, host, port, **options):
        """Serve there with `self.serve`; returns the port."""
        server = await asyncio.start_server(self._connected, host, port, **options)
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

    async def _connected(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _stop(self):
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class Server(_Threaded):
    """Answers as `routes` say: path -> bytes of a picture, a raw response, or a function (request number) -> either.

    A raw response is `Raw`; `Hang`, `Reset` and `Drip` are no proper answers. Unknown paths get `default`.
    """

    def __init__(self, routes=None, default=None, latency=0.0, hosts=("127.0.0.1",)):
        self.routes = routes or {}
        self.default, self.latency, self.hosts = default or status(404), latency, hosts
        self.requests = []  # (seconds, host, path, headers)
        self.open, self.most_open, self.connections = Counter(), Counter(), Counter()
        self.counts = Counter()

    async def start(self):
        port = 0
        for host in self.hosts:
            port = await self.listen(host, port)
        self.port = port

    def url(self, path, host=None):
        return f"http://{host or self.hosts[0]}:{self.port}{path}"

    def paths(self):
        return [path for _, _, path, _ in self.requests]

    async def serve(self, reader, writer):
        host = writer.get_extra_info("sockname")[0]
        self.connections[host] += 1
        self.open[host] += 1
        self.most_open[host] = max(self.most_open[host], self.open[host])
        try:
            while await self._answer(host, reader, writer):
                pass
        finally:
            self.open[host] -= 1
            if not writer.transport.is_closing():
                writer.close()
                await writer.wait_closed()

    async def _answer(self, host, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.requests.append((time.monotonic(), host, path, headers))
        self.counts[path] += 1
        await asyncio.sleep(self.latency)
        answer = self.routes.get(path, self.default)
        if callable(answer):
            answer = answer(self.counts[path])
        if isinstance(answer, Hang):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 30)
            return False
        if isinstance(answer, Reset):
            writer.write(answer.start)
            await writer.drain()
            writer.transport.abort()
            return False
        if isinstance(answer, Drip):
            writer.write(answer.start)
            while True:
                writer.write(b"x" * answer.size)
                await writer.drain()
                await asyncio.sleep(answer.seconds)
        writer.write(answer if isinstance(answer, Raw) else ok(answer))
        await writer.drain()
        return not (isinstance(answer, Raw) and answer.closes)


class Raw(bytes):
    """A whole response; the connection is closed after it where `closes`."""

    closes = False


class Hang:
    """No answer at all."""


class Reset:
    """A connection that is reset after `start`."""

    def __init__(self, start=b""):
        self.start = start


class Drip:
    """`size` bytes every `seconds`, for ever, after `start`."""

    def __init__(self, start, seconds, size=1):
        self.start, self.seconds, self.size = start, seconds, size


def ok(body, **headers):
    return status(200, body, **headers)


def status(code, body=b"", closes=False, **headers):
    """A response with a Content-Length; `retry_after=1` is the header Retry-After: 1."""
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}"]
    lines += [
        f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if name.lower() != "content_length"
    ]
    if "content_length" in headers:
        lines[1] = f"Content-Length: {headers['content_length']}"
    answer = Raw("\r\n".join([*lines, "", ""]).encode() + body)
    answer.closes = closes
    return answer


class Http2Server(_Threaded):
    """Serves `pictures` (path -> bytes) by HTTP/2 alone, over TLS for the name localhost."""

    def __init__(self, pictures):
        self.pictures = pictures
        self.connections = self.streams_at_once = 0

    async def start(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        context.set_alpn_protocols(["h2"])
        self.port = await self.listen("127.0.0.1", 0, ssl=context)

    async def serve(self, reader, writer):
        self.connections += 1
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        waiting = {}
        while True:
            writer.write(connection.data_to_send())
            await writer.drain()
            data = await reader.read(65536)
            if not data:
                return
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    waiting[event.stream_id] = dict(event.headers)[b":path"].decode()
            self.streams_at_once = max(self.streams_at_once, len(waiting))
            await asyncio.sleep(0.05)
            for stream, path in list(waiting.items()):
                body = self.pictures.get(path)
                if body is None or len(body) <= connection.local_flow_control_window(stream):
                    connection.send_headers(stream, [(":status", "200" if body else "404")], end_stream=not body)
                    for at in range(0, len(body or b""), 16_000):
                        connection.send_data(stream, body[at : at + 16_000], at + 16_000 >= len(body))
                    del waiting[stream]


class Hub:
    """Answers what the Hugging Face Hub answers for one data set of one Parquet file; a context manager."""

    COMMIT, FILE = "a" * 40, "data/train-00000-of-00001.parquet"

    def __init__(self, name, data):
        entry = {"type": "file", "oid": "b" * 40, "size": len(data), "path": self.FILE}
        info = {
            "_id": "1", "id": name, "sha": self.COMMIT, "private": False, "gated": False, "disabled": False, "tags": [],
            "downloads": 0, "likes": 0, "lastModified": "2023-11-19T00:00:00.000Z",
            "siblings": [{"rfilename": self.FILE}],
        }  # fmt: skip
        answers = {
            f"/api/datasets/{name}": json.dumps(info).encode(),
            f"/api/datasets/{name}/revision/{self.COMMIT}": json.dumps(info).encode(),
            f"/api/datasets/{name}/tree/{self.COMMIT}": json.dumps(
                [{**entry, "type": "directory", "path": "data"}]
            ).encode(),
            f"/api/datasets/{name}/tree/{self.COMMIT}/data": json.dumps([entry]).encode(),
            f"/datasets/{name}/resolve/{self.COMMIT}/{self.FILE}": data,
        }
        commit = self.COMMIT

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = answers.get(unquote(self.path).partition("?")[0])
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"{}")))
                self.send_header("X-Repo-Commit", commit)
                self.send_header("ETag", '"c"')
                if body is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body or b"{}")

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
