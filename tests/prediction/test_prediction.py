import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import hangtag as hangtag_command
from conftest import plain_tag
from PIL import Image

import hangtag
from hangtag.catalogue.store import open_catalogue
from hangtag.errors import DataError, ImageError, ModelError, RunError
from hangtag.files import read_jsonl


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


def test_an_answer_that_does_not_end_is_none_and_its_tag_is_brought_to_an_end(tagger, pictures, monkeypatch):
    monkeypatch.setattr(tagger.model.generation_config, "max_new_tokens", 3)
    assert tagger.answers(pictures[:1]) == [None]
    tag = tagger.tags(pictures[:1])[0]
    assert set(tag.fields) == set(tagger.recipe.task.template.names)
    assert tag.fields == tagger.recipe.task.template.read(tag.raw) | {"category3_code": tag.fields["category3_code"]}
    assert not tag.finished


def asks(tagger, pictures, **options):
    return [hangtag.Ask([Image.open(each).convert("RGB")], **options) for each in pictures]


def test_tags_are_what_the_model_writes_freely_with_what_it_holds_likely(tagger, pictures):
    """A small model writes nonsense now and then; what can be read is not changed by being held to the template."""
    template = tagger.recipe.task.template
    written, tags = tagger.answers(pictures), tagger.tags(pictures)
    readable = [(text, tag) for text, tag in zip(written, tags, strict=True) if text and template.read(text)]
    assert len(readable) > 3
    for (text, tag), reading in zip(readable, tagger.readings(pictures), strict=False):
        assert tag.raw == text
        known = tagger.known["category3_code"]
        values = template.read(text)
        assert tag.fields["category3_code"] == (
            values["category3_code"] if values["category3_code"] in known else "other"
        )
        assert {**tag.fields, "category3_code": 0} == {**values, "category3_code": 0}
        assert (tag.finished, tag.calibrated) == (True, False)
        assert set(tag.confidence) == set(template.names)
        assert reading.text != text or tag.confidence["title"] == pytest.approx(reading.confidence["title"], rel=1e-4)
        assert tag.numbers["full_price"]["low"] <= tag.numbers["full_price"]["high"]


def test_a_cache_of_fixed_size_gives_the_same_tags(tagger, pictures, monkeypatch):
    expected = tagger.tags(pictures)
    monkeypatch.setattr(tagger, "static", True)
    for tag, other in zip(tagger.tags(pictures), expected, strict=True):
        assert (tag.raw, tag.fields, tag.tokens) == (other.raw, other.fields, other.tokens)
        assert tag.confidence == pytest.approx(other.confidence, rel=1e-3)
        assert tag.numbers["full_price"] == pytest.approx(other.numbers["full_price"], rel=1e-3)


def test_a_category_is_held_to_the_known_ones_where_that_is_asked(tagger, pictures):
    for tag in tagger.answer(asks(tagger, pictures, known_only=True)):
        assert tag.fields["category3_code"] in tagger.known["category3_code"]
        assert tagger.recipe.task.template.read(tag.raw) == tag.fields


def test_other_prompts_and_cut_answers_stand_beside_tags_in_one_batch(tagger, pictures):
    first, second, third = pictures[:3]
    together = tagger.answer(
        [
            *asks(tagger, [first]),
            *asks(tagger, [second], most_tokens=4),
            *asks(tagger, [third], prompt="Why?", held=False),
        ]
    )
    assert together[0].raw == tagger.tags([first])[0].raw
    assert (together[1].fields, together[1].tokens[1], together[1].finished) == (None, 4, False)
    assert "cut" in together[1].error
    assert tagger.tags([second])[0].raw.startswith(together[1].raw)
    assert (together[2].fields, together[2].error) == (None, None)
    alone = tagger.answer(asks(tagger, [third], prompt="Why?", held=False))[0]
    assert (alone.raw, alone.tokens) == (together[2].raw, together[2].tokens)
    with pytest.raises(ModelError, match="special tokens"):
        tagger.answer(asks(tagger, [first], prompt="<|end|>"))


