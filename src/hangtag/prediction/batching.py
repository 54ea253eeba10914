"""Many rows through a model: read a window ahead, sorted by tokens, cut into batches, given back in order.

A window is a fixed number of rows, and its batches are cut by nothing but its rows' tokens. So the same rows are beside
each other whoever computes a window and whatever was computed before, and every number comes out to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")

BATCHES = 4
"""Full batches of a window: what is sorted, what is held in memory twice, and what a kill loses."""


def windows(total: int, size: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end of each window of `size` rows, from the one that begins at `first`."""
    return ((start, min(start + size, total)) for start in range(first, total, size))


def ahead(
    work: Callable[[Given], Found], items: Iterable[Given], stop: Callable[[], None] = lambda: None
) -> Iterator[Found]:
    """`work` done for each item by a thread, one ahead of whoever takes the results.

    Args:
        stop: called where they are taken no further, so that the thread ends soon.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[Found]] = []
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 1:
                    yield waiting.pop(0).result()
            for each in waiting:
                yield each.result()
        except BaseException:
            stop()
            raise


def cut(tokens: Sequence[int], rows: int, budget: int | None = None) -> list[list[int]]:
    """Batches of places, those with most tokens first and places of equal ones in order.

    Args:
        tokens: of each place.
        rows: most places of a batch.
        budget: most tokens of a batch with each place padded to its longest; a single place may have more.
    """
    batches: list[list[int]] = []
    longest = 0
    for place in sorted(range(len(tokens)), key=lambda each: -tokens[each]):
        full = not batches or len(batches[-1]) == rows
        if full or (budget is not None and (len(batches[-1]) + 1) * longest > budget):
            batches.append([])
            longest = tokens[place]
        batches[-1].append(place)
    return batches


def in_batches(
    rows: Sequence[Given],
    tokens: Sequence[int],
    answer: Callable[[list[Given]], Sequence[Found]],
    most: int,
    budget: int | None = None,
) -> list[Found]:
    """What `answer` gives for each row, asked batch by batch and given back in the rows' order."""
    found: dict[int, Found] = {}
    for batch in cut(tokens, most, budget):
        found.update(zip(batch, answer([rows[place] for place in batch]), strict=True))
    return [found[place] for place in range(len(rows))]
