"""What a step of a view is (plena.host.view)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Json: TypeAlias = list[Any]


class Step(ABC):
    """One step of a view."""

    reads_numbers: ClassVar[bool] = False
    """Whether it computes with the elements: bf16 bits become numbers before."""

    makes_booleans: ClassVar[bool] = False
    """Whether its elements are true and false, whatever they were made of."""

    @property
    def minds_infinity(self) -> bool:
        """Whether infinities and NaN among the elements are still there after it: no test or mask is made of them."""
        return not self.reads_numbers

    @abstractmethod
    def apply(self, array: Array) -> Array:
        """The array after this step."""

    @abstractmethod
    def scatter(self, array: Array, into: Array) -> Array:
        """The array before this step, given the array after it; what the step dropped is taken from ``into``."""

    @abstractmethod
    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape after this step."""

    @abstractmethod
    def to_json(self) -> Json:
        """``[name, argument, ...]``."""