def test_a_batch_of_tags_holds_what_whole_sequences_give_one_after_another(tagger, pictures):
    """The slow and obvious way: no cache, no branches, no company."""
    numbers = 0
    for path, tag in zip(pictures[:4], tagger.tags(pictures), strict=False):
        plain = plain_tag(tagger, Image.open(path).convert("RGB"))
        assert (plain.raw, plain.fields, plain.tokens) == (tag.raw, tag.fields, tag.tokens)
        assert plain.confidence == pytest.approx(tag.confidence, rel=1e-3)
        for name, number in plain.numbers.items():
            assert number == pytest.approx(tag.numbers[name], rel=1e-3)
            numbers += 1
    assert numbers > 1


def test_text_is_told_as_it_is_written_and_a_row_that_nobody_waits_for_is_cut(tagger, pictures):
    told = {0: "", 1: ""}
    pieces = []

    def on_text(row, text):
        told[row] += text
        pieces.append(text)

    tags = tagger.answer(asks(tagger, pictures[:2]), on_text)
    assert [told[0], told[1]] == [tag.raw for tag in tags]
    assert len(pieces) > 8
    seen = []
    cut = tagger.answer(asks(tagger, pictures[:2]), cancelled=lambda row: row == 1 and len(seen.append(1) or seen) > 3)
    assert (cut[0].raw, cut[0].fields) == (tags[0].raw, tags[0].fields)
    assert cut[0].confidence == pytest.approx(tags[0].confidence, rel=1e-3)
    assert (cut[1].fields, cut[1].tokens[1]) == (None, 4)


def test_a_prompts_tokens_are_known_without_the_model(tagger, pictures):
    ask = asks(tagger, pictures[:1])[0]
    assert tagger.prompt_tokens(ask) == tagger.answer([ask])[0].tokens[0]
    longer = asks(tagger, pictures[:1], prompt="What is it, and what does it cost?")[0]
    assert tagger.prompt_tokens(longer) == tagger.answer([longer])[0].tokens[0] != tagger.prompt_tokens(ask)


def test_a_run_knows_its_categories_and_says_where_they_are_damaged(small_run, small_catalogue, tmp_path):
    shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "evaluation"))
    known = hangtag.load(tmp_path / "run").known
    rows = open_catalogue(small_catalogue).split("train")
    assert known == {"category3_code": sorted({row["category3_code"] for row in rows})}
    (tmp_path / "run" / "schema.json").unlink()
    assert hangtag.load(tmp_path / "run").known == known
    (tmp_path / "run" / "schema.json").write_text('{"properties": {"title": {"enum": 3}}}')
    with pytest.raises(DataError, match=r"schema.json cannot be used"):
        hangtag.load(tmp_path / "run")
    (tmp_path / "run" / "schema.json").unlink()
    (tmp_path / "run" / "calibration.json").write_text('{"corrections": {}, "confidence": {"title": {"slope": NaN}}}')
    with pytest.raises(DataError, match=r"calibration.json cannot be used"):
        hangtag.load(tmp_path / "run")


def test_an_evaluated_runs_tags_are_calibrated_as_its_predictions_are(small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "evaluation"))
    hangtag_command("evaluate", tmp_path / "run")
    predictions = read_jsonl(tmp_path / "run" / "evaluation" / "test" / "predictions.jsonl")
    tagger = hangtag.load(tmp_path / "run")
    catalogue = open_catalogue(tagger.recipe.data.path)
    tags = tagger.tags([catalogue.path / each["file_name"] for each in predictions])
    compared = 0
    for each, tag in zip(predictions, tags, strict=True):
        assert tag.calibrated
        if each["readable"] and each["raw"] == tag.raw:
            assert tag.confidence == pytest.approx(each["confidence"], rel=1e-3, abs=1e-6)
            expected = each["numbers"]["full_price"]
            assert tag.numbers["full_price"]["estimate"] == pytest.approx(expected["estimate"], rel=1e-3)
            assert (tag.numbers["full_price"]["low"] is None) == (expected["low"] is None)
            compared += 1
    assert compared


def test_an_unreadable_picture_is_a_tag_with_an_error_and_an_exception_where_answers_are_counted(
    tagger, pictures, tmp_path
):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8nothing")
    flat = Image.new("RGB", (9000, 10))
    tags = tagger.tags([pictures[0], bad, flat, pictures[1]])
    assert [tag.raw is None for tag in tags] == [False, True, True, False]
    assert "bad.jpg" in str(tags[1].error)
    assert "too flat" in str(tags[2].error)
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
    monkeypatch.setattr(tagger, "judge", tagger.judge_with(beams=1))
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
