"""Whether a linear equation has a solution in bounded integers: the arithmetic under every dependence test."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

BUDGET = 4000
"""Search steps after which the answer is "perhaps", that is yes."""


def may_be_zero(constant: int, variables: Iterable[tuple[int, int, int]]) -> bool:
    """Whether `constant + sum(coefficient * x)` can be zero for some integers `low <= x <= high`.

    Exact unless the search exceeds BUDGET steps, then True. Each step applies the interval and the divisibility
    (GCD) test to what is left.

    Args:
        variables: (coefficient, low, high) of each variable.
    """
    merged: dict[int, int] = {}
    target = -constant
    for coefficient, low, high in variables:
        if not coefficient:
            continue
        if low > high:
            return False
        target -= coefficient * (low if coefficient > 0 else high)
        merged[abs(coefficient)] = merged.get(abs(coefficient), 0) + high - low
    steps = sorted((pair for pair in merged.items() if pair[1]), reverse=True)
    return _Search(steps).reaches(target)


class _Search:
    """Whether a sum of `step * count`, `0 <= count <= most`, reaches a target; steps in descending order."""

    def __init__(self, steps: list[tuple[int, int]]) -> None:
        self.steps = steps
        self.budget = BUDGET
        size = len(steps)
        self.total = [0] * (size + 1)
        self.divisor = [0] * (size + 1)
        self.dense = [True] * (size + 1)
        for i in range(size - 1, -1, -1):
            step, most = steps[i]
            self.divisor[i] = gcd(step, self.divisor[i + 1])
            self.total[i] = self.total[i + 1] + step * most
            grid = self.divisor[i + 1] or step
            self.dense[i] = self.dense[i + 1] and step % grid == 0 and step <= self.total[i + 1] + grid

    def reaches(self, target: int, at: int = 0) -> bool:
        if not 0 <= target <= self.total[at]:
            return False
        if at == len(self.steps):
            return True
        if target % self.divisor[at]:
            return False
        if self.dense[at]:
            return True
        step, most = self.steps[at]
        fewest = max(0, -((self.total[at + 1] - target) // step))
        for count in range(min(most, target // step), fewest - 1, -1):
            self.budget -= 1
            if self.budget < 0 or self.reaches(target - count * step, at + 1):
                return True
        return False
