"""Strangers' bytes to pictures for the model: decoded in a few threads, within limits, and made small at once.

A decoded photo takes far more memory than its file. So no more are decoded at once than there are cores, and what
waits for the model is its canvas: the picture resized and padded as the image processor does it, to which the
processor then does nothing more.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from hangtag.catalogue.pictures import MAX_SIDE, read_picture
from hangtag.catalogue.web import Failure, Outcome, download
from hangtag.catalogue.web import Limits as WebLimits
from hangtag.catalogue.web.addresses import web_url
from hangtag.errors import ImageError
from hangtag.machine import cores
from hangtag.phi3v import Phi3VImageProcessor
from hangtag.serving.settings import Limits, Settings

_FETCHES_AT_ONCE = 4


@dataclass(frozen=True)
class Upload:
    """A picture as it came: its name, and its bytes, base64 of them, or where they are."""

    name: str
    data: bytes | None = None
    base64: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Picture:
    """A picture for the model: its `canvas`; and, where asked for, the picture itself as a catalogue would keep it."""

    canvas: Image.Image
    shown: Image.Image | None = None


class Decoder:
    """Decodes and fetches pictures, a bounded number at once."""

    def __init__(self, settings: Settings, image_processor: Phi3VImageProcessor) -> None:
        self.limits: Limits = settings.limits
        self.settings = settings
        self.image_processor = image_processor
        self._pool = ThreadPoolExecutor(cores(), "decoder")
        self._fetches = asyncio.Semaphore(_FETCHES_AT_ONCE)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def pictures(self, uploads: Sequence[Upload], shown: bool) -> list[Picture | ImageError]:
        """Each upload as a picture, or the reason why it is none.

        Args:
            shown: keep the pictures themselves as well.
        """
        return list(await asyncio.gather(*(self._picture(each, shown) for each in uploads)))

    async def _picture(self, upload: Upload, shown: bool) -> Picture | ImageError:
        try:
            if upload.url is not None:
                async with self._fetches:
                    data = await self._fetch(upload.url)
                    return await self._in_pool(lambda: self._decode(data, shown))
            return await self._in_pool(lambda: self._decode(_bytes(upload), shown))
        except ImageError as error:
            return error

    async def _in_pool(self, work: Callable[[], Picture]) -> Picture:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _decode(self, data: bytes, shown: bool) -> Picture:
        picture = read_picture(data, self.limits.pixels)
        canvas = self.image_processor.reduced(picture)
        if shown:
            picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return Picture(canvas, picture if shown else None)

    async def _fetch(self, text: str) -> bytes:
        if not self.settings.allow_urls:
            raise ImageError("pictures are not fetched from URLs here; send the bytes, or start it with --allow-urls")
        try:
            url = str(web_url(text))
        except ValueError as error:
            raise ImageError(str(error)) from None
        found: list[bytes | Failure] = []

        async def keep(outcome: Outcome) -> None:
            found.append(outcome.result)

        limits = WebLimits(retries=0, whole=20.0, max_bytes=self.limits.body, allow_private=self.settings.allow_private)
        await download([url], keep, limits)
        (result,) = found
        if isinstance(result, bytes):
            return result
        # A refused address is not told: a stranger could otherwise learn how names resolve in this network.
        detail = "its host is on a private network" if result.reason == "private" else result.detail
        raise ImageError(f"the URL's picture cannot be had: {detail}")


def _bytes(upload: Upload) -> bytes:
    if upload.data is not None:
        return upload.data
    try:
        return base64.b64decode(upload.base64 or "", validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("picture is not base64; encode the file's bytes as such") from None
