from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hangtag
from hangtag.catalogue.store import open_catalogue
from hangtag.errors import DataError, ImageError, RunError, UsageError
from hangtag.prediction.numbers import NODES
from hangtag.prediction.predict import picture_files, records
from hangtag.prediction.readings import Judge


@pytest.fixture(scope="module")
def tagger(small_run):
    return hangtag.load(small_run)


@pytest.fixture(scope="module")
def pictures(small_catalogue):
    catalogue = open_catalogue(small_catalogue)
    return [catalogue.image_path(row) for row in catalogue.rows[:7]]


def test_a_batch_gives_what_one_at_a_time_gives(tagger, pictures):
    together = tagger.answers(pictures)
    assert together == [tagger.answers([each])[0] for each in pictures]
    tagger.batch_size = 3
    assert tagger.answers(pictures) == together
    tagger.batch_size = 64


def test_pictures_in_hand_and_on_disk_are_answered_alike(tagger, pictures):
    assert tagger.answers([Image.open(each).convert("RGB") for each in pictures]) == tagger.answers(pictures)


def test_an_answer_that_does_not_end_is_none_and_its_tag_says_so(tagger, pictures):
    kept, tagger.model.generation_config.max_new_tokens = tagger.model.generation_config.max_new_tokens, 3
    assert tagger.answers(pictures[:1]) == [None]
    tag = tagger.tags(pictures[:1])[0]
    assert tag.fields is None
    assert "did not end" in str(tag.error)
    tagger.model.generation_config.max_new_tokens = kept


def test_an_unreadable_picture_is_a_tag_with_an_error_and_an_exception_where_answers_are_counted(
    tagger, pictures, tmp_path
):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8nothing")
    tags = tagger.tags([pictures[0], bad, pictures[1]])
    assert [tag.raw is None for tag in tags] == [False, True, False]
    assert "bad.jpg" in str(tags[1].error)
    with pytest.raises(ImageError):
        tagger.answers([bad])


def test_features_are_one_vector_a_picture_and_differ_between_pictures(tagger, pictures):
    features = tagger.features(pictures)
    assert features.shape == (7, tagger.model.config.hidden_size)
    assert features.dtype == np.float32
    assert np.ptp(features, axis=0).max() > 0


def test_progress_ends_at_the_number_of_pictures(tagger, pictures):
    seen = []
    tagger.tags(pictures, lambda done, total, note="": seen.append((done, total)))
    assert seen[-1] == (7, 7)


def test_files_and_folders_are_found_sorted_and_hidden_ones_left_out(tmp_path):
    for name in ("b/2.JPG", "b/1.png", "b/.hidden/3.png", "b/notes.txt", "a.webp", "odd.name"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = picture_files([tmp_path / "odd.name", tmp_path / "b", tmp_path / "b" / "1.png"])
    assert [str(each.relative_to(tmp_path)) for each in found] == ["odd.name", "b/1.png", "b/2.JPG"]
    with pytest.raises(UsageError, match="x.jpg, .*y.jpg"):
        picture_files([tmp_path / "x.jpg", tmp_path / "y.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures found"):
        picture_files([tmp_path / "empty"])


def test_records_are_what_the_command_writes(tagger, pictures):
    found = records(tagger, pictures[:2])
    assert [set(each) for each in found] == [{"path", "fields", "raw", "error"}] * 2


def test_a_damaged_model_folder_is_one_clear_error(small_run, tmp_path):
    import shutil

    shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    weights = tmp_path / "run" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(RunError, match="cannot be loaded"):
        hangtag.load(tmp_path / "run")
    with pytest.raises(RunError, match="there is no run folder"):
        hangtag.load(Path("absent"))


def test_readings_of_a_models_own_answers_are_its_readings(tagger, pictures, monkeypatch):
    """In one pass behind given words, and token by token behind the model's own, numbers behind these alone."""
    monkeypatch.setattr(Judge.__init__, "__defaults__", (NODES, 1))
    template = tagger.recipe.task.template
    readings = tagger.readings(pictures)
    own = [(picture, each) for picture, each in zip(pictures, readings, strict=True) if template.read(each.text or "")]
    assert own
    given = tagger.readings_of([picture for picture, _ in own], [template.read(each.text) for _, each in own])
    for (_, wrote), each in zip(own, given, strict=True):
        if template.write(template.read(wrote.text)) != wrote.text:
            continue  # the same values in other letters, such as 05 for 5
        assert each.text == wrote.text
        assert each.confidence == pytest.approx(wrote.confidence, rel=1e-3)
        for name, numbers in wrote.numbers.items():
            assert each.numbers[name].values.tolist() == numbers.values.tolist()
            assert each.numbers[name].weights == pytest.approx(numbers.weights, abs=1e-4)


def test_readings_of_given_values_tell_how_likely_those_are(tagger, pictures):
    """As the truths of a reading whose answer is unreadable, which are judged as a whole."""
    template = tagger.recipe.task.template
    values = [
        {"title": "Long Red Coat", "category3_code": "COATS", "full_price": 5.0 + n} for n in range(len(pictures))
    ]
    kept, tagger.model.generation_config.max_new_tokens = tagger.model.generation_config.max_new_tokens, 2
    whole = tagger.readings(pictures, truths=values)
    tagger.model.generation_config.max_new_tokens = kept
    for each, behind in zip(tagger.readings_of(pictures, values), whole, strict=True):
        assert behind.text is None
        assert np.log(each.confidence["title"]) == pytest.approx(behind.truth["title"], abs=1e-3)
        assert np.log(each.confidence["category3_code"]) == pytest.approx(behind.truth["category3_code"], abs=1e-3)
        assert set(each.numbers) <= {name for name in template.names if template.fields[name] == "number"}
