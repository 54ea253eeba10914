"""What a model holds likely, read from the cache of its answers, against the plain path: whole texts, one at a time."""

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

import hangtag
from hangtag.answer import format_number
from hangtag.catalogue import open_catalogue
from hangtag.prediction import numbers as expansion
from hangtag.prediction.hypotheses import Hypotheses
from hangtag.prediction.pieces import Pieces
from hangtag.prediction.tree import Tree
from hangtag.recipe.sections import END


@pytest.fixture(scope="module")
def tagger(small_run):
    return hangtag.load(small_run)


@pytest.fixture(scope="module")
def rows(tagger, small_catalogue):
    """Four rows of different prompts' ends: their pictures and true values."""
    catalogue = open_catalogue(small_catalogue)
    chosen = catalogue.rows[:4]
    template = tagger.recipe.task.template
    return [catalogue.image_path(row) for row in chosen], [template.clean(row) for row in chosen]


@pytest.fixture(scope="module")
def readings(tagger, rows):
    return tagger.readings(rows[0], truths=rows[1])


def log_probs(tagger, pictures, text):
    """The log probability of each token of an answer's text and its end, by one plain forward pass."""
    prompt = tagger.chat.prompt(len(pictures))
    inputs = tagger.processor(text=[prompt], images=pictures or None, return_tensors="pt")
    ids = tagger.processor.tokenizer([text + END], add_special_tokens=False, return_tensors="pt")["input_ids"]
    whole = torch.cat([inputs["input_ids"], ids], 1)
    with torch.inference_mode():
        given = {name: inputs[name] for name in ("pixel_values", "image_sizes") if name in inputs}
        logits = tagger.model(input_ids=whole, **given).logits[0, inputs["input_ids"].shape[1] - 1 : -1]
    return ids[0].tolist(), logits.log_softmax(-1).gather(1, ids[0][:, None])[:, 0].double().numpy()


def of_value(tagger, pictures, text, name):
    """The log probability of a field's words in an answer's text, with what ends them."""
    ids, found = log_probs(tagger, pictures, text)
    first, last = Pieces(tagger.processor.tokenizer).spans(tagger.recipe.task.template, ids[:-1])[name]
    return found[first : last + 1].sum()


def with_value(tagger, text, name, value):
    start, stop = tagger.recipe.task.template.spans(text)[name]
    return text[:start] + (value if isinstance(value, str) else format_number(value)) + text[stop:]


def test_the_texts_are_those_that_are_written_without(tagger, rows, readings):
    assert [each.text for each in readings] == tagger.answers(rows[0])
    assert tagger.answers(rows[0]) == tagger.answers(rows[0]), "branches were left behind"
    assert all(tagger.recipe.task.template.read(each.text) for each in readings), "a run that learned nothing"


def test_confidence_is_the_probability_of_the_words_written(tagger, rows, readings):
    for picture, reading in zip(rows[0], readings, strict=True):
        assert set(reading.confidence) == {"title", "category3_code"}
        for name, found in reading.confidence.items():
            expected = math.exp(of_value(tagger, [Image.open(picture)], reading.text, name))
            assert found == pytest.approx(expected, abs=1e-5)


def test_true_values_are_judged_behind_what_was_written(tagger, rows, readings):
    for picture, truth, reading in zip(*rows, readings, strict=True):
        for name, found in reading.truth.items():
            text = with_value(tagger, reading.text, name, truth[name])
            assert found == pytest.approx(of_value(tagger, [Image.open(picture)], text, name), abs=1e-4)


def test_a_number_on_the_written_prefix_has_the_probability_of_whole_texts(tagger, rows, monkeypatch):
    monkeypatch.setattr(expansion, "LEAST", 1e-6)
    monkeypatch.setattr(tagger, "judge", tagger.judge_with(10_000, 1))
    for picture, reading in zip(rows[0], tagger.readings(rows[0]), strict=True):
        found = reading.numbers["full_price"]
        assert np.all(np.diff(found.values) > 0)
        assert found.weights.sum() == pytest.approx(1)
        for value in found.values[np.argsort(-found.weights)[:6]]:
            text = with_value(tagger, reading.text, "full_price", float(value))
            _, expected = log_probs(tagger, [Image.open(picture)], text)
            held = found.weights[found.values == value][0] * found.covered
            assert held == pytest.approx(math.exp(expected.sum()), rel=1e-3, abs=1e-7)


def test_prefixes_have_the_probability_of_their_text_and_the_likeliest_is_found(tagger, rows):
    inputs = tagger._inputs([[Image.open(each)] for each in rows[0]])
    answers, texts = tagger._answers(inputs)
    template = tagger.recipe.task.template
    signs = list(Pieces(tagger.processor.tokenizer).number_tokens().values())
    hypotheses = Hypotheses(Pieces(tagger.processor.tokenizer), template, "full_price", signs, beams=4)
    for picture, text, prefixes in zip(rows[0], texts, hypotheses.prefixes(Tree(answers), 60), strict=True):
        assert 1 <= len(prefixes) <= 4 + 3
        _, written = log_probs(tagger, [Image.open(picture)], text)
        assert prefixes[0].log_p > written.sum(), "a likelier prefix was written"
        assert [each.log_p for each in prefixes] == sorted((each.log_p for each in prefixes), reverse=True)
        for prefix in prefixes:
            ids, expected = log_probs(tagger, [Image.open(picture)], prefix.text + "1")
            first, _ = Pieces(tagger.processor.tokenizer).spans(template, ids[:-1])["full_price"]
            assert prefix.log_p == pytest.approx(expected[:first].sum(), abs=1e-3)


