"""A catalogue on disk: a Hugging Face imagefolder with splits, what was rejected, and where it comes from.

images/<hash>.jpg    pictures, named by their content, so equal ones are stored once
metadata.csv         file_name, the table's own columns, split; several rows may share a file
rejected.csv         row, url, reason, detail, attempts
fetched.jsonl        of a fetched catalogue: what became of every place (journal.py)
catalogue.json       source, options, seed, counts, version; for an invented catalogue also its limit
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hangtag.catalogue import journal
from hangtag.catalogue.facts import PictureFacts, measure_all
from hangtag.catalogue.split import SPLITS, assign_splits
from hangtag.catalogue.table import Row as Row
from hangtag.catalogue.table import read_table
from hangtag.errors import TableError, nearest_name
from hangtag.files import read_json, write_json, write_whole

VERSION = 1
REJECTED_COLUMNS = ["row", "url", "reason", "detail", "attempts"]


def image_name(data: bytes, suffix: str = ".jpg") -> str:
    """The file name of a picture inside a catalogue: `images/`, 32 hex digits of its SHA-256, `suffix`."""
    return f"images/{hashlib.sha256(data).hexdigest()[:32]}{suffix}"


@dataclass(frozen=True)
class Catalogue:
    """An opened catalogue. `columns` are the table's own, without `file_name` and `split`, which each row also has."""

    path: Path
    columns: list[str]
    rows: list[Row]
    info: dict[str, Any]

    def split(self, name: str) -> list[Row]:
        """The rows of one split, in the catalogue's order; maybe none."""
        assert name in SPLITS, name
        return [row for row in self.rows if row["split"] == name]

    def image_path(self, row: Mapping[str, str]) -> Path:
        """Where a row's picture lies."""
        return self.path / row["file_name"]

    def picture_facts(
        self, progress: Callable[[int, int], Any] | None = None, refused: dict[str, str] | None = None
    ) -> dict[str, PictureFacts]:
        """The facts of every picture that a row names, by file name: what fetch knows, the rest measured now.

        Args:
            progress: called with pictures measured and pictures to measure.
            refused: takes up, by file name, why a picture cannot be read; such a picture has no facts then.

        Raises:
            PictureRefused: an ImageError: a picture cannot be read, and `refused` is absent.
        """
        names = [row["file_name"] for row in self.rows]
        return measure_all(self.path, names, journal.known_facts(self.path), progress, refused=refused)

    def require_columns(self, names: Iterable[str]) -> None:
        """Raise a TableError that names every absent column and the nearest one that is there."""
        absent = [name for name in names if name not in self.columns]
        if absent:
            hints = [f"no column {name!r}{nearest_name(name, self.columns)}" for name in absent]
            raise TableError(f"{self.path / 'metadata.csv'}: " + "\n".join(hints))


def write_catalogue(
    folder: str | Path,
    columns: list[str],
    rows: list[Row],
    rejected: list[dict[str, str]],
    info: dict[str, Any],
) -> dict[str, Any]:
    """Write metadata.csv, rejected.csv and catalogue.json beside pictures that are already in `folder`/images.

    Returns what stands in catalogue.json.

    Args:
        columns: the table's own, without `file_name` and `split`.
        rows: each with `file_name`, all of `columns`, and `split`.
        rejected: each as `table.rejection` makes them.
        info: for catalogue.json, which also gets `version` and `counts`.
    """
    assert not {"file_name", "split"} & set(columns), columns
    assert all(row["split"] in SPLITS for row in rows)
    folder = Path(folder)
    write_whole(folder / "metadata.csv", csv_text(["file_name", *columns, "split"], rows))
    return finish_catalogue(folder, Counter(row["split"] for row in rows), rejected, info)


def finish_catalogue(
    folder: Path, splits: Mapping[str, int], rejected: list[dict[str, str]], info: dict[str, Any], **more: int
) -> dict[str, Any]:
    """Write rejected.csv and catalogue.json beside a metadata.csv that is there; return what stands in the latter.

    Args:
        splits: how many rows each split has; one without rows may be absent.
        more: further counts.
    """
    sizes = {name: splits.get(name, 0) for name in SPLITS}
    counts = {"rows": sum(sizes.values()), **sizes, "rejected": len(rejected), **more}
    write_whole(folder / "rejected.csv", csv_text(REJECTED_COLUMNS, rejected))
    info = {**info, "counts": counts, "version": VERSION}
    write_json(folder / "catalogue.json", info)
    return info


