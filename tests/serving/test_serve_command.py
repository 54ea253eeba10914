"""`hangtag serve` as a process: what it says before it loads a model, and how it stops."""

import os
import re
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from conftest import HANGTAG, hangtag
from forked import PATIENCE, Command, forkable
from served import data_uri

from hangtag.catalogue.pictures import read_picture


class Serving:
    """The command as a process of its own; a context manager."""

    def __init__(self, said, *arguments, **moment):
        self.said = said
        self.command = Command(forkable(), said, "serve", *arguments, "--port", 0, **moment)

    def __enter__(self):
        end = time.monotonic() + PATIENCE
        while not (found := re.search(r"http://\S+:\d+", self.said.read_text() if self.said.exists() else "")):
            assert self.command.running(), self.said.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        self.client = httpx.Client(base_url=found[0].rstrip(";"), timeout=PATIENCE)
        return self

    def __exit__(self, *_):
        self.client.close()
        if self.command.running():
            os.kill(self.command.pid, signal.SIGKILL)
            self.command.wait()

    def stopped(self):
        return self.command.wait()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_works_answers_what_was_accepted_and_ends_with_0(small_run, photos, tmp_path, sent):
    moment = {"dies_at": "hangtag.serving.batching:Batcher._hand_out", "signals": [sent]}
    with Serving(tmp_path / "said", small_run, **moment) as serving:
        answer = serving.client.post("/v1/predict", files=[("files", ("a.jpg", each)) for each in photos[:4]])
        assert answer.status_code == 200
        assert all(each["fields"] for each in answer.json()["tags"])
        assert serving.stopped() == 0
    assert "4 pictures are still answered" in serving.said.read_text()
    assert "Traceback" not in serving.said.read_text()


def test_model_processes_answer_as_one_does_and_end_with_the_server(small_run, photos, tagger, tmp_path):
    expected = [tag.raw for tag in tagger.tags([read_picture(each) for each in photos[:4]])]
    with Serving(tmp_path / "said", small_run, "--workers", 3) as serving:
        workers = serving.command.workers()
        assert len(workers) == 3
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(lambda each: serving.client.post("/v1/predict", files={"files": each}), photos[:4])
        assert [each.json()["tags"][0]["raw"] for each in answers] == expected
        with openai.OpenAI(base_url=f"{serving.client.base_url}/v1", api_key="none") as client:
            part = {"type": "image_url", "image_url": {"url": data_uri(photos[0])}}
            messages = [{"role": "user", "content": [part]}]
            pieces = client.chat.completions.create(model="run", messages=messages, stream=True)
            assert "".join(each.choices[0].delta.content or "" for each in pieces) == expected[0]
            with pytest.raises(openai.BadRequestError, match="leave it out"):
                client.chat.completions.create(model="run", messages=[*messages, {"role": "system", "content": "<|"}])
        os.killpg(serving.command.pid, signal.SIGINT)  # as a terminal's Ctrl-C does
        assert serving.stopped() == 0
    assert not any(Path(f"/proc/{each}").exists() for each in workers)


def test_a_model_process_that_dies_ends_the_server_with_a_word(small_run, photos, tmp_path):
    with Serving(tmp_path / "said", small_run, "--workers", 2) as serving:
        for each in serving.command.workers():
            os.kill(each, signal.SIGKILL)
        answer = serving.client.post("/v1/predict", files={"files": photos[0]})
        assert answer.status_code == 503
        assert serving.stopped() == 1
    assert "a process of the model ended" in serving.said.read_text()
    assert "Traceback" not in serving.said.read_text()


def test_it_is_quiet_unless_asked_and_then_tells_no_query(small_run, photos, tmp_path):
    for options, lines in (((), 1), (("--access-log",), 3)):
        with Serving(tmp_path / f"said{lines}", small_run, *options) as serving:
            assert serving.client.get("/health?secret=1").status_code == 200
            assert serving.client.get("/a%0Ab").status_code == 404
            os.kill(serving.command.pid, signal.SIGTERM)
            assert serving.stopped() == 0
        said = serving.said.read_text().splitlines()
        assert len(said) == lines
        assert "secret" not in "".join(said)
        assert said[0].startswith("run on http://127.0.0.1:")


def test_a_token_and_a_name_from_the_command_line(small_run, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("s3cret\n")
    options = ("--name", "tags", "--token", tmp_path / "token", "--host", "0.0.0.0")
    with Serving(tmp_path / "said", small_run, *options) as serving:
        assert serving.client.get("/v1/models").status_code == 401
        answer = serving.client.get("/v1/models", headers={"Authorization": "Bearer s3cret", "Host": "any.example"})
        assert answer.json()["data"][0]["id"] == "tags"
        assert "s3cret" not in serving.said.read_text()


def test_a_port_in_use_is_told_before_anything_is_loaded(small_run, monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('torch must not be needed')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = hangtag("serve", small_run, "--port", port, code=1, anew=True)
    assert done.stderr == f"hangtag: port {port} of 127.0.0.1 is in use; give another with --port\n"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--host", "no-such-host.invalid", "--open"], 2, "there is no such host"),
        (["--host", "203.0.113.7", "--open"], 2, "no address of this machine"),
        (["--host", "0.0.0.0"], 2, "give --token, or --open"),
        (["--token", "s3cret-itself"], 2, "names an environment variable or a file"),
        (["--cors", "shop.example"], 2, "no web origin"),
        (["--port", "99999"], 2, "65535"),
        (["--queue", "0"], 2, "queue"),
    ],
)
def test_wrong_options_are_one_line_and_code_2(small_run, options, code, message):
    done = hangtag("serve", small_run, "--port", 0, *options, code=code)
    assert message in done.stderr
    assert "s3cret" not in done.stderr


def test_a_run_that_is_not_there_or_not_done_is_told(small_run, tmp_path):
    done = hangtag("serve", tmp_path / "nowhere", code=1)
    assert "there is no run folder" in done.stderr
    shutil.copy(small_run / "recipe.toml", tmp_path)
    done = hangtag("serve", tmp_path, code=1)
    assert "no trained model yet; finish it with `hangtag train" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    shutil.copytree(small_run / "model", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"damaged")
    done = hangtag("serve", tmp_path, "--port", 0, code=1)
    assert "cannot be loaded" in done.stderr


def test_help_shows_examples():
    assert HANGTAG.name == "hangtag"
    done = hangtag("serve", "--help", anew=True)
    assert "hangtag serve runs/demo" in done.stdout
    assert "--token" in done.stdout
