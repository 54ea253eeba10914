"""Records to a file: written down window by window as they come, turned into the file asked for when all are there.

What is there so far lies beside the file, under its name with `.part` added: a line about what is asked of whom, then
the records of one window a line. A run that was killed goes on behind the last whole one.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow
from pyarrow import parquet

from hangtag.answer import Template
from hangtag.catalogue.store import spreadsheet_text
from hangtag.errors import OutputNotEmpty, UsageError
from hangtag.files import remove_leftovers, whole_file
from hangtag.journal import Lines, open_lines

SUFFIXES = (".jsonl", ".csv", ".parquet")
Record = dict[str, Any]
Windows = Iterator[list[Record]]


class Columns:
    """The columns of a CSV or Parquet file and what stands in them.

    Of each field its value and FIELD_confidence, of a number also NUMBER_estimate, NUMBER_low and NUMBER_high, in front
    what was asked about and a table's own columns that are kept, behind raw, error and calibrated. A kept column whose
    name is taken has `_source` added.
    """

    def __init__(self, where: Sequence[str], keep: Sequence[str], template: Template) -> None:
        self.where, self.template = list(where), template
        self.kinds: dict[str, pyarrow.DataType] = {
            name: pyarrow.int64() if name == "row" else pyarrow.string() for name in where
        }
        own: dict[str, pyarrow.DataType] = {}
        for name in template.names:
            number = template.fields[name] == "number"
            own[name] = pyarrow.float64() if number else pyarrow.string()
            own[f"{name}_confidence"] = pyarrow.float64()
            own |= {f"{name}_{end}": pyarrow.float64() for end in ("estimate", "low", "high") if number}
        own |= {"raw": pyarrow.string(), "error": pyarrow.string(), "calibrated": pyarrow.bool_()}
        self.keep = {}
        for name in keep:
            self.keep[name] = name
            while self.keep[name] in {*own, *self.where, *(self.keep[other] for other in self.keep if other != name)}:
                self.keep[name] += "_source"
        self.kinds |= dict.fromkeys(self.keep.values(), pyarrow.string()) | own

    def flat(self, record: Record) -> Record:
        """A record's values by column."""
        kept, fields, sure = record.get("columns") or {}, record["fields"] or {}, record["confidence"] or {}
        found = {name: record.get(name) for name in self.where}
        found |= {called: kept.get(name) for name, called in self.keep.items()}
        for name in self.template.names:
            found |= {name: fields.get(name), f"{name}_confidence": sure.get(name)}
            if self.template.fields[name] == "number":
                ends = (record["numbers"] or {}).get(name) or {}
                found |= {f"{name}_{end}": ends.get(end) for end in ("estimate", "low", "high")}
        return found | {name: record[name] for name in ("raw", "error", "calibrated")}


def require_output(path: Path) -> None:
    """Check a file's name and place before anything is computed.

    Raises:
        UsageError: another ending than .jsonl, .csv and .parquet, or a folder that is not there.
        OutputNotEmpty: it is there already, and finished.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {path}: a file's name ends in {', '.join(SUFFIXES)}; choose one of them")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}; make it first")
    if path.exists() and not part_of(path).exists():
        raise OutputNotEmpty(f"{path} is there already; choose another name, or remove it to have it written anew")


def part_of(path: Path) -> Path:
    """Where the records so far lie."""
    return path.with_name(path.name + ".part")


@dataclass
class Tally:
    """How many records there are, how many of them without a tag, and what the first of those says."""

    done: int = 0
    failed: int = 0
    first_error: str = ""

    def add(self, records: Sequence[Record]) -> None:
        """Count some more."""
        errors = [each["error"] for each in records if each["error"]]
        self.first_error = self.first_error or next(iter(errors), "")
        self.done, self.failed = self.done + len(records), self.failed + len(errors)


class Output:
    """A file on its way; `tally` is of the records there so far."""

    def __init__(self, path: Path, lines: Lines, columns: Columns) -> None:
        self.path, self._lines, self._columns = path, lines, columns
        self.tally = Tally()

    def add(self, records: Sequence[Record]) -> None:
        """Write a window's records down."""
        self._lines.append(records)
        self.tally.add(records)

    def finish(self) -> None:
        """Make the file of all records; it appears whole."""
        kept = iter(self._lines)
        next(kept)
        write = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}[self.path.suffix.lower()]
        with whole_file(self.path) as file:
            write(file, kept, self._columns)
        part_of(self.path).unlink()


@contextmanager
def open_output(path: Path, asked: Mapping[str, Any], columns: Columns) -> Iterator[Output]:
    """The file at `path`, begun or gone on with.

    Args:
        asked: JSON that decides every record: the model's files, the inputs, the settings; by what a message calls it.

    Raises:
        UsageError: what is there so far is about something else. RunError: another process writes it.
    """
    remove_leftovers(path)
    part = part_of(path)
    with open_lines(part, f"another hangtag is writing {path}; wait for it or choose another name") as lines:
        output = Output(path, lines, columns)
        written = iter(lines)
        head = next(written, None)
        if head is None:
            lines.append(asked)
        elif differ := [name for name in asked if not isinstance(head, dict) or head.get(name) != asked[name]]:
            raise UsageError(
                f"{part} was begun with another {' and '.join(differ)}; choose another --out, or remove it"
            )
        for window in written:
            output.tally.add(window)
        yield output


def _write_jsonl(file: IO[bytes], windows: Windows, columns: Columns) -> None:
    for window in windows:
        file.writelines(json_line(record) for record in window)


def json_line(record: Record) -> bytes:
    """A record as one line of JSON."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _write_csv(file: IO[bytes], windows: Windows, columns: Columns) -> None:
    """Texts that a spreadsheet would take for a formula get an apostrophe in front: photos write what they will."""

    class Text:
        def write(self, text: str) -> None:
            file.write(text.removesuffix("\r\n").encode() + b"\n")

    writer = csv.writer(Text(), lineterminator="\r\n")  # so that it quotes both inside cells
    writer.writerow(map(spreadsheet_text, columns.kinds))
    for window in windows:
        writer.writerows([_cell(each) for each in columns.flat(record).values()] for record in window)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return spreadsheet_text(value)
    return "" if value is None else json.dumps(value)


def _write_parquet(file: IO[bytes], windows: Windows, columns: Columns) -> None:
    schema = pyarrow.schema(list(columns.kinds.items()))
    with parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(windows, columns.flat):
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _groups(windows: Iterable[list[Record]], flat: Callable[[Record], Record], size: int = 65_536) -> Windows:
    """Records for one row group each."""
    group: list[Record] = []
    for window in windows:
        group += map(flat, window)
        if len(group) >= size:
            yield group
            group = []
    if group:
        yield group
