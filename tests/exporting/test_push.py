"""Sending an export to a server that takes uploads as the Hub does."""

import pytest
from huggingface_hub import constants

from hangtag.errors import HangtagError, UsageError
from hangtag.exporting.push import find_target, push

from .hub_server import HubServer

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content")  # huggingface_hub's own way with httpx2


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine, and a login for it."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", server.token)
        yield server


@pytest.fixture
def folder(tmp_path):
    """What an export looks like from outside."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# tags\n")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 4000)
    return folder


def test_everything_arrives_and_is_named_beforehand(hub, folder):
    told = []
    target = find_target("tags")
    assert (target.name, target.private, target.exists) == ("me/tags", True, False)
    assert not hub.repositories
    seen_when_told = []
    address = push(folder, target, lambda line: (told.append(line), seen_when_told.append(len(hub.repositories))))
    assert address == f"{hub.url}/me/tags"
    held = hub.repositories["me/tags"]
    assert held["private"]
    assert held["files"] == {each.name: each.read_bytes() for each in folder.iterdir()}
    assert set(seen_when_told) == {0}
    assert told[0] == f"to be sent to {hub.url}/me/tags (private):"
    assert "  model.safetensors  1,024,000 bytes" in told
    assert "together 1,024,0" in told[-1]


def test_nothing_is_public_unless_asked(hub, folder):
    push(folder, find_target("me/seen", private=False), lambda line: None)
    assert not hub.repositories["me/seen"]["private"]
    with pytest.raises(UsageError, match="me/seen is on the Hub and is public; say --public"):
        find_target("me/seen")
    again = find_target("me/seen", private=False)
    assert again.exists
    assert "is there already: files of the same names are replaced" in str(again)


def test_a_login_that_is_missing_or_refused_is_one_line(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HangtagError, match=r"refuses your login: run `hf auth login`.*; nothing was begun$"):
        find_target("me/tags")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "none"))
    with pytest.raises(HangtagError, match=r"^there is no login for the Hub: run `hf auth login` first"):
        find_target("me/tags")
    monkeypatch.setenv("HF_TOKEN", hub.reader)
    with pytest.raises(HangtagError, match=r"refuses your login.*the export is whole in .*; send it with `hf upload"):
        push(folder, find_target("me/tags"), lambda line: None)
    assert not hub.repositories


def test_a_name_that_is_none_and_a_hub_that_is_not_there(hub, monkeypatch):
    with pytest.raises(UsageError, match="no name on the Hub; write it as owner/name"):
        find_target("me/tags/more")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HangtagError, match="cannot be reached: .*; nothing was begun"):
        find_target("me/tags")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HangtagError, match="cannot be reached: .*; nothing was begun"):
        find_target("me/tags")
