"""What a schedule is good for: the kernels of a module with their shapes, without names, places and values."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Operation, SSAValue

from plena.dialects.plena import ParameterOp, StateOp
from plena.dialects.provenance import MODULE_ATTRIBUTE
from plena.kernels.schedule import Schedule
from plena.machine.target import Target

_PLACES = (MODULE_ATTRIBUTE, "plena.node", "plena.source", "plena.name", "plena.target", "sym_name")
"""Attributes that say where something comes from."""

_NAME = re.compile(r'"?plena\.name"? = "[^"]*"')
"""What arguments and results are called."""

_SYMBOL = re.compile(r'@(?:[\w.$]+|"[^"]*")')

LONGEST_LIST = 6
"""Kinds of kernels that a description names."""


@dataclass(frozen=True)
class Question:
    """What a schedule is asked for: kernels with their shapes, a machine, a timing profile, a budget, what is fixed.

    Args:
        key: the same for the same question, whatever model asks it.
        about: the kernels in a few words.
    """

    key: str
    about: str

    @staticmethod
    def of(kernels: ModuleOp, schedule: Schedule, max_instructions: int | None) -> Question:
        """That of a module of plena kernels with its target."""
        target = Target.from_module(kernels).settings()
        parts = ["\n".join(_lines(kernels)), target, asdict(schedule), max_instructions]
        text = json.dumps(parts, sort_keys=True)
        return Question(hashlib.sha256(text.encode()).hexdigest(), _about(kernels))


def _lines(kernels: ModuleOp) -> Iterator[str]:
    """A line for each operation: values and symbols are numbers, in the order in which they appear."""
    values: dict[SSAValue, int] = {}
    symbols: dict[str, int] = {}

    def renamed(attribute: Attribute) -> str:
        text = _NAME.sub("", str(attribute))
        return _SYMBOL.sub(lambda m: f"@{symbols.setdefault(m[0], len(symbols))}", text)

    for op in kernels.walk():
        depth = sum(1 for _ in _ancestors(op))
        for region in op.regions:
            for block in region.blocks:
                for argument in block.args:
                    values[argument] = len(values)
        operands = [values.setdefault(value, len(values)) for value in op.operands]
        for result in op.results:
            values[result] = len(values)
        known = {
            name: renamed(value)
            for name, value in sorted({**op.attributes, **op.properties}.items())
            if name not in _PLACES and not (isinstance(op, ParameterOp) and name == "value")
        }
        types = [str(value.type) for value in (*op.operands, *op.results)]
        yield f"{depth} {op.name} {operands} {types} {known}"


def _ancestors(op: Operation) -> Iterator[Operation]:
    while (op := op.parent_op()) is not None:  # type: ignore[assignment]
        yield op


def _about(kernels: ModuleOp) -> str:
    """The commonest kernels: `4 linear, 2 layer_norm`."""
    counted = Counter(
        op.name.removeprefix("plena.")
        for op in kernels.walk()
        if op.name.startswith("plena.") and not isinstance(op, ParameterOp | StateOp)
    )
    listed = [f"{count} {name}" for name, count in counted.most_common(LONGEST_LIST)]
    return ", ".join([*listed, *(["..."] if len(counted) > LONGEST_LIST else [])])
