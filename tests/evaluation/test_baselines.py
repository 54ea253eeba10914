import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from hangtag.answer import Template
from hangtag.evaluation.baselines import choose_k, constant_answer, nearest_rows, neighbour_answers

TEMPLATE = Template("{name}, {kind}, {price}", {"name": "text", "kind": "category", "price": "number"})


def rows(*values):
    return [{"name": name, "kind": kind, "price": price} for name, kind, price in values]


def test_the_constant_is_the_median_and_the_most_frequent():
    train = rows(("Hat", "A", 1.0), ("Coat", "B", 2.0), ("Bag", "B", 30.0), ("Hat", "C", 5.0))
    assert constant_answer(TEMPLATE, train) == {"name": "Hat", "kind": "B", "price": 3.5}


@pytest.mark.parametrize("leave_out_self", [False, True])
def test_neighbours_are_scikit_learns(leave_out_self):
    generator = np.random.default_rng(0)
    known = generator.normal(size=(1200, 8))
    query = known if leave_out_self else generator.normal(size=(700, 8))
    theirs = NearestNeighbors(n_neighbors=9, metric="cosine").fit(known)
    expected = theirs.kneighbors(None if leave_out_self else query, return_distance=False)
    found = nearest_rows(query, known, leave_out_self)
    assert (found == expected).mean() > 0.999, "apart from ties in float32"
    if leave_out_self:
        assert not (found == np.arange(len(known))[:, None]).any()


def test_few_rows_give_few_neighbours():
    known = np.eye(3)
    assert nearest_rows(known, known).shape == (3, 3)
    assert nearest_rows(known, known, leave_out_self=True).shape == (3, 2)


def test_neighbours_vote():
    train = rows(("Hat", "A", 1.0), ("Coat", "B", 2.0), ("Bag", "B", 30.0))
    near = np.array([[0, 1, 2], [2, 0, 1]])
    assert neighbour_answers(TEMPLATE, near, 1, train) == [train[0], train[2]]
    assert neighbour_answers(TEMPLATE, near, 3, train) == rows(("Hat", "B", 2.0), ("Bag", "B", 2.0))
    tie = neighbour_answers(TEMPLATE, np.array([[0, 1]]), 2, train)
    assert tie == rows(("Hat", "A", 1.5)), "the nearer category wins a tie"


def test_k_is_the_best_for_categories_then_prices_then_the_smallest():
    train = rows(("x", "A", 10.0), ("x", "B", 10.0), ("x", "B", 20.0))
    near = np.array([[0, 1, 2]])
    assert choose_k(TEMPLATE, near, train, rows(("x", "B", 99.0))) == 3
    assert choose_k(TEMPLATE, near, train, rows(("x", "A", 99.0))) == 1
    same_kind = rows(("x", "A", 10.0), ("x", "A", 20.0), ("x", "A", 21.0))
    assert choose_k(TEMPLATE, near, same_kind, rows(("x", "A", 20.0))) == 3
    assert choose_k(TEMPLATE, near, same_kind[:1] * 3, rows(("x", "A", 20.0))) == 1
