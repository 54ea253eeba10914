"""Trackers: what they record, what they must not send, and that their failures stay theirs."""

import io
import json
import os
import resource
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy
import psutil
import pytest
import torch
import wandb
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import Trainer, TrainerCallback, TrainingArguments
from wandb.proto import wandb_internal_pb2

from hangtag.errors import UsageError
from hangtag.files import Run
from hangtag.recipe import check_recipe
from hangtag.training.libraries import require_libraries
from hangtag.training.tracking import Sample, Trackers

HOSTILE = "Tag: <script>alert(1)</script> | **b** \x00 \ud800 Zoë"
STEPS, INTERRUPTED, CHECKPOINT = 6, 5, 4


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, x, labels):
        return {"loss": ((x @ self.weight - labels) ** 2).mean()}


class Evaluation(TrainerCallback):
    """Shows samples as a validation would, and is interrupted where told."""

    def __init__(self, trackers, rows, interrupt_at):
        self.trackers, self.rows, self.interrupt_at = trackers, rows, interrupt_at

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % 2 == 0:
            self.trackers.samples(state.global_step, self.rows)
        if state.global_step == self.interrupt_at:
            raise KeyboardInterrupt


def recipe(**track):
    return check_recipe({"model": {"base": "nano"}, "data": {"path": "shop"}, "track": track})


def new_run(tmp_path, name="shoes"):
    (tmp_path / name).mkdir(parents=True)
    return Run(tmp_path / name)


def fit(run, trackers, rows=(), interrupt_at=None, resume=False, show=True):
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        max_steps=STEPS,
        logging_steps=1,
        save_steps=CHECKPOINT,
        report_to=["none"],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=Line(),
        args=arguments,
        train_dataset=[{"x": torch.ones(2), "labels": torch.tensor(1.0)}] * 8,
        callbacks=[*trackers.callbacks, *([Evaluation(trackers, rows, interrupt_at)] if show else [])],
    )
    trainer.train(resume_from_checkpoint=str(run.checkpoints / f"checkpoint-{CHECKPOINT}") if resume else None)
    assert trainer.state.global_step == STEPS


def records(folder):
    """The records in a .wandb file: LevelDB's log format in blocks of 32 KiB, each record a protocol buffer."""
    (path,) = folder.glob("*.wandb")
    data, place, part, found = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            found.append(wandb_internal_pb2.Record.FromString(part))
            part = b""
    return found


