"""A run served until it is told to stop; a stop answers what was accepted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch
import uvicorn

from hangtag.prediction.loading import load
from hangtag.serving.answering import Model
from hangtag.serving.app import make_app
from hangtag.serving.protocol import protocol_for
from hangtag.serving.service import Service
from hangtag.serving.settings import Settings
from hangtag.serving.workers import WorkerLost, hands

_KEEP_ALIVE = 30
"""Seconds that an idle connection is kept: longer than clients keep theirs, so that none asks as it is closed."""


def serve(run: Path, settings: Settings, listener: socket.socket, say: Callable[[str], None]) -> None:
    """Serve a run until SIGINT or SIGTERM.

    Raises:
        RunError: the model cannot be loaded.
    """
    torch.set_num_threads(1)  # no threads before processes are forked
    tagger = load(run)
    model = Model(tagger, run, hands(tagger, settings.workers, listener), say)
    if asyncio.run(_serve(model, settings, listener, say)):
        raise WorkerLost("a process of the model ended, and so the server did; is there memory enough for --workers?")


async def _serve(model: Model, settings: Settings, listener: socket.socket, say: Callable[[str], None]) -> bool:
    """Whether it had to stop."""
    server = Server(Service(model, settings), say)
    say(f"{settings.name} on http://{_shown(listener)}; stop it with Ctrl-C")
    await server.serve([listener])
    return server.service.batcher.lost.is_set()


class Server(uvicorn.Server):
    """uvicorn's server, which on the first signal answers what was accepted before it closes the door."""

    def __init__(self, service: Service, say: Callable[[str], None]) -> None:
        limits = service.settings.limits
        config = uvicorn.Config(
            make_app(service),
            http=protocol_for(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=round(limits.drain),
        )
        super().__init__(config)
        self.service, self.say = service, say
        self._loop = asyncio.get_running_loop()
        self._stopping: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal stops it gracefully, the second at once. None is sent on to the process: it ends with 0."""
        self._loop.call_soon_threadsafe(self.stop)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until it is stopped, or cannot go on."""
        watching = self._loop.create_task(self._watch())
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()
            self.service.close()

    async def _watch(self) -> None:
        await self.service.batcher.lost.wait()
        self.stop()

    def stop(self) -> None:
        """Answer what was accepted, and nothing more; called again, end at once. On the event loop's thread."""
        if self._stopping is not None:
            self.should_exit = self.force_exit = True
            return
        self._stopping = self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        if self.service.batcher.taken:
            self.say(f"stopping: {self.service.batcher.taken} pictures are still answered; again to stop at once")
        await self.service.batcher.drained()
        self.should_exit = True


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
