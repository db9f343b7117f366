"""What fits the definition of its operation is not looked at again when an equal one comes.

xDSL holds an operation against its definition whenever it is verified: how many operands, results and regions it has,
and of which types and attributes. Between passes that is most of the work, and nearly always the same work: types and
attributes never change, and programs have few different ones. Verifiers of our own that look at nothing else ask
`checked_once` to do the same for them; others, traits and uses of values are not remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

from xdsl.ir import Attribute, Operation
from xdsl.irdl import OpDef

MOST_ATTRIBUTES = 50_000
"""How many objects are remembered before all are forgotten."""

_check = OpDef.verify


Key: TypeAlias = tuple[Any, ...]


class _Remembered:
    """Operations that fit their definitions, by the numbers of their types and attributes: equal ones have the same."""

    def __init__(self) -> None:
        self.fitting: set[Key] = set()
        self.verified: set[Key] = set()
        self.number_of: dict[Attribute, int] = {}
        self.number_of_object: dict[int, int] = {}
        self.objects: list[Attribute] = []  # kept, so that none of their ids becomes another one's

    def key(self, op: Operation) -> Key:
        # The views that xDSL makes of operands and successors take longer than all else here.
        attributes = [value.type for value in op._operands]  # pyright: ignore[reportPrivateUsage]
        counts = [len(attributes), len(op._successors)]  # pyright: ignore[reportPrivateUsage]
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
        return (type(op), *counts, *op.properties, None, *op.attributes, None, *numbers)

    def number(self, attribute: Attribute) -> int:
        number = self.number_of.setdefault(attribute, len(self.number_of))
        self.number_of_object[id(attribute)] = number
        self.objects.append(attribute)
        return number


_remembered = _Remembered()

_latest: tuple[Operation, _Remembered, Key] | None = None
"""The operation held against its definition last, whose own verifier comes next; None outside of
`remembered_checks`."""


def _check_once(self: OpDef, op: Operation) -> None:
    global _remembered, _latest  # noqa: PLW0603
    remembered = _remembered
    if len(remembered.objects) > MOST_ATTRIBUTES:
        remembered = _remembered = _Remembered()
    key = remembered.key(op)
    if key not in remembered.fitting:
        _check(self, op)
        remembered.fitting.add(key)
    _latest = op, remembered, key


def checked_once(op: Operation, verify: Callable[[], None]) -> None:
    """Runs a verifier of an operation that looks at its types and attributes alone, once for equal ones.

    Called by the operation's `verify_`, which xDSL calls behind the check of its definition.

    Raises:
        VerifyException: of the verifier.
    """
    latest = _latest
    if latest is None or latest[0] is not op:
        return verify()
    _, remembered, key = latest
    if key not in remembered.verified:
        verify()
        remembered.verified.add(key)


@contextmanager
def remembered_checks() -> Generator[None]:
    """Within it operations that are verified are held against their definitions once."""
    global _latest  # noqa: PLW0603
    OpDef.verify = _check_once
    try:
        yield
    finally:
        OpDef.verify = _check
        _latest = None