def history(folder):
    """What was logged, a dictionary a record; a table's fields as `samples.path` and so on."""
    rows = [each.history for each in records(folder) if each.WhichOneof("record_type") == "history"]
    return [{".".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in rows]


def settled(folder, kind):
    """Config or summary as they stand at the end."""
    updates = [getattr(each, kind) for each in records(folder) if each.WhichOneof("record_type") == kind]
    (start,) = (each.run for each in records(folder) if each.WhichOneof("record_type") == "run")
    items = [item for update in [*([start.config] if kind == "config" else []), *updates] for item in update.update]
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def artifacts(folder):
    return [each.artifact for each in records(folder) if each.WhichOneof("record_type") == "artifact"]


def manifest(artifact):
    return {each.path: Path(each.local_path) for each in artifact.manifest.contents}


@pytest.fixture(scope="module")
def network():
    """A server that notes what asks it and answers 500; connections of this process to others are noted as well."""
    asked = []

    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.requestline)
            self.send_error(500)

        do_GET = do_CONNECT = do_POST

        def log_message(self, *_):
            pass

    def hook(event, arguments):
        if event == "socket.connect" and arguments[0].family != socket.AF_UNIX:
            asked.append(arguments[1])

    sys.addaudithook(hook)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(asked=asked, url=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def surroundings(network, tmp_path_factory):
    """An empty home and working folder, no WANDB_ variables but the server above, which is the only way out."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith(("WANDB_", "XDG_"))]:
            patch.delenv(name)
        home, cwd = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("cwd")
        patch.setenv("HOME", str(home))
        patch.chdir(cwd)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "WANDB_BASE_URL"):
            patch.setenv(name, network.url)
        wandb.teardown()
        yield SimpleNamespace(home=home, cwd=cwd)
        wandb.teardown()


@pytest.fixture
def anew(surroundings, monkeypatch):
    """wandb reads its variables once; these tests set others."""
    wandb.teardown()
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    yield monkeypatch
    wandb.teardown()


@pytest.fixture(scope="module")
def tracked(surroundings, network, tmp_path_factory):
    """A training that was interrupted after step 5 and taken up at its checkpoint of step 4, with both trackers."""
    folder = tmp_path_factory.mktemp("tracked")
    run = new_run(folder)
    Image.new("RGB", (1200, 300), (200, 30, 10)).save(folder / "red.png")
    Image.new("RGB", (90, 120), (10, 30, 200)).save(folder / "blue.jpg")
    rows = [
        Sample((folder / "red.png", folder / "blue.jpg"), "Tag: Red Shoe, 10", "Tag: Red Boot, 12", 0.5),
        Sample((), HOSTILE, None, None),
        Sample((folder / "missing.jpg",), "Tag: Hat, 3", "Tag: Hat, 3", 1.0),
    ]
    run.model.mkdir()
    (run.model / "model.safetensors").write_bytes(b"weights")
    chosen = recipe(wandb="offline", tensorboard=True, artifact=True, project="shop")
    said, before, asked = [], dict(os.environ), len(network.asked)
    with pytest.raises(KeyboardInterrupt), Trackers(chosen, run, said.append) as trackers:
        fit(run, trackers, rows, INTERRUPTED)
    with Trackers(chosen, run, said.append) as trackers:
        fit(run, trackers, rows, resume=True)
        trackers.finish({"title chrF": 0.75, "price within 20 %": 0.5}, run.model)
    assert dict(os.environ) == before
    starts = sorted((run.path / "wandb").glob("offline-run-*"))
    return SimpleNamespace(
        folder=folder, run=run, rows=rows, recipe=chosen, starts=starts, said=said, asked=network.asked[asked:]
    )


def test_an_offline_run_holds_recipe_losses_and_final_metrics(tracked):
    first, last = tracked.starts
    (run,) = (each.run for each in records(first) if each.WhichOneof("record_type") == "run")
    assert (run.project, run.display_name) == ("shop", "shoes")
    config = settled(last, "config")
    assert config["recipe"] == tracked.recipe.model_dump()
    assert config["max_steps"] == STEPS  # from transformers' own callback
    losses = {row["train/global_step"]: row["train/loss"] for row in history(first) if "train/loss" in row}
    assert list(losses) == [1, 2, 3, 4]
    assert losses[4] < losses[1]
    summary = settled(last, "summary")
    assert summary["title chrF"] == 0.75
    assert summary["price within 20 %"] == 0.5


def test_the_table_shows_pictures_with_true_and_written_tags(tracked):
    _, last = tracked.starts
    (shown,) = (row for row in history(last) if "samples.path" in row)
    assert shown["train/global_step"] == STEPS
    table = json.loads((last / "files" / shown["samples.path"]).read_text())
    assert table["columns"] == ["picture 1", "picture 2", "true", "written", "score"]
    assert [row[2:] for row in table["data"]] == [
        ["Tag: Red Shoe, 10", "Tag: Red Boot, 12", 0.5],
        [HOSTILE.replace("\ud800", "?"), "(did not end)", None],
        ["Tag: Hat, 3", "Tag: Hat, 3", 1.0],
    ]
    assert [[cell is not None for cell in row[:2]] for row in table["data"]] == [
        [True, True],
        [False, False],
        [False, False],
    ]
    (stored,) = (each for each in artifacts(last) if each.type == "run_table")
    files = manifest(stored)
    assert all(path.is_relative_to(tracked.run.path) for path in files.values())
    pictures = [Image.open(io.BytesIO(path.read_bytes())) for name, path in files.items() if name.endswith(".jpg")]
    colours = {picture.size: numpy.asarray(picture).mean((0, 1)) for picture in pictures}
    assert set(colours) == {(256, 64), (90, 120)}
    numpy.testing.assert_allclose(colours[256, 64], (200, 30, 10), atol=2)
    numpy.testing.assert_allclose(colours[90, 120], (10, 30, 200), atol=2)


def test_the_model_is_an_artifact_where_asked(tracked):
    (model,) = (each for each in artifacts(tracked.starts[-1]) if each.type == "model")
    assert manifest(model) == {"model.safetensors": tracked.run.model / "model.safetensors"}
    assert json.loads(model.metadata)["title chrF"] == 0.75


def test_an_interrupted_training_goes_on_in_the_same_run(tracked):
    _, last = tracked.starts
    ids = {each.run.run_id for start in tracked.starts for each in records(start) if each.HasField("run")}
    assert len(ids) == 1
    steps = [row["_step"] for start in tracked.starts for row in history(start)]
    assert steps == sorted(set(steps))
    assert [row["train/global_step"] for row in history(last) if "train/loss" in row] == [5, 6]


def test_nothing_leaves_the_machine_or_the_run_folder_unasked(tracked, surroundings):
    assert tracked.asked == []
    assert list(surroundings.home.iterdir()) == []
    assert list(surroundings.cwd.iterdir()) == []
    for start in tracked.starts:
        assert {each.name for each in (start / "files").iterdir()} <= {"media", "config.yaml", "wandb-summary.json"}
        assert {each.run.host for each in records(start) if each.WhichOneof("record_type") == "run"} == {""}
        content = b"".join(each.read_bytes() for each in start.glob("*.wandb"))
        for secret in (str(surroundings.cwd), Path(__file__).name, sys.executable):
            assert secret.encode() not in content, secret


def test_tensorboard_has_losses_samples_recipe_and_final_metrics(tracked):
    events = EventAccumulator(str(tracked.run.path / "tensorboard"), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    assert [each.step for each in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    (final,) = events.Scalars("final/title chrF")
    assert final.value == 0.75
    assert set(tags["images"]) == {"samples/1.1", "samples/1.2"}
    shown = events.Images("samples/1.1")
    assert [(each.step, each.width, each.height) for each in shown] == [(step, 256, 64) for step in (2, 4, 6)]
    (text,) = events.Tensors("samples/1/text_summary")[-1].tensor_proto.string_val
    assert text.decode().splitlines() == [
        "    true:    Tag: Red Shoe, 10",
        "    written: Tag: Red Boot, 12",
        "    score:   0.500",
    ]
    (recipe_text,) = events.Tensors("recipe/text_summary")[0].tensor_proto.string_val
    assert 'project = "shop"' in recipe_text.decode()


def test_where_to_look_is_told(tracked):
    assert [line for line in tracked.said if "wandb sync" in line] == tracked.said
    assert str(tracked.run.path / "wandb") in tracked.said[-1]


class Service(BaseHTTPRequestHandler):
    """As much of W&B as a run without files needs; what it is sent is kept in `server.sent`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.sent.append((self.path.split("/")[-1], body.decode()))
        content = json.dumps(self.answer(json.loads(body)) if self.path == "/graphql" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST

    def answer(self, query):
        asked = query.get("variables", {})
        project = {"id": "p", "name": asked.get("project"), "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": asked.get("name"), "displayName": asked.get("displayName"), "project": project}
        files = [{"name": name, "uploadUrl": f"{self.server.url}/{name}"} for name in asked.get("files", [])]
        return {
            "data": {
                "model": None,
                "viewer": None,  # so that tables, of which the server is asked first, are refused
                "upsertBucket": {"bucket": bucket, "inserted": True},
                "createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files},
            }
        }

    def log_message(self, *_):
        pass


@pytest.fixture
def service(anew):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.url, server.sent = f"http://127.0.0.1:{server.server_port}", []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    anew.setenv("WANDB_API_KEY", "0" * 40)
    anew.setenv("WANDB_BASE_URL", server.url)
    anew.setenv("WANDB_INIT_TIMEOUT", "20")
    yield server
    server.shutdown()
    server.server_close()


def test_online_no_more_is_sent_than_was_asked_for(service, tmp_path, surroundings):
    run, said = new_run(tmp_path), []
    trackers = Trackers(recipe(wandb="online"), run, said.append)
    fit(run, trackers)
    trackers.finish({"title chrF": 0.75}, None)
    where, refused = said
    assert where.startswith(f"Weights & Biases: {service.url}/me/hangtag/runs/")
    assert refused.startswith("Weights & Biases got no pictures of step 2: ")
    sent = "\n".join(body for _, body in service.sent)
    assert {name for name, _ in service.sent} <= {"graphql", "file_stream", "config.yaml", "wandb-summary.json"}
    assert all(word in sent for word in ("title chrF", "Full Price: {full_price}"))
    (kept,) = (run.path / "wandb").glob("run-*")
    assert len([row for row in history(kept) if "train/loss" in row]) == STEPS
    queries = [json.loads(body).get("variables", {}) for name, body in service.sent if name == "graphql"]
    assert not any(query.get("host") for query in queries)
    for secret in (str(surroundings.cwd), Path(__file__).name, sys.executable):
        assert secret not in sent, secret


def test_a_network_that_goes_away_does_not_hold_up_training(service, anew, tmp_path):
    anew.setenv("WANDB_FINISH_TIMEOUT", "1")

    def spoil(args, state, control, **kwargs):
        if state.global_step == 2:
            service.shutdown()
            service.server_close()

    run, said, started = new_run(tmp_path), [], time.monotonic()
    trackers = Trackers(recipe(wandb="online"), run, said.append)
    trackers.callbacks[0].on_step_begin = spoil
    fit(run, trackers, show=False)
    trackers.finish({"loss": 1.0}, None)
    assert time.monotonic() - started < 15
    assert said[1].startswith("Weights & Biases failed")
    (kept,) = (run.path / "wandb").glob("run-*")
    assert settled(kept, "summary")["loss"] == 1.0


@pytest.mark.parametrize("answer", ["500", "refused", "no key"])
def test_without_network_or_account_training_goes_on_and_the_run_is_kept(anew, tmp_path, network, answer):
    if answer == "refused":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            anew.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    if answer != "no key":
        anew.setenv("WANDB_API_KEY", "0" * 40)
    run, said, started = new_run(tmp_path), [], time.monotonic()
    trackers = Trackers(recipe(wandb="online"), run, said.append)
    fit(run, trackers)
    trackers.finish({"loss": 1.0}, None)
    assert time.monotonic() - started < 10
    assert said[0].startswith("Weights & Biases cannot be reached, so the run is kept offline: ")
    assert ("wandb login" in said[0]) == (answer == "no key")
    (kept,) = (run.path / "wandb").glob("offline-run-*")
    assert settled(kept, "summary")["loss"] == 1.0


def test_the_users_variables_win_where_they_send_no_more_than_asked(anew, tmp_path, network):
    anew.setenv("WANDB_PROJECT", "mine")
    anew.setenv("WANDB_NAME", "my name")
    anew.setenv("WANDB_API_KEY", "0" * 40)
    for asked, variable in [("online", "offline"), ("offline", "online")]:
        anew.setenv("WANDB_MODE", variable)
        wandb.teardown()
        before = len(network.asked)
        run, said = new_run(tmp_path, asked), []
        trackers = Trackers(recipe(wandb=asked), run, said.append)
        fit(run, trackers)
        trackers.finish({}, None)
        (kept,) = (run.path / "wandb").glob("offline-run-*")
        (start,) = (each.run for each in records(kept) if each.WhichOneof("record_type") == "run")
        assert (start.project, start.display_name) == ("mine", "my name")
        assert network.asked[before:] == []


def finished(run, chosen, said, metrics=None, spoil=None, rows=()):
    trackers = Trackers(chosen, run, said.append)
    if spoil:
        trackers.callbacks[0].on_step_begin = spoil
    fit(run, trackers, rows)
    trackers.finish(metrics or {}, None)


def test_a_file_in_a_folders_place_switches_that_tracker_off(surroundings, tmp_path):
    run, said = new_run(tmp_path), []
    (run.path / "wandb").write_text("")
    (run.path / "tensorboard").write_text("")
    finished(run, recipe(wandb="offline", tensorboard=True), said)
    assert [line.split(" failed")[0] for line in said] == ["Weights & Biases", "TensorBoard"]


def test_one_tracker_failing_leaves_the_other(surroundings, tmp_path):
    run, said = new_run(tmp_path), []
    (run.path / "wandb").write_text("")
    finished(run, recipe(wandb="offline", tensorboard=True), said)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("train/loss")) == STEPS
    assert len(said) == 1


def test_wandbs_process_dying_ends_tracking_only(anew, tmp_path):
    def spoil(args, state, control, **kwargs):
        if state.global_step == 2:
            for child in psutil.Process().children():
                if "wandb-core" in child.name():
                    child.kill()
                    child.wait()

    run, said = new_run(tmp_path), []
    finished(run, recipe(wandb="offline"), said, spoil=spoil)
    (line,) = said
    assert line.startswith("Weights & Biases failed and is off from here on; training goes on: ")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's own thread
def test_a_full_disk_ends_tracking_only(surroundings, tmp_path):
    picture = tmp_path / "noise.png"
    Image.effect_noise((200, 200), 90).convert("RGB").save(picture)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def spoil(args, state, control, **kwargs):
        # Later checkpoints are larger than this, so it is lifted before one is written.
        soft = 20_000 if state.global_step in (1, 2) else limits[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, limits[1]))

    run, said = new_run(tmp_path), []
    try:
        finished(run, recipe(tensorboard=True), said, spoil=spoil, rows=[Sample((picture,), "a", "a", 1.0)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (line,) = said
    assert line.startswith("TensorBoard failed")


def test_a_failure_at_the_end_is_told_and_no_more(surroundings, tmp_path):
    run, said = new_run(tmp_path), []
    finished(run, recipe(wandb="offline", tensorboard=True), said, metrics={"loss": object()})
    assert [line.split(" failed")[0] for line in said] == ["Weights & Biases", "TensorBoard"]


@pytest.mark.parametrize(("track", "main"), [({}, True), ({"wandb": "online", "tensorboard": True}, False)])
def test_without_a_tracker_or_in_another_process_nothing_happens(tmp_path, track, main):
    run, said = new_run(tmp_path), []
    trackers = Trackers(recipe(**track), run, said.append, main_process=main)
    assert trackers.callbacks == []
    trackers.samples(1, [])
    trackers.finish({"loss": 1.0}, None)
    assert (list(run.path.iterdir()), said) == ([], [])


def test_a_tracker_that_is_not_installed_is_refused_before_anything_starts(monkeypatch):
    require_libraries(recipe(wandb="offline", tensorboard=True))
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    require_libraries(recipe())
    with pytest.raises(UsageError, match="pip install wandb tensorboard"):
        require_libraries(recipe(wandb="offline", tensorboard=True))
