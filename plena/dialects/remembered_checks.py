"""What fits the definition of its operation is not looked at again when an equal one comes.

xDSL holds an operation against its definition whenever it is verified: how many operands, results and regions it has,
and of which types and attributes. Between passes that is most of the work, and nearly always the same work: types and
attributes never change, and programs have few different ones. Verifiers of our own, traits and uses of values are not
remembered: they may look at more.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from xdsl.ir import Attribute, Operation
from xdsl.irdl import OpDef

MOST_ATTRIBUTES = 50_000
"""How many objects are remembered before all are forgotten."""

_check = OpDef.verify


class _Remembered:
    """Operations that fit their definitions, by the numbers of their types and attributes: equal ones have the same."""

    def __init__(self) -> None:
        self.fitting: set[tuple[Any, ...]] = set()
        self.number_of: dict[Attribute, int] = {}
        self.number_of_object: dict[int, int] = {}
        self.objects: list[Attribute] = []  # kept, so that none of their ids becomes another one's

    def check(self, definition: OpDef, op: Operation) -> None:
        """As xDSL does it, for an operation that is like none before.

        Raises:
            VerifyException: it does not fit.
        """
        attributes = [value.type for value in op.operands]
        counts = [len(attributes), len(op.successors)]
        attributes += [result.type for result in op.results]
        for region in op.regions:
            entry = region.first_block
            arguments = () if entry is None else entry.arg_types
            counts += (len(region.blocks), len(arguments))
            attributes += arguments
        attributes += op.properties.values()
        attributes += op.attributes.values()
        try:
            numbers = [self.number_of_object[id(attribute)] for attribute in attributes]
        except KeyError:
            numbers = [self.number(attribute) for attribute in attributes]
        key = (type(op), *counts, *op.properties, None, *op.attributes, None, *numbers)
        if key not in self.fitting:
            _check(definition, op)
            self.fitting.add(key)

    def number(self, attribute: Attribute) -> int:
        number = self.number_of.setdefault(attribute, len(self.number_of))
        self.number_of_object[id(attribute)] = number
        self.objects.append(attribute)
        return number


_remembered = _Remembered()


def _check_once(self: OpDef, op: Operation) -> None:
    global _remembered  # noqa: PLW0603
    if len(_remembered.objects) > MOST_ATTRIBUTES:
        _remembered = _Remembered()
    _remembered.check(self, op)


@contextmanager
def remembered_checks() -> Generator[None]:
    """Within it operations that are verified are held against their definitions once."""
    OpDef.verify = _check_once
    try:
        yield
    finally:
        OpDef.verify = _check
