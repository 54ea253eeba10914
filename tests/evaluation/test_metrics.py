"""Our metrics against scikit-learn, sacrebleu, rouge-score and plain numpy on random data."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import CHRF
from sklearn import metrics as sk

from hangtag.evaluation.metrics import (
    METRICS,
    category_rows,
    chrf,
    confusion,
    field_rows,
    macro_f1,
    number_rows,
    rouge_l,
    score_field,
    text_rows,
    token_f1,
    words,
)

WORDS = ["Navy", "wool", "coat", "check", "Silk-blend", "T-shirt", "shirt", "in", "the", "A", "&", "90%", "coats"]
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
ascii_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=25)
any_texts = st.text(max_size=25)
prices = st.floats(0, 70_000, allow_subnormal=False).map(lambda price: round(price, 2))
price_lists = st.lists(st.tuples(prices, prices), min_size=1, max_size=30).map(lambda pairs: np.array(pairs).T)


@settings(deadline=None, max_examples=200)
@given(sentences | any_texts, sentences | any_texts)
def test_chrf_is_sacrebleus_sentence_score(truth, answer):
    theirs = CHRF().sentence_score(answer, [truth]).score / 100
    assert chrf(truth, answer) == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(sentences | ascii_texts, sentences | ascii_texts)
def test_rouge_l_and_token_f1_are_rouge_scores(truth, answer):
    theirs = RougeScorer(["rougeL", "rouge1"], use_stemmer=False).score(truth, answer)
    assert rouge_l(truth, answer) == pytest.approx(theirs["rougeL"].fmeasure, abs=1e-9)
    assert token_f1(truth, answer) == pytest.approx(theirs["rouge1"].fmeasure, abs=1e-9)


@given(any_texts)
def test_words_are_runs_of_letters_and_digits(text):
    apart = "".join(each if each.isalnum() else " " for each in text.lower())
    assert words(text) == apart.split()


class Words:
    """rouge-score knows ASCII only; with this it counts the words of any script."""

    def tokenize(self, text):
        return words(text)


@settings(deadline=None, max_examples=200)
@given(sentences | any_texts, sentences | any_texts)
def test_rouge_l_and_token_f1_of_any_script_are_rouge_scores(truth, answer):
    theirs = RougeScorer(["rougeL", "rouge1"], tokenizer=Words()).score(truth, answer)
    assert rouge_l(truth, answer) == pytest.approx(theirs["rougeL"].fmeasure, abs=1e-9)
    assert token_f1(truth, answer) == pytest.approx(theirs["rouge1"].fmeasure, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(any_texts, any_texts | st.none()), min_size=1, max_size=8))
def test_the_scores_of_texts_are_means_over_rows(pairs):
    truths, answers = zip(*pairs, strict=True)
    scores = score_field("text", text_rows(truths, answers), seed=0)
    for name, measure in (("chrf", chrf), ("rouge_l", rouge_l), ("token_f1", token_f1), ("exact", str.__eq__)):
        each = [0 if a is None else measure(t, a) for t, a in pairs]
        assert scores[name]["value"] == pytest.approx(np.mean(each))


def test_empty_texts_score_nothing():
    for measure in (chrf, rouge_l, token_f1):
        assert [measure(*each) for each in (("", ""), ("a", ""), ("", "a"), (" ", "&"))] == [0, 0, 0, 0]


def test_words_of_other_scripts_count():
    assert token_f1("Пальто шерсть", "пальто хлопок") == 0.5
    assert rouge_l("Mütze grün", "mütze grün") == 1.0


def random_classes(seed, rows=200, classes=7, unknown=3):
    generator = np.random.default_rng(seed)
    truth = [f"c{each}" for each in generator.integers(0, classes, rows)]
    answer = [f"c{each}" for each in generator.integers(0, classes + unknown, rows)]
    return truth, [t if generator.random() < 0.5 else a for t, a in zip(truth, answer, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_category_scores_are_scikit_learns(seed):
    truth, answer = random_classes(seed)
    scores = score_field("category", category_rows(truth, answer), seed=0)
    labels = sorted(set(truth))
    assert scores["accuracy"]["value"] == pytest.approx(sk.accuracy_score(truth, answer))
    theirs = sk.f1_score(truth, answer, labels=labels, average="macro", zero_division=0)
    assert scores["macro_f1"]["value"] == pytest.approx(theirs)
    counts = confusion(truth, answer, labels)
    known = [(t, a) for t, a in zip(truth, answer, strict=True) if a in labels]
    np.testing.assert_array_equal(counts[:, :-1], sk.confusion_matrix(*zip(*known, strict=True), labels=labels))
    assert counts.sum() == len(truth)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["COAT", "Mütze", "コート", "HAT"]), st.sampled_from(["COAT", "コート", "NEW", None])
        ),
        min_size=1,
        max_size=25,
    )
)
def test_macro_f1_with_classes_never_written_and_never_true(pairs):
    truth, answer = [each for each, _ in pairs], [each for _, each in pairs]
    scores = score_field("category", category_rows(truth, answer), seed=0)
    written = ["unreadable" if each is None else each for each in answer]
    theirs = sk.f1_score(truth, written, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert scores["macro_f1"]["value"] == pytest.approx(theirs)
    assert scores["accuracy"]["value"] == pytest.approx(sk.accuracy_score(truth, written))


def test_macro_f1_of_many_resamples_is_that_of_each():
    rows = category_rows(*random_classes(0, rows=40))
    drawn = np.random.default_rng(1).integers(0, 40, (6, 40))
    together = macro_f1(rows["truth"][drawn], rows["answer"][drawn])
    assert together.shape == (6,)
    for score, places in zip(together, drawn, strict=True):
        truth, answer = rows["truth"][places], rows["answer"][places]
        theirs = sk.f1_score(truth, answer, labels=np.unique(truth), average="macro", zero_division=0)
        assert score == pytest.approx(theirs)


@settings(deadline=None)
@given(price_lists)
def test_number_errors_are_those_of_scikit_learn_and_plain_numpy(pair):
    truth, answer = pair
    scores = {name: score["value"] for name, score in score_field("number", number_rows(truth, answer), 0).items()}
    assert scores["mae"] == pytest.approx(sk.mean_absolute_error(truth, answer))
    assert scores["rmsle"] == pytest.approx(sk.root_mean_squared_log_error(truth, answer))
    total = truth + answer
    smape = [0 if s == 0 else 2 * abs(a - t) / s for t, a, s in zip(truth, answer, total, strict=True)]
    assert scores["smape"] == pytest.approx(np.mean(smape))
    assert 0 <= scores["smape"] <= 2
    assert scores["median_ape"] == pytest.approx(np.median(abs(answer - truth) / np.maximum(truth, 0.01)))
    for share in (10, 20):
        exact = [[Decimal(repr(float(value))) for value in values] for values in pair]
        within = [100 * abs(a - t) <= share * t for t, a in zip(*exact, strict=True)]
        assert scores[f"within_{share}"] == pytest.approx(np.mean(within))


def test_exactly_ten_percent_off_is_within_ten_percent():
    truth = np.arange(10, 100_000, 10) / 100
    for share in (10, 20):
        for sign in (1, -1):
            answer = np.round(truth * (100 + sign * share)) / 100
            rows = number_rows(truth, answer)[f"within_{share}"]
            hundredths = np.round(100 * truth).astype(int), np.round(100 * answer).astype(int)
            expected = 100 * abs(hundredths[1] - hundredths[0]) <= share * hundredths[0]
            np.testing.assert_array_equal(rows, expected)
            assert expected.mean() > 0.4


def test_numbers_of_either_sign_by_hand():
    rows = number_rows(np.array([-100.0, 50.0, 0.0, 0.0]), np.array([-150.0, -50.0, 3.0, 0.0]))
    assert rows["error"].tolist() == [50, 100, 3, 0]
    assert rows["relative"].tolist() == [0.5, 2, 300, 0]
    assert rows["symmetric"].tolist() == [2 * 50 / 250, 2, 2, 0]
    np.testing.assert_allclose(rows["log"], [np.log(101) - np.log(151), -2 * np.log(51), np.log(4), 0])
    assert rows["within_20"].tolist() == [False, False, False, True]


def test_zero_negative_and_endless_numbers_stay_finite():
    values = [0.0, -5.0, 1e308, -1e308, 0.01]
    truth, answer = (np.array(each) for each in zip(*[(t, a) for t in values for a in values], strict=True))
    scores = score_field("number", number_rows(truth, answer), seed=0)
    assert all(np.isfinite(list(score.values())).all() for score in scores.values())
    exact = number_rows(np.array(values), np.array(values))
    assert all(exact[name].max() == 0 for name in ("error", "relative", "symmetric", "log"))
    assert exact["within_10"].all()


def test_unreadable_answers_are_wrong_and_cost_the_constants_error():
    assert {name: rows.tolist() for name, rows in text_rows(["Coat"], [None]).items()} == {
        "exact": [False], "chrf": [0], "rouge_l": [0], "token_f1": [0],
    }  # fmt: skip
    assert category_rows(["a", "b"], [None, "b"])["right"].tolist() == [False, True]
    np.testing.assert_array_equal(
        field_rows("number", [100.0, 10.0], [None, 11.0], constant=40.0)["error"], [60.0, 1.0]
    )
    truth = ["a", "b", "b", "a"]
    readable = score_field("category", category_rows(truth, ["a", "b", "b", "b"]), 0)["accuracy"]["value"]
    assert score_field("category", category_rows(truth, ["a", None, None, "b"]), 0)["accuracy"]["value"] == 0.25
    assert readable == 0.75


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.9868, "98.7 %"),
        ("median_ape", 1e9, "1.0e+11 %"),
        ("chrf", 0.91449, "0.914"),
        ("mae", 1298.7, "1,299"),
        ("mae", 43.21, "43.2"),
        ("mae", 43.0, "43"),
        ("mae", 0.0421, "0.0421"),
        ("mae", 2.1e20, "2.1e+20"),
    ],
)
def test_scores_are_shown_in_their_own_way(name, value, text):
    assert METRICS[name].show(value) == text
