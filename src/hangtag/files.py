"""Files that appear whole or not at all, JSON lines, and the places in a run folder.

Everything is written under a temporary name in the same folder and then renamed, so a reader
(or a second run after `kill -9`) sees the old content, the new content, or nothing.
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hangtag.errors import DataError, OutputNotEmpty, RunError


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file under a temporary name beside `path`; flush it to disk and rename it at the end, or remove it."""
    temporary = _temporary(path)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file whole: a temporary name, flushed to disk, then renamed over `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole. Non-finite numbers are refused: they are not JSON."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line, whole."""
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a DataError names the file where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from None


def read_jsonl(path: str | Path) -> list[Any]:
    """Read a JSON-lines file; a DataError names the file and line where one is damaged."""
    rows = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        rows.append(json.loads(line))
                    except ValueError:
                        raise DataError(f"{path}, line {number} is not JSON") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return rows


def require_new_folder(path: str | Path, way_out: str = "choose another folder, or remove it first") -> Path:
    """Return `path` if it is absent or an empty folder; otherwise raise OutputNotEmpty.

    A file that stands where the folder should go counts as not empty.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise OutputNotEmpty(f"{path} is not empty; {way_out}")
    return path


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` at the end, remove it on any error.

    Raises:
        OutputNotEmpty: `path` holds something already.
    """
    path = require_new_folder(path)
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path.absolute())
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            path.rmdir()
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: str | Path) -> None:
    """Remove what processes that were killed while they wrote the file or folder `path` left beside it."""
    path = Path(path).absolute()
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*-*.tmp"):
        process = leftover.name.removeprefix(f".{path.name}.").partition("-")[0]
        if not process.isdecimal() or _lives(int(process)):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether there is a process of this number, on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def lock(file: IO[Any], refusal: str) -> None:
    """Hold an open file for this process alone, until it is closed; on Windows there is no such lock.

    Raises:
        RunError: another process holds it; `refusal` is the message.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        # Not flock, which a killed run's worker processes would still hold.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunError(refusal) from None


_ADAPTER = "adapter_config.json"
_MODEL_FILES = ("config.json", _ADAPTER)


def file_state(path: Path) -> list[Any]:
    """A file by name, size and time of its last change; by name alone where it is not there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return [path.name]
    return [path.name, found.st_size, found.st_mtime_ns]


@dataclass(frozen=True)
class Run:
    """Where everything of a run folder lies. Nothing is created by asking."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def rejected(self) -> Path:
        return self.path / "rejected.csv"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Of a run its folder `model`; of an exported one the folder itself."""
        own = self.path / "model"
        return self.path if not own.exists() and any((self.path / name).is_file() for name in _MODEL_FILES) else own

    @property
    def schema(self) -> Path:
        """The JSON Schema of its tags, with the categories that training showed."""
        return self.path / "schema.json"

    @property
    def calibration(self) -> Path:
        """What the last evaluation found out on the validation rows of the run's own catalogue."""
        return self.path / "calibration.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def evaluation(self, split: str) -> Path:
        return self.path / "evaluation" / split

    def has_adapter(self) -> bool:
        """Whether the trained model is an adapter on a base that lies elsewhere."""
        return (self.model / _ADAPTER).is_file()

    def has_model(self) -> bool:
        """Whether training has finished: a model folder is there, and it appears whole."""
        return any((self.model / name).is_file() for name in _MODEL_FILES)

    def require_model(self) -> Run:
        """Return self where a trained model lies in the folder.

        Raises:
            RunError: the folder, its recipe or its model is missing.
        """
        if not self.path.is_dir():
            raise RunError(
                f"there is no run folder {self.path}; train one with `hangtag train RECIPE --out {self.path}`"
            )
        if not self.recipe.is_file():
            raise RunError(f"{self.path} is no run folder: it has no recipe.toml; train one with `hangtag train`")
        if not self.has_model():
            raise RunError(
                f"{self.path} has no trained model yet; finish it with `hangtag train {self.recipe} --out {self.path}`"
            )
        return self
