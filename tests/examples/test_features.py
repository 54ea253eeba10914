"""The cache of vision features: its files, its keys, filling it, and what training with it gives."""

import multiprocessing
import os
import pickle
import stat
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import tiny_model, tiny_processor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hangtag.answer import Template
from hangtag.errors import CacheError, ImageError
from hangtag.examples.chat import Chat
from hangtag.examples.examples import Examples
from hangtag.examples.features import (
    BLOCK_BYTES,
    HEADER_BYTES,
    FeatureCache,
    cache_root,
    content_hash,
    crop_count,
    needed_bytes,
    tower_key,
)
from hangtag.examples.filling import fill
from hangtag.examples.loading import Steps, Vision
from hangtag.examples.packing import Plan
from hangtag.examples.rows import UsableRow
from hangtag.phi3v import Phi3VImageProcessor
from hangtag.progress import silent
from hangtag.recipe import Task

SHAPE = (4, 128)
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# Python 3.12 warns of forking beside threads; the children here use none of the parent's.
FORK = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
PAGE = os.sysconf("SC_PAGE_SIZE")

NAMES = [f"{index:064x}" for index in range(40)]


def fill_slowly(root, log, rank=0, world=1, seconds=0.0):
    """Fill a cache with 40 one-tile pictures, picture i all of value i, noting each in `log` before its features."""
    processor = Phi3VImageProcessor(num_crops=1, crop_size=56, num_img_tokens=4)
    pictures = {name: torch.full((56, 56, 3), index, dtype=torch.uint8) for index, name in enumerate(NAMES)}

    def encode(pixel_values, image_sizes):
        index = int(pixel_values[0, 0, 0, 0])
        with open(log, "a") as file:
            print(index, file=file)
        time.sleep(seconds)
        return torch.full((2, *SHAPE), float(index))

    with silent("") as progress:
        cache = FeatureCache(root, "tower", 10**9, SHAPE, torch.bfloat16)
        fill(cache, pictures, processor, encode, 2, progress, rank, world)


def start(*arguments):
    """`fill_slowly` in a process of its own; forked, since importing torch anew takes seconds."""
    process = multiprocessing.get_context("fork").Process(target=fill_slowly, args=arguments)
    process.start()
    return process


def exit_code(process):
    process.join()
    return process.exitcode


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", "tower", 10**9, SHAPE, torch.float32)


def like(cache, key=None, dtype=None):
    return FeatureCache(cache.root, key or cache.folder.name, cache.limit_bytes, cache.shape, dtype or cache.dtype)


def random_features(crops, dtype=torch.float32, shape=SHAPE):
    return torch.randn(crops, *shape, generator=torch.Generator().manual_seed(crops)).to(dtype)


def encoded(log):
    return [int(line) for line in log.read_text().split()] if log.exists() else []


# Files


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_put_is_got(tmp_path, dtype):
    cache = FeatureCache(tmp_path, "tower", 10**9, SHAPE, dtype)
    for crops in (1, 2, 17):
        features = random_features(crops, dtype)
        cache.put(f"{crops:064x}", features)
        got = cache.get(f"{crops:064x}")
        assert got.dtype == dtype
        assert torch.equal(got, features)
        assert got.data_ptr() % 64 == 0


def test_features_are_rounded_to_the_caches_dtype(tmp_path):
    cache = FeatureCache(tmp_path, "tower", 10**9, SHAPE, torch.bfloat16)
    features = random_features(2)
    cache.put("ab" * 32, features[:, :, :])
    assert torch.equal(cache.get("ab" * 32), features.bfloat16())


def test_features_are_mapped_not_read(tmp_path):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    cache = FeatureCache(tmp_path, "tower", 10**9, (144, 4096), torch.float32)
    cache.put("ab" * 32, torch.ones(17, 144, 4096))
    cache.get("ab" * 32)
    before = resident()
    features = cache.get("ab" * 32)
    assert resident() - before < features.nbytes // 10
    cache.path("ab" * 32).unlink()
    assert bool((features == 1).all())
    assert resident() - before > features.nbytes // 2