def own_names(columns: list[str]) -> dict[str, str]:
    """A table's column names and what they are called in a catalogue.

    Those that an imagefolder would take for its own (`image`, `file_name`, `split`, `*_file_name`) get `_source` added.
    """
    names: dict[str, str] = {}
    for name in columns:
        own = name
        taken = name in ("image", "split") or f"_{name}".endswith(("_file_name", "_file_names"))
        while taken:
            own += "_source"
            taken = own in columns
        names[name] = own
    return names


def open_catalogue(path: str | Path) -> Catalogue:
    """Open a catalogue, or any imagefolder with a metadata.csv, and check it whole.

    Without a `split` column, splits are assigned by `assign_splits`; without catalogue.json, `info` is empty.

    Raises:
        TableError: folder or metadata.csv is missing, a row cannot be read, a file name leads outside or to no
            file, a split is unknown, the version is newer; all problems in one message, five examples of each.
    """
    path = Path(path)
    if not path.is_dir():
        raise TableError(f"{path} is no folder; make a catalogue with `hangtag synth` or `hangtag fetch`")
    if not (path / "metadata.csv").is_file() and (path / journal.NAME).is_file():
        raise TableError(f"{path} is not finished; run the same `hangtag fetch` again, it goes on where it was")
    if not (path / "metadata.csv").is_file():
        raise TableError(f"{path} has no metadata.csv; make a catalogue with `hangtag synth` or `hangtag fetch`")
    table = read_table(path / "metadata.csv")
    if "file_name" not in table.columns:
        raise TableError(f"{path / 'metadata.csv'} has no column 'file_name'{nearest_name('file_name', table.columns)}")
    info = read_json(path / "catalogue.json") if (path / "catalogue.json").exists() else {}
    rows = table.rows
    if "split" not in table.columns:
        rows = [{**row, "split": split} for row, split in zip(rows, assign_splits(rows), strict=True)]
    problems = [
        _examples("rows that cannot be read", [f"row {bad['row']}: {bad['detail']}" for bad in table.rejected]),
        _examples("file names that lead outside", [r["file_name"] for r in rows if not _stays_inside(r["file_name"])]),
        _examples("pictures that are missing", _missing(path, rows)),
        _examples(f"splits other than {', '.join(SPLITS)}", [r["split"] for r in rows if r["split"] not in SPLITS]),
        _version_problem(info),
    ]
    if any(problems):
        listed = "\n".join(f"  {problem}" for problem in problems if problem)
        raise TableError(f"{path} is not a whole catalogue; make it again or mend metadata.csv:\n{listed}")
    return Catalogue(path, [name for name in table.columns if name not in ("file_name", "split")], rows, info)


def _stays_inside(name: str) -> bool:
    """Whether a file name is a plain relative path, on any system."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return bool(parts) and not name.startswith(("/", "\\")) and ".." not in parts and ":" not in parts[0]


def _missing(path: Path, rows: list[Row]) -> list[str]:
    names = dict.fromkeys(row["file_name"] for row in rows)
    return [name for name in names if _stays_inside(name) and not (path / name).is_file()]


def _version_problem(info: Any) -> str:
    if not isinstance(info, dict):
        return "catalogue.json is no JSON object"
    version = info.get("version", VERSION)
    return "" if version == VERSION else f"catalogue.json is of version {version!r}, this Hangtag reads {VERSION}"


def _examples(what: str, found: list[str], at_most: int = 5) -> str:
    if not found:
        return ""
    shown = ", ".join(repr(each[:80]) for each in found[:at_most])
    return f"{len(found)} {what}: {shown}{', ...' if len(found) > at_most else ''}"


class _Lines(list[str]):
    write = list.append


def csv_text(columns: list[str], rows: Iterable[Mapping[str, str]]) -> str:
    """CSV with \\n between lines; the writer itself ends them with \\r\\n, so that it quotes both inside cells."""
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([row[name] for name in columns] for row in rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def spreadsheet_text(text: str) -> str:
    """A text for a file that is opened in spreadsheets: what they would take for a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) else text
