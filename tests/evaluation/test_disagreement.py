"""Scores on invented readings: what is damaged stands out, and a model's ordinary errors do not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.evaluation.disagreement import EVERYTHING, FEWEST_ROWS, WIDTH, Judgement, disagreement
from hangtag.reading import Distribution, Reading, from_signed_log, signed_log

FIELDS = {"title": "text", "category": "category", "price": "number"}


def prices(middle, spread=0.05):
    """A distribution of whole prices around one."""
    values = np.unique(np.round(from_signed_log(signed_log(middle) + spread * np.linspace(-3, 3, 31)), 2))
    weights = np.exp(-0.5 * ((signed_log(values) - signed_log(middle)) / spread) ** 2)
    return Distribution(values, weights / weights.sum())


def row(title=0.0, category=0.0, price=100.0, read=100.0, behind_tag=None, given_category=None, judge=0):
    """A row: nats by which the tag's title and category lie behind the written ones, its price, and the one read.

    behind_tag: the price that the model holds likely behind the tag's own words; as read if not given.
    given_category: nats of the tag's category behind the tag's own title.
    """
    truth = {"title": "a", "category": "b", "price": price}
    sure = 0.9
    written = Reading(
        "text",
        {"title": sure, "category": sure},
        {"price": prices(read)},
        {"title": math.log(sure) - title, "category": math.log(sure) - category, "price": -9.0},
    )
    behind = category if given_category is None else given_category
    tag = Reading(
        "text",
        {"title": sure * math.exp(-title), "category": sure * math.exp(-behind)},
        {"price": prices(read if behind_tag is None else behind_tag)},
    )
    return Judgement(truth, written, tag, judge)


def ordinary(count, seed=0, judge=0):
    """Rows whose prices scatter as the model expects, and whose titles are now and then in doubt."""
    random = np.random.default_rng(seed)
    return [
        row(title=float(random.exponential(0.8)), price=round(100 * math.exp(random.normal(0, 0.06)), 2), judge=judge)
        for _ in range(count)
    ]


DAMAGED = {
    "title": row(title=20),
    "category": row(category=15),
    "price": row(price=1000),
    EVERYTHING: row(title=20, category=15, price=600),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_row_is_the_worst_and_what_is_wrong_with_it_is_named(kind):
    found = disagreement(FIELDS, [*ordinary(200), DAMAGED[kind]])
    assert found.together.argmax() == 200
    assert found.most[200] == kind
    assert found.together[200] > found.together[:200].max() + 1


def test_together_is_the_worst_field():
    found = disagreement(FIELDS, [*ordinary(80), *DAMAGED.values()])
    assert np.array_equal(found.together, np.max(list(found.fields.values()), 0))


def test_what_follows_from_a_misread_title_is_no_disagreement():
    """The model reads another material, and prices and sorts that; behind the tag's own words all is as expected."""
    misread = row(title=1.0, category=14.0, given_category=0.0, read=450.0, behind_tag=100.0)
    wrong = row(title=1.0, category=14.0, read=450.0)
    found = disagreement(FIELDS, [*ordinary(200), misread, wrong])
    assert found.together[200] < found.together[:200].max()
    assert found.together[201] > found.together[:200].max()


def test_a_tag_that_is_no_likely_title_of_the_picture_excuses_nothing():
    """Behind the tag's own words the price is right, but they are not what the picture shows."""
    found = disagreement(FIELDS, [*ordinary(200), row(title=25.0, price=800.0, read=100.0, behind_tag=800.0)])
    assert found.fields["price"][200] > found.fields["price"][:200].max()
    assert found.most[200] == EVERYTHING


def test_a_field_that_the_model_cannot_read_hides_nothing_in_another():
    random = np.random.default_rng(1)
    blind = [row(title=float(50 + random.exponential(10))) for _ in range(200)]
    found = disagreement(FIELDS, [*blind, row(title=50.0, category=15.0), row(title=50.0, price=1000.0)])
    assert {200, 201} <= set(np.argsort(-found.together)[:6].tolist())
    assert found.most[200:] == ["category", "price"]


def test_a_judge_who_is_less_sure_is_held_to_his_own_measure():
    random = np.random.default_rng(2)
    vague = [row(title=float(random.exponential(6)), judge=1) for _ in range(200)]
    found = disagreement(FIELDS, [*ordinary(200), *vague, row(title=12.0, judge=0), row(title=12.0, judge=1)])
    assert found.fields["title"][400] > 2 * found.fields["title"][401]


def test_judges_of_few_rows_are_measured_together():
    rows = [*ordinary(FEWEST_ROWS, 3), *ordinary(FEWEST_ROWS - 1, 4, judge=1)]
    alone = [Judgement(each.truth, each.written, each.given, 0) for each in rows]
    assert np.array_equal(disagreement(FIELDS, rows).together, disagreement(FIELDS, alone).together)


def test_an_unreadable_answer_is_judged_behind_the_tag_alone():
    unread = Reading(None, truth={"title": -30.0, "category": 0.0, "price": -3.0})
    fine = Judgement({"title": "a", "category": "b", "price": 100.0}, unread, row().given)
    wrong = Judgement({"title": "a", "category": "b", "price": 1000.0}, unread, row().given)
    found = disagreement(FIELDS, [*ordinary(100), fine, wrong])
    assert found.together[100] < 3 < found.together[101]
    assert found.most[101] == "price"


def test_a_number_without_distribution_tells_nothing():
    bare = Judgement(
        {"title": "a", "category": "b", "price": 5.0},
        Reading("text", {"title": 0.9, "category": 0.9}, {}, {"title": -0.1, "category": -0.1}),
        Reading("text", {"title": 0.9, "category": 0.9}),
    )
    found = disagreement(FIELDS, [*ordinary(100), bare])
    assert np.isfinite(found.together).all()
    assert found.together[100] < 1
    assert np.isfinite(disagreement(FIELDS, [bare]).together).all()


def slow_number_score(each):
    """-log of the mixture of Student's t around all that is held possible, behind both beginnings."""
    before = [
        math.sqrt(math.prod(reading.confidence[name] for name in ("title", "category")))
        for reading in (each.written, each.given)
    ]
    density = 0.0
    for share, reading in zip(before, (each.written, each.given), strict=True):
        numbers = reading.numbers["price"]
        for value, weight in zip(numbers.values, numbers.weights, strict=True):
            off = (math.log1p(value) - math.log1p(each.truth["price"])) / WIDTH
            density += share / sum(before) * weight * (1 + off * off / 3) ** -2
    return -math.log(density)


def test_a_number_s_score_is_that_of_the_slow_way():
    rows = [*ordinary(60), row(title=1.5, read=300.0, behind_tag=110.0)]
    raw = np.array([slow_number_score(each) for each in rows])
    usual, far = np.quantile(raw, (0.8, 0.95))
    expected = (raw - usual) / max(1.0, (far - usual) / math.log(4))
    assert disagreement(FIELDS, rows).fields["price"] == pytest.approx(expected, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_more_disagreement_never_scores_less_and_all_is_finite(data):
    nats = st.floats(0, 700)  # a probability further below is no float of full precision
    less, more = sorted((data.draw(nats), data.draw(nats)))
    price = data.draw(st.sampled_from([-5.0, 0.0, 0.01, 100.0, 1e15]))
    rows = [*ordinary(60), row(title=less, price=price), row(title=more, price=price)]
    found = disagreement(FIELDS, rows)
    assert all(np.isfinite(each).all() for each in found.fields.values())
    assert found.fields["title"][60] <= found.fields["title"][61]