def test_writing_into_features_does_not_reach_the_file(cache):
    cache.put("ab" * 32, random_features(2))
    cache.get("ab" * 32).zero_()
    assert torch.equal(cache.get("ab" * 32), random_features(2))


def test_many_features_at_once_hold_no_files_open(cache):
    cache.put("ab" * 32, random_features(2))
    before = len(os.listdir("/proc/self/fd"))
    held = [cache.get("ab" * 32) for _ in range(100)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(held) == 100


@FORK
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_loaders_workers_read_it(cache, method):
    pictures = [f"{i:064x}" for i in range(6)]
    for i, picture in enumerate(pictures):
        cache.put(picture, random_features(i + 1))
    loader = torch.utils.data.DataLoader(
        Reader(cache, pictures), batch_size=2, num_workers=1, collate_fn=torch.cat, multiprocessing_context=method
    )
    batches = list(loader)
    assert torch.equal(torch.cat(batches), torch.cat([random_features(i + 1) for i in range(6)]))


class Reader(torch.utils.data.Dataset):
    def __init__(self, cache, pictures):
        self.cache, self.pictures = cache, pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.cache.get(self.pictures[index])


def test_a_pickled_cache_reads_and_writes(cache):
    cache.put("ab" * 32, random_features(3))
    copy = pickle.loads(pickle.dumps(cache))
    assert torch.equal(copy.get("ab" * 32), random_features(3))
    copy.put("cd" * 32, random_features(2))
    assert cache.missing(["ab" * 32, "cd" * 32, "ef" * 32, "ef" * 32]) == ["ef" * 32]


def damages():
    def truncate(path):
        os.truncate(path, path.stat().st_size - 1)

    def half(path):
        os.truncate(path, path.stat().st_size // 2)

    def only_header(path):
        os.truncate(path, HEADER_BYTES)

    def empty(path):
        os.truncate(path, 0)

    def longer(path):
        os.truncate(path, path.stat().st_size + 4)

    def zeros(path):
        path.write_bytes(bytes(path.stat().st_size))

    def crop_less(path):
        os.truncate(path, path.stat().st_size - 4 * 128 * 4)

    def another_picture(path):
        path.write_bytes(path.read_bytes().replace(b"ab" * 32, b"ac" * 32))

    def gone(path):
        path.unlink()

    return [truncate, half, only_header, empty, longer, zeros, crop_less, another_picture, gone]


@pytest.mark.parametrize("damage", damages(), ids=lambda each: each.__name__)
def test_a_damaged_entry_is_missing_and_is_written_anew(cache, damage):
    cache.put("ab" * 32, random_features(3))
    damage(cache.path("ab" * 32))
    assert cache.missing(["ab" * 32]) == ["ab" * 32]
    with pytest.raises(CacheError, match="same command again"):
        cache.get("ab" * 32)
    cache.put("ab" * 32, random_features(3))
    assert torch.equal(cache.get("ab" * 32), random_features(3))


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=3 * HEADER_BYTES))
def test_whatever_lies_there_is_no_crash(tmp_path_factory, content):
    cache = FeatureCache(tmp_path_factory.mktemp("any"), "tower", 10**9, (1, 2), torch.float16)
    cache.path("ab" * 32).parent.mkdir()
    cache.path("ab" * 32).write_bytes(content)
    assert cache.missing(["ab" * 32])
    with pytest.raises(CacheError):
        cache.get("ab" * 32)


def test_an_entry_of_another_dtype_or_shape_is_damaged(cache):
    cache.put("ab" * 32, random_features(2))
    assert like(cache, dtype=torch.float16).missing(["ab" * 32])
    other = FeatureCache(cache.root, "tower", 10**9, (8, 64), torch.float32)
    assert other.missing(["ab" * 32])


def test_needed_bytes_are_what_the_disk_says(cache):
    counts = [1, 2, 5, 17]
    for count in counts:
        cache.put(f"{count:064x}", random_features(count))
    used = sum(each.stat().st_blocks * 512 for each in cache.folder.glob("??/*"))
    assert needed_bytes(counts, SHAPE, torch.float32) == pytest.approx(used, abs=len(counts) * BLOCK_BYTES)
    assert needed_bytes(counts, SHAPE, torch.float32) == sum(cache.entry_bytes(count) for count in counts)
    # At full size, num_crops 4: 5.9 MB a picture.
    assert needed_bytes([5] * 1000, (144, 4096), torch.bfloat16) == pytest.approx(5.9e9, rel=0.01)


