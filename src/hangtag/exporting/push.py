"""Sending an exported folder to the Hugging Face Hub: only when asked, and after saying what goes where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from hangtag.errors import HangtagError, UsageError, first_line

REFUSED = (401, 403)


@dataclass(frozen=True)
class Target:
    """A repository on the Hub: `owner/name`, whether only its owners see it, and whether it is there already."""

    name: str
    private: bool
    exists: bool

    def __str__(self) -> str:
        seen = "private" if self.private else "public: everybody can see it"
        there = ", which is there already: files of the same names are replaced" if self.exists else ""
        return f"{HfApi().endpoint}/{self.name} ({seen}{there})"


def find_target(name: str, private: bool = True) -> Target:
    """Where `name` would be sent, settled before the long work: the login holds, and the repository is as wished.

    Raises:
        UsageError: `name` is no name, or a repository of that name is public where a private one is meant, or the
            other way round.
        HangtagError: there is no login, or the Hub refuses it or cannot be reached.
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UsageError(f"--push {name!r} is no name on the Hub; write it as owner/name") from None
    api = HfApi()
    with _told("nothing was begun"):
        owner = api.whoami()["name"]
        full = name if "/" in name else f"{owner}/{name}"
        try:
            there = bool(api.model_info(full).private)
        except RepositoryNotFoundError:
            return Target(full, private, exists=False)
    if there != private:
        way_out = "leave --public out" if there else "say --public to send it there"
        raise UsageError(f"{full} is on the Hub and is {'private' if there else 'public'}; {way_out}, or another name")
    return Target(full, private, exists=True)


def push(folder: Path, target: Target, say: Callable[[str], None]) -> str:
    """Send every file of `folder`, after saying which; return the address.

    Raises:
        HangtagError: the Hub refuses it or cannot be reached; `folder` stays as it is.
    """
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    say(f"to be sent to {target}:")
    for each in files:
        say(f"  {each.relative_to(folder)}  {each.stat().st_size:,} bytes")
    say(f"  together {sum(each.stat().st_size for each in files):,} bytes; recipe.toml names data and base as you did")
    api = HfApi()
    with _told(f"the export is whole in {folder}; send it with `hf upload {target.name} {folder}`"):
        if not target.exists:
            api.create_repo(target.name, private=target.private)
        api.upload_folder(repo_id=target.name, folder_path=folder, commit_message="Export by Hangtag")
    return f"{api.endpoint}/{target.name}"


@contextmanager
def _told(what_then: str) -> Iterator[None]:
    """Whatever goes wrong on the way to the Hub, in one line."""
    try:
        yield
    except LocalTokenNotFoundError:
        raise HangtagError(f"there is no login for the Hub: run `hf auth login` first; {what_then}") from None
    except (OSError, ValueError, RuntimeError, httpx2.HTTPError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else error
        response = cause.response if isinstance(cause, HfHubHTTPError) else None
        if response is not None and response.status_code in REFUSED:
            why = "refuses your login: run `hf auth login` with a token that may write"
        else:
            why = f"says: {first_line(cause)}" if response is not None else f"cannot be reached: {first_line(cause)}"
        raise HangtagError(f"{HfApi().endpoint} {why}; {what_then}") from None
