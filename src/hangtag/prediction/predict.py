"""Files and folders to records: what `hangtag predict` writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hangtag.errors import DataError, UsageError

if TYPE_CHECKING:
    from hangtag.prediction.tagger import Tagger
    from hangtag.progress import Progress

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def picture_files(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and every picture below the folders, sorted; hidden files are left out.

    Raises:
        UsageError: a path that is not there; all of them in one message.
        DataError: no picture at all.
    """
    files: list[Path] = []
    absent = []
    for path in paths:
        if path.is_dir():
            files += sorted(each for each in path.rglob("*") if _is_picture(each, path))
        elif path.exists():
            files.append(path)
        else:
            absent.append(str(path))
    if absent:
        raise UsageError(f"no such file or folder: {', '.join(absent)}")
    if not files:
        raise DataError(f"no pictures found; files that end in {', '.join(sorted(SUFFIXES))} are looked for in folders")
    return list(dict.fromkeys(files))


def _is_picture(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in SUFFIXES and not hidden and file.is_file()


def records(tagger: Tagger, files: Sequence[Path], progress: Progress | None = None) -> list[dict[str, Any]]:
    """One record a picture: path, fields (or null), raw text (or null), error (or null)."""
    tags = tagger.tags(files, progress)
    return [
        {"path": str(file), "fields": tag.fields, "raw": tag.raw, "error": tag.error}
        for file, tag in zip(files, tags, strict=True)
    ]