def test_the_root_is_its_owners_alone(tmp_path):
    cache = FeatureCache(tmp_path / "a" / "b", "tower", 10**9, SHAPE, torch.float32)
    cache.put("ab" * 32, random_features(1))
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b" / "features").stat().st_mode) == 0o700


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("HANGTAG_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("HANGTAG_CACHE")
    assert cache_root() == tmp_path / "xdg" / "hangtag"
    for nothing in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", nothing)
        assert cache_root() == tmp_path / "home" / ".cache" / "hangtag"


def test_a_root_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="file.*HANGTAG_CACHE"):
        FeatureCache(tmp_path / "file", "tower", 10**9, SHAPE, torch.float32)


def test_an_entry_that_cannot_be_written_is_named(cache):
    (cache.folder / "ab").write_text("in the way")
    with pytest.raises(CacheError, match="HANGTAG_CACHE"):
        cache.put("ab" * 32, random_features(1))


# Keys


def test_the_key_knows_what_the_features_depend_on():
    processor = tiny_processor(num_crops=4)
    model = tiny_model(processor)

    def key(dtype=torch.float32, autocast=None, pictures=processor.image_processor):
        return tower_key(model, pictures, dtype, autocast)

    first = key()
    assert key() == first
    assert tower_key(torch.nn.Sequential(model), processor.image_processor, torch.float32, None) == first
    assert key(torch.bfloat16) != first
    assert key(autocast=torch.bfloat16) != first
    assert key(pictures=tiny_processor(num_crops=1).image_processor) != first
    clip = model.model.vision_embed_tokens.img_processor.vision_model
    for name, parameter in model.named_parameters():
        used = "img_processor" in name and not name.startswith(
            ("model.vision_embed_tokens.img_processor.vision_model.encoder.layers.1.",
             "model.vision_embed_tokens.img_processor.vision_model.post_layernorm.")
        )  # fmt: skip
        kept = parameter.data.flatten()[-1].clone()
        parameter.data.view(-1)[-1] += 1
        assert (key() != first) == used, name
        parameter.data.view(-1)[-1] = kept
    assert key() == first
    assert len(clip.encoder.layers) == 2
    model.bfloat16()
    assert key() != first


def test_the_key_holds_under_adapters_of_other_parts():
    import hangtag

    processor = tiny_processor()
    model = tiny_model(processor)
    first = tower_key(model, processor.image_processor, torch.float32, None)
    adapted = hangtag.add_lora(model, rank=2)
    assert tower_key(adapted, processor.image_processor, torch.float32, None) == first


