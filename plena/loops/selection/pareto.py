"""Which of many things no other one beats: the one Pareto front."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

Positions: TypeAlias = NDArray[np.int64]


def undominated(costs: Sequence[npt.ArrayLike], ties: Sequence[npt.ArrayLike] = ()) -> Positions:
    """Positions of what nothing else equals or beats in every cost, by ascending first cost.

    Args:
        costs: two or three columns, one entry per thing.
        ties: columns that decide between things of equal costs, of which one stays.
    """
    columns = [np.asarray(column) for column in costs]
    order = np.lexsort([np.asarray(column) for column in (*ties[::-1], *columns[::-1])])
    rest = [column[order] for column in columns[1:]]
    return order[_falling(*rest) if len(rest) == 1 else _best_of_two(*rest)]


def _falling(cost: NDArray[Any]) -> Positions:
    """Positions of entries less than all before them."""
    if not len(cost):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], cost[1:] < np.minimum.accumulate(cost)[:-1]]))


def _best_of_two(first: NDArray[Any], second: NDArray[Any]) -> Positions:
    """Positions of entries that no earlier one equals or beats in both costs."""
    kept: list[int] = []
    stairs: list[tuple[Any, Any]] = []
    for place, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        at = bisect_right(stairs, (a, b))
        if at and stairs[at - 1][1] <= b:
            continue
        after = at
        while after < len(stairs) and stairs[after][1] >= b:
            after += 1
        stairs[at:after] = [(a, b)]
        kept.append(place)
    return np.array(kept, np.int64)
