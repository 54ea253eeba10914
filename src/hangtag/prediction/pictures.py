"""Rows' pictures, wherever they are, into memory: read or fetched several at once, decoded, and made no larger than
the model sees them. Nothing is written to disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from hangtag.catalogue.pictures import read_picture
from hangtag.catalogue.web import Downloader, Failure, Limits, Outcome
from hangtag.errors import ImageError
from hangtag.machine import cores
from hangtag.prediction.inputs import Asked, Place

Looked = Image.Image | ImageError
Seen = list[Image.Image] | ImageError
"""A row as the model is shown it, or why it cannot be."""


class Pictures:
    """Reads rows' pictures; a context manager, used by one thread at a time.

    Args:
        made_small: brings a decoded picture to the size that the model sees; an ImageError where it cannot.
        limits: of what is fetched.
    """

    def __init__(self, made_small: Callable[[Image.Image], Image.Image], limits: Limits | None = None) -> None:
        self._made_small, self._limits = made_small, limits or Limits()
        self._pool = ThreadPoolExecutor(cores())
        self._runner: asyncio.Runner | None = None
        self._downloader: Downloader | None = None
        self._fetching: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._runner is not None:
            if self._downloader is not None:
                self._runner.run(self._downloader.__aexit__())
            self._runner.close()

    def stop(self) -> None:
        """From another thread: let what is being read end soon, whatever becomes of it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._runner is not None and (task := self._fetching) is not None:
            self._runner.get_loop().call_soon_threadsafe(task.cancel)

    def of(self, rows: Iterable[Asked]) -> list[Seen]:
        """Each row's pictures, or the error of its first that cannot be had."""
        asked = list(rows)
        waiting: dict[int, list[Future[Looked]]] = {}
        for number, row in enumerate(asked):
            here = [each for each in row.pictures if not isinstance(each, str)]
            waiting[number] = [] if row.refused else [self._pool.submit(self._look, each) for each in here]
        fetched = self._fetch([each for row in asked if not row.refused for each in row.pictures])
        found: list[Seen] = []
        for number, row in enumerate(asked):
            mine = iter(waiting[number])
            if row.refused:
                found.append(ImageError(row.refused))
                continue
            looked = [fetched[each] if isinstance(each, str) else next(mine).result() for each in row.pictures]
            bad = next((each for each in looked if isinstance(each, ImageError)), None)
            found.append(bad or [each for each in looked if not isinstance(each, ImageError)])
        return found

    def _look(self, picture: Path | bytes) -> Looked:
        try:
            return self._made_small(read_picture(picture))
        except ImageError as error:
            return error

    def _fetch(self, places: Sequence[Place]) -> dict[str, Looked]:
        urls = dict.fromkeys(each for each in places if isinstance(each, str))
        if not urls:
            return {}
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._download(urls))

    async def _download(self, urls: Iterable[str]) -> dict[str, Looked]:
        loop = asyncio.get_running_loop()
        found: dict[str, Looked] = {}

        async def done(outcome: Outcome) -> None:
            if isinstance(outcome.result, Failure):
                found[outcome.url] = ImageError(outcome.result.detail.removesuffix(" with --retry-rejected"))
            else:
                found[outcome.url] = await loop.run_in_executor(self._pool, self._look, outcome.result)

        if self._downloader is None:
            self._downloader = Downloader(self._limits)
        self._fetching = asyncio.ensure_future(self._downloader.run(urls, done))
        await self._fetching
        return found