def test_the_key_knows_a_quantised_layers_scales():
    """Weights twice as large are the same 4-bit numbers, and other features."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    processor = tiny_processor()
    model = tiny_model(processor)
    mlp = model.model.vision_embed_tokens.img_processor.vision_model.encoder.layers[0].mlp
    weight = mlp.fc1.weight.detach()
    keys, packed = [], []
    for scale in (1, 2):
        mlp.fc1 = bitsandbytes.nn.Linear4bit(32, 128, quant_type="nf4")
        mlp.fc1.weight = bitsandbytes.nn.Params4bit(weight * scale, requires_grad=False, quant_type="nf4")
        mlp.fc1.to("cpu")
        packed.append(mlp.fc1.weight.data)
        mlp.fc1.bias = None
        keys.append(tower_key(model, processor.image_processor, torch.float32, None))
    assert torch.equal(*packed)
    assert keys[0] != keys[1]


def test_the_content_hash_is_of_the_files_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# Filling


def pictures_of(folder, count=6):
    """Pictures of several shapes, by content hash; rows that share a file share its hash."""
    paths = []
    for index in range(count):
        path = folder / f"{index}.png"
        Image.effect_noise([(80, 80), (60, 120), (120, 60), (250, 60)][index % 4], 60).convert("RGB").save(path)
        paths.append(path)
    return paths


class Counting:
    """A tiny model with weights that are not zero, its processor, and how often CLIP was called."""

    def __init__(self):
        self.processor = tiny_processor(num_crops=4)
        self.model = tiny_model(self.processor).eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in self.model.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
        self.calls = 0
        tower = self.model.model.vision_embed_tokens.img_processor
        tower.register_forward_hook(self.called)

    def called(self, *_):
        self.calls += 1

    def encode(self, pixel_values, image_sizes):
        return self.model.model.encode_pictures(pixel_values, image_sizes)

    def fill(self, cache, pictures, crops_at_once=8, **options):
        with silent("") as progress:
            return fill(
                cache, pictures, self.processor.image_processor, self.encode, crops_at_once, progress, **options
            )


@pytest.fixture(scope="module")
def tiny():
    return Counting()


@pytest.mark.parametrize("crops_at_once", [1, 7, 100])
def test_filled_features_are_the_towers_own(tiny, cache, tmp_path, crops_at_once):
    pictures = {content_hash(path): path for path in pictures_of(tmp_path)}
    assert tiny.fill(cache, pictures, crops_at_once) == len(pictures)
    for picture, path in pictures.items():
        batch = tiny.processor.image_processor(Image.open(path))
        own = tiny.encode(batch["pixel_values"], batch["image_sizes"])
        assert len(own) == crop_count(*batch["image_sizes"][0].tolist(), 56)
        torch.testing.assert_close(cache.get(picture), own, rtol=0, atol=1e-5)


def test_canvases_and_files_fill_alike(tiny, cache, tmp_path):
    pictures = {content_hash(path): path for path in pictures_of(tmp_path)}
    transform = tiny.processor.image_processor.hd_transform
    canvases = {picture: torch.from_numpy(transform(Image.open(path))) for picture, path in pictures.items()}
    other = like(cache, key="canvases")
    tiny.fill(cache, pictures)
    tiny.fill(other, canvases)
    assert all(torch.equal(cache.get(picture), other.get(picture)) for picture in pictures)


def test_another_mean_is_heeded(tiny, cache, tmp_path):
    pictures = {content_hash(path): path for path in pictures_of(tmp_path, 1)}
    processor = type(tiny.processor.image_processor)(num_crops=4, crop_size=56, image_mean=[0.5] * 3, num_img_tokens=4)
    with silent("") as progress:
        fill(cache, pictures, processor, tiny.encode, 8, progress)
    batch = processor(Image.open(next(iter(pictures.values()))))
    own = tiny.encode(batch["pixel_values"], batch["image_sizes"])
    torch.testing.assert_close(cache.get(next(iter(pictures))), own, rtol=0, atol=1e-5)


def test_a_filled_cache_is_not_filled_again_and_a_damaged_entry_is(tiny, cache, tmp_path):
    pictures = {content_hash(path): path for path in pictures_of(tmp_path)}
    tiny.fill(cache, pictures)
    before = tiny.calls
    assert tiny.fill(cache, pictures) == 0
    assert tiny.calls == before
    os.truncate(cache.path(list(pictures)[3]), 500)
    assert tiny.fill(cache, pictures) == 1
    assert cache.missing(pictures) == []


def test_ranks_leave_nothing_out_whenever_they_begin(tiny, cache, tmp_path):
    pictures = {content_hash(path): path for path in pictures_of(tmp_path, 7)}
    done = [tiny.fill(cache, pictures, rank=rank, world=3) for rank in range(3)]
    assert done == [3, 2, 2]
    assert cache.missing(pictures) == []


def test_progress_counts_what_is_encoded(tiny, cache, tmp_path):
    pictures = {content_hash(path): path for path in pictures_of(tmp_path)}
    said = []
    fill(
        cache, pictures, tiny.processor.image_processor, tiny.encode, 6, lambda done, total: said.append((done, total))
    )
    assert said[0] == (0, 6)
    assert said[-1] == (6, 6)
    assert said == sorted(said)


def test_a_broken_picture_is_named_and_the_others_stay(tiny, cache, tmp_path):
    paths = pictures_of(tmp_path)
    paths[4].write_bytes(paths[4].read_bytes()[:200])
    pictures = {content_hash(path): path for path in paths}
    with pytest.raises(ImageError, match="4.png"):
        tiny.fill(cache, pictures, crops_at_once=4)
    assert len(cache.missing(pictures)) < 6


@FORK
def test_killed_while_filling_it_goes_on_where_it_was(tmp_path):
    root, log = tmp_path / "cache", tmp_path / "log"
    process = start(root, log, 0, 1, 0.03)
    deadline = time.monotonic() + 60
    while len(encoded(log)) < 12 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert exit_code(process) == -9
    cache = FeatureCache(root, "tower", 10**9, SHAPE, torch.bfloat16)
    stored = set(range(40)) - {int(name, 16) for name in cache.missing(NAMES)}
    before = encoded(log)
    assert 8 <= len(stored) < 40
    assert len(set(before) - stored) <= 3  # the ones under way: encoded, waiting to be written

    assert exit_code(start(root, log)) == 0
    after = encoded(log)[len(before) :]
    assert sorted(after) == sorted(set(range(40)) - stored)
    assert all(bool((cache.get(name) == index).all()) for index, name in enumerate(NAMES))


@FORK
def test_two_processes_fill_at_once(tmp_path):
    shares = [start(tmp_path / "shares", tmp_path / "log", rank, 2, 0.01) for rank in (0, 1)]
    same = [start(tmp_path / "same", tmp_path / "log2") for _ in (0, 1)]
    assert [exit_code(process) for process in shares + same] == [0, 0, 0, 0]
    assert Counter(encoded(tmp_path / "log")) == dict.fromkeys(range(40), 1)
    for root in ("shares", "same"):
        cache = FeatureCache(tmp_path / root, "tower", 10**9, SHAPE, torch.bfloat16)
        assert all(bool((cache.get(name) == index).all()) for index, name in enumerate(NAMES))
        assert len(list(cache.folder.glob("??/*"))) == 40


# Training


def losses(model, batches):
    found = []
    for batch in batches:
        model.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        found.append((loss.detach(), model.model.vision_embed_tokens.img_projection[0].weight.grad.clone()))
    return found


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_loss_and_gradients_equal_the_uncached_ones_and_clip_is_not_called(tiny, tmp_path, autocast):
    paths = pictures_of(tmp_path)
    template = Template("Tag: {title}, {price}", {"title": "text", "price": "number"})
    rows = [UsableRow({"title": "Red Bag", "price": 10.0 * index}, (path,)) for index, path in enumerate(paths * 2)]
    examples = Examples(rows, tiny.processor, template, Chat.of(Task(prompt="What is it?")))
    plan = Plan(examples.lengths(), [True] * len(rows), 5, 4000)

    def passes(vision):
        return [each for step in range(plan.steps) for each in Steps(examples, plan, vision)[step]["passes"]]

    plain = passes(Vision())
    tower = tiny.model.model.vision_embed_tokens.img_processor.requires_grad_(False)
    # Autocast computes the projection in bfloat16, so rounding its input beforehand changes nothing.
    dtype = torch.bfloat16 if autocast else torch.float32
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        before = tiny.calls
        uncached = losses(tiny.model, plain)
        assert tiny.calls == before + len(plain)
        key = tower_key(tiny.model, tiny.processor.image_processor, dtype, dtype if autocast else None)
        cache = FeatureCache(tmp_path / "cache", key, 10**9, SHAPE, dtype)
        keys = {path: content_hash(path) for path in paths}
        assert tiny.fill(cache, {key: path for path, key in keys.items()}) == len(paths)
        before = tiny.calls
        cached = losses(tiny.model, passes(Vision(cache, keys)))
        assert tiny.calls == before
    tower.requires_grad_(True)
    for (loss, gradient), (own_loss, own_gradient) in zip(uncached, cached, strict=True):
        torch.testing.assert_close(own_loss, loss, rtol=0, atol=1e-3 if autocast else 1e-6)
        largest = float(gradient.abs().max())
        assert largest > 0
        torch.testing.assert_close(own_gradient, gradient, rtol=0, atol=largest * (2e-2 if autocast else 1e-5))
