"""What TABLE stands for: a file, several, a folder of them, or a Hugging Face data set by name or folder."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hangtag.catalogue.table import SUFFIXES, Table, join_tables, read_table
from hangtag.errors import TableError, first_line, first_names

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SAVED = ("state.json", "dataset_dict.json")
_METADATA = tuple(f"metadata{suffix}" for suffix in SUFFIXES)


@dataclass(frozen=True)
class Source:
    """A table, its name for messages and catalogue.json, and the folder its pictures' relative paths start from."""

    name: str
    table: Table
    folder: Path


def open_source(name: str | Path, config: str | None = None) -> Source:
    """Read a table from where `name` points.

    One of: a .csv, .tsv, .jsonl or .parquet file; a pattern of several, such as `shards/*.parquet`, sorted by name;
    a folder with tables of one kind, or an imagefolder with its metadata; a folder that `datasets` saved, or a local
    copy of a Hub repository; `owner/name`, a data set on the Hugging Face Hub, which is downloaded. Tables of
    several files are joined below each other, and so are a data set's splits, whose names then stand in a column
    `split`.

    Args:
        config: which configuration of a Hugging Face data set.

    Raises:
        TableError: there is no such thing, or it cannot be read.
    """
    path = Path(name)
    if path.is_dir():
        return _open_folder(path, config)
    if glob.has_magic(str(name)) and not path.exists():
        found = sorted(Path(each) for each in glob.glob(str(name), recursive=True))
        if not found:
            raise TableError(f"{name}: no file is called like this; give the pattern in quotes")
        return Source(str(name), join_tables([read_table(each) for each in found]), _common_folder(found))
    if not path.exists() and path.suffix not in SUFFIXES and _HUB_NAME.fullmatch(str(name)):
        return _load(str(name), config, None)
    return Source(str(name), read_table(path), path.parent)


def _open_folder(path: Path, config: str | None) -> Source:
    if any((path / each).is_file() for each in _SAVED) or _has_card(path):
        return _load(str(path), config, path)
    own = [path / each for each in _METADATA if (path / each).is_file()]
    tables = own[:1] or sorted(
        each
        for each in path.rglob("*")
        if each.suffix.lower() in SUFFIXES and each.is_file() and not each.name.startswith((".", "_"))
    )
    kinds = {each.suffix.lower() for each in tables}
    if not tables:
        raise TableError(f"{path} holds no table ({', '.join(SUFFIXES)}) and no Hugging Face data set")
    if len(kinds) > 1:
        listed = first_names(str(each.relative_to(path)) for each in tables)
        raise TableError(f"{path} holds tables of several kinds ({listed}); give one, or a pattern in quotes")
    return Source(str(path), join_tables([read_table(each) for each in tables]), path)


def _has_card(path: Path) -> bool:
    """Whether a README says how the files make a data set."""
    card = path / "README.md"
    if not card.is_file():
        return False
    head = card.read_text(encoding="utf-8", errors="replace")[:100_000]
    return head.startswith("---") and re.search(r"^(configs|dataset_info):", head, re.MULTILINE) is not None


def _common_folder(paths: list[Path]) -> Path:
    folder = paths[0].parent
    while not all(path.is_relative_to(folder) for path in paths):
        folder = folder.parent
    return folder


def _load(name: str, config: str | None, folder: Path | None) -> Source:
    """A data set through `datasets`, which runs no code from it; pictures it names lie in `folder` or in its cache."""
    import datasets

    from hangtag.catalogue import arrow

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        saved = folder is not None and any((folder / each).is_file() for each in _SAVED)
        loaded: Any = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, config)
    except Exception as error:  # whatever its many readers raise
        raise TableError(
            f"{name} cannot be loaded as a Hugging Face data set: {first_line(error)}; "
            "check the name, the network and, if it has several configurations, --config"
        ) from None
    splits = loaded if isinstance(loaded, dict) else {"": loaded}
    tables = []
    for split, rows in splits.items():
        batches = partial(_batches, rows.with_format("arrow"))
        table = arrow.read_arrow(arrow.Source(f"{name} {split}".strip(), rows.features.arrow_schema, batches))
        if len(splits) > 1 and "split" not in table.columns:
            table.columns.append("split")
            for row in table.rows:
                row["split"] = str(split)
        tables.append(table)
    return Source(name, join_tables(tables), folder or Path(datasets.config.HF_CACHE_HOME))


def _batches(rows: Any, columns: Sequence[str], count: int) -> Iterator[Any]:
    yield from rows.select_columns(list(columns)).iter(count)
