"""A frozen vision tower's features on disk: every picture goes through CLIP once, ever.

    <cache root>/features/<tower key>/lock           held shared while in use; its time says when that was last
    <cache root>/features/<tower key>/3f/3fa9...     one file a picture: a header line, then the features' plain bytes

Files are written whole and read memory-mapped. One whose size or header is not what it must be counts as missing.
`features_room` keeps all of it within a limit, `filling` makes what is missing.

Shapes: C crops of one picture, its global view first, G token rows of a crop, V CLIP's width.
"""

from __future__ import annotations

import hashlib
import json
import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hangtag.errors import CacheError
from hangtag.files import write_whole
from hangtag.phi3v import Phi3VImageProcessor
from hangtag.phi3v.vision_phi3_v import Phi3VImageEmbedding

RULES = 1
"""To be raised when the same picture and weights give other features: other resizing, other layers."""
HEADER_BYTES = 128
"""A multiple of the processor's cache line, so that the features are aligned."""
BLOCK_BYTES = 4096
"""What a file takes on disk is a multiple of this."""
LOCK = "lock"

try:
    import fcntl
except ImportError:  # Windows has other locks
    HAS_LOCKS = False
else:
    HAS_LOCKS = True


def cache_root() -> Path:
    """$HANGTAG_CACHE, else $XDG_CACHE_HOME/hangtag, else ~/.cache/hangtag.

    Raises:
        CacheError: neither is set, and nobody knows the home folder.
    """
    if own := os.environ.get("HANGTAG_CACHE"):
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():  # the XDG standard: a relative path is to be ignored
        return shared / "hangtag"
    try:
        return Path.home() / ".cache" / "hangtag"
    except RuntimeError:
        raise CacheError("there is no home folder for the cache; set HANGTAG_CACHE to a folder") from None


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tower_key(
    model: nn.Module, image_processor: Phi3VImageProcessor, dtype: torch.dtype, autocast: torch.dtype | None
) -> str:
    """What the features of a picture depend on beside the picture, as SHA-256 in hexadecimal.

    Every weight of the tower that reaches the features (not those of CLIP's unused top), how they are computed, how a
    picture is cut into crops, and how features are stored.

    Args:
        model: a Phi-3-vision, wrapped or not, its weights in one place (before they are sharded).
        dtype: what features are stored as.
        autocast: what the tower computes in where that is not the weights' own.
    """
    vision = next(module for module in model.modules() if isinstance(module, Phi3VImageEmbedding))
    clip, config = vision.img_processor.vision_model, vision.config.vision_config
    settings = {
        "rules": RULES,
        "stored": str(dtype),
        "autocast": str(autocast),
        "attention": config._attn_implementation,
        **{name: getattr(config, name) for name in ("hidden_act", "layer_norm_eps", "num_attention_heads")},
        **{name: getattr(image_processor, name) for name in ("num_crops", "crop_size", "image_mean", "image_std")},
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    layers = clip.encoder.layers[: vision.config.vision_layers]
    for part in (clip.embeddings, clip.pre_layrnorm, *layers):
        # The state, not the parameters: a quantised layer keeps its scales beside them.
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """What a tensor holds, as plain bytes, by way of uint8: numpy knows no bfloat16."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def crop_count(height: int, width: int, side: int) -> int:
    """C of a canvas of `height` x `width` pixels, cut into crops of `side`."""
    return 1 + (height // side) * (width // side)


def needed_bytes(crop_counts: Iterable[int], shape: tuple[int, int], dtype: torch.dtype) -> int:
    """What the features of pictures of so many crops take on disk, each crop of `shape` (G * G, 4 V)."""
    crop_bytes = shape[0] * shape[1] * dtype.itemsize
    return sum(on_disk(HEADER_BYTES + count * crop_bytes) for count in crop_counts)


def on_disk(size: int) -> int:
    """What a file of `size` bytes takes on disk."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


class FeatureCache:
    """The features of pictures by their content hash, for one tower.

    While an object of it lives, no other process removes its entries. In another process, to which it was pickled, it
    counts on the first one to live. Several objects may write at once: each file appears whole, and whoever comes
    later writes the same bytes.

    Args:
        root: the cache's root (see `cache_root`).
        key: from `tower_key`.
        limit_bytes: what all towers' features together may take on disk; `features_room.make_room` heeds it.
        shape: (G * G, 4 V) of a crop.
        dtype: what features are stored as.

    Raises:
        CacheError: the folder cannot be written, or the system has no flock.
    """

    def __init__(self, root: Path, key: str, limit_bytes: int, shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.root, self.limit_bytes, self.shape, self.dtype = root, limit_bytes, tuple(shape), dtype
        self.folder = root / "features" / key
        if not HAS_LOCKS:
            raise CacheError("the cache of vision features needs flock, which this system has not; train without it")
        try:
            self.lock = hold(self.folder)
        except OSError as error:
            raise unwritable(root, error) from None
        self._release = weakref.finalize(self, os.close, self.lock)

    def close(self) -> None:
        """Let others remove entries from now on; so does the end of the object."""
        self._release()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("lock", "_release")}

    def path(self, picture: str) -> Path:
        """Where a picture's features lie, or would."""
        return self.folder / picture[:2] / picture

    def entry_bytes(self, crops: int) -> int:
        """What an entry takes on disk."""
        return needed_bytes([crops], (self.shape[0], self.shape[1]), self.dtype)

    def missing(self, pictures: Iterable[str]) -> list[str]:
        """Those of some content hashes that have no whole entry, each once, in order."""
        return [picture for picture in dict.fromkeys(pictures) if not self._is_whole(picture)]

    def _is_whole(self, picture: str) -> bool:
        try:
            with open(self.path(picture), "rb", buffering=0) as file:
                return self._crops(picture, os.fstat(file.fileno()).st_size, file.read(HEADER_BYTES)) is not None
        except OSError:
            return False

    def _header(self, picture: str, crops: int) -> bytes:
        what = f"{str(self.dtype).removeprefix('torch.')} {crops}x{self.shape[0]}x{self.shape[1]}"
        header = f"hangtag features {what} {picture}".ljust(HEADER_BYTES - 1) + "\n"
        assert len(header) == HEADER_BYTES
        return header.encode()

    def _crops(self, picture: str, size: int, header: bytes) -> int | None:
        """How many crops a file of `size` bytes that begins with `header` holds; None where it is damaged."""
        crops, rest = divmod(size - HEADER_BYTES, self.shape[0] * self.shape[1] * self.dtype.itemsize)
        return crops if crops > 0 and not rest and header == self._header(picture, crops) else None

    def get(self, picture: str) -> torch.Tensor:
        """A picture's features [C, G * G, 4 V], mapped from the file and read only where used.

        What is written into them stays in this process and never reaches the file.

        Raises:
            CacheError: there is no whole entry.
        """
        path = str(self.path(picture))
        try:
            # torch's own mapping closes the file at once; Python's keeps it open for as long as the tensor lives.
            storage = torch.UntypedStorage.from_file(path, shared=False, nbytes=os.stat(path).st_size)
            held = torch.empty(0, dtype=torch.uint8).set_(storage)  # type: ignore[arg-type]
            crops = self._crops(picture, len(held), held[:HEADER_BYTES].numpy().tobytes())
        except (OSError, RuntimeError):
            crops = None
        if crops is None:
            raise CacheError(
                f"{path} is gone or damaged; give the same command again and the picture's features are made anew"
            )
        features: torch.Tensor = held[HEADER_BYTES:].view(self.dtype).view(crops, *self.shape)
        return features

    def put(self, picture: str, features: torch.Tensor) -> None:
        """Store a picture's features [C, G * G, 4 V], rounded to the cache's dtype; the file appears whole.

        Raises:
            CacheError: it cannot be written.
        """
        assert tuple(features.shape[1:]) == self.shape, f"{list(features.shape)} is not [C, {self.shape}]"
        content = self._header(picture, len(features)) + _bytes_of(features.to(self.dtype))
        try:
            write_whole(self.path(picture), content)
        except OSError as error:
            raise unwritable(self.root, error) from None


def hold(folder: Path) -> int:
    """The descriptor of a tower's lock file, locked shared; folder and file are made where they are missing."""
    while True:
        for each in (folder.parent.parent, folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the folder was being removed
            continue
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK)):
                os.utime(descriptor)
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # of a folder that was removed meanwhile


def unwritable(root: Path, error: OSError) -> CacheError:
    return CacheError(
        f"the cache of vision features in {root} cannot be written: {error.strerror}; "
        "set HANGTAG_CACHE to a folder with room that you may write to"
    )
