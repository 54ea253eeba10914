"""What a model holds likely, read from the cache of its answers, against the plain path: whole texts, one at a time."""

import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import hangtag
from hangtag.answer import format_number
from hangtag.catalogue import open_catalogue
from hangtag.prediction import numbers as expansion
from hangtag.prediction.nodes import together
from hangtag.prediction.pieces import Pieces
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
    monkeypatch.setattr(tagger, "judge", tagger.judge_with(10_000, 1, 0))
    for picture, reading in zip(rows[0], tagger.readings(rows[0]), strict=True):
        found = reading.numbers["full_price"]
        assert np.all(np.diff(found.values) > 0)
        assert found.weights.sum() == pytest.approx(1)
        for value in found.values[np.argsort(-found.weights)[:6]]:
            expected = 0.0
            for words in (f"{value:g}", f"0{value:g}", f"00{value:g}", f"{value:.1f}", f"{value:.2f}"):
                text = with_value(tagger, reading.text, "full_price", words)
                expected += math.exp(log_probs(tagger, [Image.open(picture)], text)[1].sum())
            held = found.weights[found.values == value][0] * found.covered
            assert held == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_prefixes_have_the_probability_of_their_text_and_the_likeliest_is_found(tagger, rows):
    pieces, template = tagger.judge.pieces, tagger.recipe.task.template

    def found(number, row, before):
        _, prefixes = yield from together([*before, *tagger.judge.prefixes(row)])
        return pieces.ends(row.tokens)[0].decode().strip(), prefixes

    pictures = [[Image.open(each)] for each in rows[0]]
    for picture, (text, prefixes) in zip(
        rows[0], tagger._run(partial(tagger._free, pictures, found, traced=True)), strict=True
    ):
        assert 1 <= len(prefixes) <= 4 + 3
        _, written = log_probs(tagger, [Image.open(picture)], text)
        assert prefixes[0].log_p > written.sum(), "a likelier prefix was written"
        assert [each.log_p for each in prefixes] == sorted((each.log_p for each in prefixes), reverse=True)
        for prefix in prefixes:
            ids, expected = log_probs(tagger, [Image.open(picture)], prefix.text + "1")
            first, _ = pieces.spans(template, ids[:-1])["full_price"]
            assert prefix.log_p == pytest.approx(expected[:first].sum(), abs=1e-3)


def test_a_node_that_is_not_kept_gives_its_probability_to_the_nearest_as_long():
    generator = np.random.default_rng(0)
    for _ in range(5):
        weights = np.sort(generator.random(40))[::-1] / 20
        count, digits = generator.integers(1, 4, 40), generator.integers(0, 999, 40).astype(float)
        whole = np.zeros(40, np.int64)
        every = expansion._Nodes(np.log(weights), digits, whole - 1, count, whole.astype(bool), whole, whole)
        expected = weights[:12].copy()
        for node in range(12, 40):
            alike = [place for place in range(12) if count[place] == count[node]]
            if alike:
                expected[min(alike, key=lambda place: abs(digits[place] - digits[node]))] += weights[node]
        assert np.exp(expansion._pruned(every, 12).log_p) == pytest.approx(expected)


def test_numbers_of_one_band_and_form_are_one_node_the_likeliest_of_them():
    generator = np.random.default_rng(1)
    for close in (0.01, 0.05, 0.3):
        log_p = np.log(np.sort(generator.random(60))[::-1] / 60)
        digits, decimals = generator.integers(0, 4000, 60).astype(float), generator.integers(-1, 3, 60)
        count, negative = generator.integers(1, 5, 60), generator.random(60) < 0.2
        every = expansion._Nodes(log_p, digits, decimals, count, negative, count, count)
        joined = expansion._joined(every, close)
        assert np.exp(joined.log_p).sum() == pytest.approx(np.exp(log_p).sum())
        assert np.all(np.diff(joined.log_p) <= 0)
        kept = list(zip(joined.digits, joined.decimals, joined.count, joined.negative, strict=True))
        every_one = list(zip(digits, decimals, count, negative, strict=True))
        assert set(kept) <= set(every_one)
        assert every_one[0] in kept, "the likeliest of all is the likeliest of its band"
        for value, *form in every_one:
            near = [abs(other - value) <= close * max(other, value, 1) for other, *alike in kept if alike == form]
            assert any(near), "a number went to one that is further away, or of another form"


def test_a_batch_gives_what_one_at_a_time_gives(tagger, rows, readings):
    for row, beside in enumerate(readings):
        (alone,) = tagger.readings(rows[0][row : row + 1], truths=rows[1][row : row + 1])
        assert alone.text == beside.text
        assert alone.confidence == pytest.approx(beside.confidence, abs=1e-5)
        assert alone.truth == pytest.approx(beside.truth, abs=1e-4)
        one, other = alone.numbers["full_price"], beside.numbers["full_price"]
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
    assert set(pieces.number_tokens) >= set("0123456789.")
    for sign, token in pieces.number_tokens.items():
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


def test_values_alone_are_judged_as_beside_readings(tagger, rows, readings):
    for found, reading in zip(tagger.log_probs_of(*rows), readings, strict=True):
        assert found == pytest.approx(reading.truth, abs=1e-4)


def test_a_field_of_bytes_that_are_no_letters_has_its_tokens(tagger):
    """Half a letter, as a model may write it: the fields behind it stand where they stand."""
    tokenizer, template = tagger.processor.tokenizer, tagger.recipe.task.template
    before, behind = template.write({"title": "@", "category3_code": "SOCKS", "full_price": 12.0}).split("@")
    first, last = (tokenizer(each, add_special_tokens=False)["input_ids"] for each in (before, behind))
    bad = tokenizer.convert_tokens_to_ids(["<0xF0>", "<0x9F>", "<0xFF>"])
    ids = [*first, *bad, *last]
    spans = tagger.judge.pieces.spans(template, ids)
    assert ids[spans["title"][0] : spans["title"][1]] == bad
    assert spans["full_price"][1] == len(ids)
    assert tokenizer.decode(ids[spans["full_price"][0] :]).strip() == "12"
