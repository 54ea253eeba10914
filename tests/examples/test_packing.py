import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.cost import image_tokens, tiles
from hangtag.examples.packing import Plan, balanced, best_fit

lengths_lists = st.lists(st.integers(1, 100), min_size=1, max_size=40)


def slow_best_fit(lengths, budget):
    """Every bin looked at for every length."""
    bins = []
    for place in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        room = [budget - sum(lengths[each] for each in one) for one in bins]
        fitting = [number for number, free in enumerate(room) if free >= lengths[place]]
        if fitting:
            bins[min(fitting, key=lambda number: room[number])].append(place)
        else:
            bins.append([place])
    return bins


@given(lengths_lists, st.integers(100, 300))
def test_best_fit_is_the_slow_one_and_loses_no_row(lengths, budget):
    bins = best_fit(lengths, budget)
    assert bins == slow_best_fit(lengths, budget)
    assert sorted(place for each in bins for place in each) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in each) <= budget for each in bins)


@given(lengths_lists, st.integers(1, 9))
def test_balanced_bins_hold_every_row_and_differ_by_one_row_at_most(lengths, number):
    bins = balanced(lengths, number)
    assert sorted(place for each in bins for place in each) == list(range(len(lengths)))
    filled = [sum(lengths[place] for place in each) for each in bins]
    assert max(filled) - min(filled) <= max(lengths)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 100), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(100, 300),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_every_step_takes_its_rows_once_and_no_process_starves(rows, batch_size, budget, processes, seed):
    lengths, pictured = [length for length, _ in rows], [picture for _, picture in rows]
    plan = Plan(lengths, pictured, batch_size, budget, seed, processes)
    for epoch in range(2):
        seen = []
        for step in range(epoch * plan.steps, (epoch + 1) * plan.steps):
            shares = plan.passes(step)
            assert len(shares) == processes
            assert len({len(share) for share in shares}) == 1, "some process would wait for ever"
            taken = [row for share in shares for each in share for row in each.rows]
            assert sorted(taken) == sorted(plan.rows(step))
            seen += taken
            for each in (each for share in shares for each in share):
                assert sum(lengths[row] for row in each.rows) <= budget
                assert each.rows or each.fillers
                if processes > 1 and any(pictured):
                    assert any(pictured[row] for row in (*each.rows, *each.fillers))
                if processes == 1:
                    assert not each.fillers
        assert sorted(seen) == list(range(len(rows)))


def test_a_steps_rows_depend_neither_on_budget_nor_on_processes():
    lengths, pictured = list(range(10, 60)), [True] * 50
    plans = [Plan(lengths, pictured, 8, budget, 3, processes) for budget in (60, 500) for processes in (1, 2, 3)]
    for step in range(14):
        assert len({tuple(plan.rows(step)) for plan in plans}) == 1


def test_the_seed_and_the_epoch_decide_the_order_and_none_keeps_it():
    plan = Plan([1] * 100, [True] * 100, 10, 100, seed=5)
    assert plan.order(0).tolist() == Plan([1] * 100, [True] * 100, 3, 7, seed=5).order(0).tolist()
    assert plan.order(0).tolist() != plan.order(1).tolist()
    assert plan.order(0).tolist() != Plan([1] * 100, [True] * 100, 10, 100, seed=6).order(0).tolist()
    assert Plan([1] * 100, [True] * 100, 10, 100, seed=None).order(4).tolist() == list(range(100))


@pytest.mark.parametrize(("num_crops", "budget", "least"), [(4, 8192, 0.97), (16, 16384, 0.94)])
def test_passes_leave_little_of_the_budget_unused_on_mixed_picture_shapes(num_crops, budget, least):
    """No pass has padding (see test_loading); this is how far the passes are filled, 16 crops being coarser."""
    chance = np.random.default_rng(0)
    sizes = [(round(800 * chance.lognormal(0, 0.4)), round(800 * chance.lognormal(0, 0.4))) for _ in range(512)]
    lengths = [image_tokens(*tiles(*size, num_crops)) + int(chance.integers(50, 90)) for size in sizes]
    plan = Plan(lengths, [True] * 512, 256, budget)
    shares = [sum(lengths[row] for row in each.rows) / budget for step in range(2) for each in plan.passes(step)[0]]
    assert len({image_tokens(*tiles(*size, num_crops)) for size in sizes}) > 3
    assert sum(shares) / len(shares) >= least
