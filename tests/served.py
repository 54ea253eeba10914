"""A run served in a thread of the tests' own process, on a real socket; the model can be held back at a gate."""

import asyncio
import base64
import contextlib
import io
import json
import socket
import threading
import time

import httpx
from PIL import Image

from hangtag.serving.answering import Model
from hangtag.serving.engine import Engine
from hangtag.serving.listening import bind
from hangtag.serving.server import Server
from hangtag.serving.service import Service
from hangtag.serving.settings import Limits, Settings
from hangtag.serving.workers import in_thread

PATIENCE = 60


class GatedEngine(Engine):
    """The engine itself; what begins waits at the model's gate where that is closed, and is counted."""

    model = None

    def _start(self, asked):
        self.model.arrived.set()
        assert self.model.gate.wait(PATIENCE)
        self.model.begun.append(len(asked))
        self.model.beside.append(len(asked) + len(self._live))
        super()._start(asked)


class GatedModel(Model):
    """A run whose answers can be held back; each server has an engine of its own, in a thread."""

    def __init__(self, tagger, run):
        super().__init__(tagger, run, [])
        self.gate, self.arrived = threading.Event(), threading.Event()
        self.begun, self.beside = [], []
        self.gate.set()

    def start(self):
        """Let there be a new engine."""

        def make(tagger, tell):
            engine = GatedEngine(tagger, tell)
            engine.model = self
            return engine

        self.hands = [in_thread(self.tagger, make)]


class Served:
    """A context manager; `limits` are those of Settings, other options Settings' own."""

    def __init__(self, model, limits=None, **settings):
        self.model, self.said = model, []
        self.settings = Settings(name="small", port=0, limits=Limits(**(limits or {})), **settings)

    def __enter__(self):
        self.model.gate.set()
        self.model.arrived.clear()
        self.model.begun.clear()
        self.model.beside.clear()
        self.model.start()
        listener = bind(self.settings.host, 0)
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        ready = threading.Event()

        async def serve():
            self.loop = asyncio.get_running_loop()
            self.service = Service(self.model, self.settings)
            self.server = Server(self.service, self.said.append)
            ready.set()
            await self.server.serve([listener])

        self.thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self.thread.start()
        assert ready.wait(PATIENCE)
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE)
        return self

    def __exit__(self, *_):
        self.model.gate.set()
        self.client.close()
        self.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def stop(self):
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.server.stop)

    def predict(self, *pictures, **options):
        """The answer to some pictures' bytes, as a form."""
        files = [("files", (f"{number}.jpg", data)) for number, data in enumerate(pictures, 1)]
        return self.client.post("/v1/predict", files=files, **options)

    def json(self, value, **options):
        return self.client.post("/v1/predict", json=value, **options)

    @contextlib.contextmanager
    def closed_gate(self):
        """While this is open, the model answers nothing."""
        self.model.arrived.clear()
        self.model.gate.clear()
        try:
            yield
        finally:
            self.model.gate.set()

    def until(self, holds):
        """Wait until something holds of the service."""
        end = time.monotonic() + PATIENCE
        while not holds(self.service):
            assert time.monotonic() < end, "it never came to that"
            time.sleep(0.005)

    def raw(self, *parts, pause=0.0):
        """What comes back for bytes, sent as they stand, until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    received += part
        return received


def picture(width=90, height=60, colour="olive", form="JPEG", mode="RGB", **options):
    """A picture file's bytes."""
    file = io.BytesIO()
    Image.new(mode, (width, height), colour).save(file, form, **options)
    return file.getvalue()


def encoded(data):
    return base64.b64encode(data).decode()


def data_uri(data, kind="image/jpeg"):
    return f"data:{kind};base64,{encoded(data)}"


def head_and_body(received):
    """The status, headers and JSON of a raw answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split(" ")[1]), headers, json.loads(body) if body else None