def test_a_node_that_is_not_kept_gives_its_probability_to_the_nearest_as_long():
    generator = np.random.default_rng(0)
    shape = (5, 40)
    weights = np.sort(generator.random(shape) * (generator.random(shape) < 0.9), 1)[:, ::-1]
    weights /= weights.sum(1, keepdims=True)
    count, digits = generator.integers(1, 4, shape), generator.integers(0, 999, shape).astype(float)
    whole = np.zeros(shape, np.int64)
    with np.errstate(divide="ignore"):
        log_p = np.log(weights)
    every = expansion._Nodes(log_p, digits, whole - 1, count, whole.astype(bool), whole, whole)
    kept = expansion._pruned(every, 12)
    for row in range(5):
        expected = weights[row, :12].copy()
        for node in range(12, 40):
            alike = [place for place in range(12) if count[row, place] == count[row, node] and weights[row, place]]
            if alike and weights[row, node]:
                nearest = min(alike, key=lambda place: abs(digits[row, place] - digits[row, node]))
                expected[nearest] += weights[row, node]
        assert np.exp(kept.log_p[row]) == pytest.approx(expected)


def test_a_batch_gives_what_one_at_a_time_gives(tagger, rows, readings):
    for row, together in enumerate(readings):
        (alone,) = tagger.readings(rows[0][row : row + 1], truths=rows[1][row : row + 1])
        assert alone.text == together.text
        assert alone.confidence == pytest.approx(together.confidence, abs=1e-5)
        assert alone.truth == pytest.approx(together.truth, abs=1e-4)
        one, other = alone.numbers["full_price"], together.numbers["full_price"]
        assert one.best("mae") == other.best("mae")
        assert one.quantile(0.9) == pytest.approx(other.quantile(0.9), rel=1e-3)


def test_rows_of_no_two_and_one_picture_stand_in_one_batch(tagger, rows):
    shown = [(), (rows[0][0], rows[0][1]), rows[0][2]]
    for pictures, truth, reading in zip(shown, rows[1], tagger.readings(shown, truths=rows[1][:3]), strict=False):
        opened = [Image.open(each) for each in (pictures if isinstance(pictures, tuple) else (pictures,))]
        written = tagger.recipe.task.template.read(reading.text or "")
        for name, found in reading.truth.items():
            text = with_value(tagger, reading.text, name, truth[name]) if written else None
            text = text or tagger.recipe.task.template.write(truth)
            assert found == pytest.approx(of_value(tagger, opened, text, name), abs=1e-4)


def test_where_nothing_readable_is_written_the_whole_truth_is_judged(tagger, rows, monkeypatch):
    monkeypatch.setattr(tagger.model.generation_config, "max_new_tokens", 3)
    for picture, truth, reading in zip(*rows, tagger.readings(rows[0], truths=rows[1]), strict=True):
        assert (reading.text, reading.confidence, reading.numbers) == (None, {}, {})
        text = tagger.recipe.task.template.write(truth)
        assert set(reading.truth) == set(truth)
        for name, found in reading.truth.items():
            assert found == pytest.approx(of_value(tagger, [Image.open(picture)], text, name), abs=1e-4)


def test_what_a_tokens_bytes_are_is_what_the_tokenizer_decodes(tagger):
    tokenizer, pieces = tagger.processor.tokenizer, Pieces(tagger.processor.tokenizer)
    for text in ("Tag: Café crème, 12.50", "日本語のタグ, -3", "a  b\nc", "𝔘nusual 😀"):
        ids = tokenizer([text], add_special_tokens=False)["input_ids"][0]
        together, ends = pieces.ends(ids)
        assert together.decode().removeprefix(" ") == tokenizer.decode(ids) == text
        assert ends == sorted(ends)
    assert set(pieces.number_tokens()) >= set("0123456789.")
    for sign, token in pieces.number_tokens().items():
        assert tokenizer.decode([token]) == sign


@pytest.mark.parametrize("literal", [", next: ", ".", " dollars", ""])
def test_what_can_end_a_number_begins_the_text_behind_it(tagger, literal):
    tokenizer = tagger.processor.tokenizer
    enders = Pieces(tokenizer).enders(literal, [7])
    if not literal:
        assert enders == sorted({7, tokenizer.convert_tokens_to_ids(END)})
        return
    for token in enders:
        text = tokenizer.convert_ids_to_tokens(token).replace("▁", " ")
        text = re.sub(r"<0x(..)>", lambda byte: chr(int(byte[1], 16)), text)
        assert literal.startswith(text) or text.startswith(literal)
    first = tokenizer(["5" + literal + "x"], add_special_tokens=False)["input_ids"][0]
    assert enders, "nothing could end it"
    assert any(token in enders for token in first)
