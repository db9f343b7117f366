"""Writes what a type checker knows of the instructions: the signatures of `build` and of `emit`, one per mnemonic.

`python -m plena.cli.signatures` writes both files anew from the declarations; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import plena
from plena.dialects.plena_isa import OP_OF_MNEMONIC, Instruction, Kind, Mode, Slot

_HEADER = '''# Written by `python -m plena.cli.signatures` from the declarations of the instructions: change those.
# ruff: noqa: E501
# fmt: off
"""{summary}"""

from __future__ import annotations
'''

_BUILD = (
    _HEADER.format(summary="`build` with the slots of every instruction, for type checkers.")
    + """
from typing import Literal, overload

from xdsl.ir import Attribute, SSAValue

from plena.dialects.plena_isa.instruction import OP_OF_MNEMONIC, Instruction

Attributes = dict[str, Attribute]


{overloads}
def build(mnemonic: str, attributes: Attributes | None = None, **values: SSAValue | int) -> Instruction:
    \"\"\"Builds an instruction: cells or index values for registers and addresses, numbers otherwise.\"\"\"
    return OP_OF_MNEMONIC[mnemonic].named(values, attributes)


__all__ = ["build"]
"""
)

_EMIT = (
    _HEADER.format(summary="`emit` with the slots of every instruction, for type checkers.")
    + """
from abc import ABC, abstractmethod
from typing import Literal, overload

from xdsl.ir import SSAValue

from plena.dialects.loop import Address
from plena.dialects.plena_isa import Instruction

Place = SSAValue | Address


class Emitter(ABC):
    \"\"\"What appends instructions in the affine form.\"\"\"

{overloads}
    def emit(self, mnemonic: str, **slots: Place | None) -> Instruction:
        \"\"\"Appends an instruction. Address slots take linear expressions, immediates numbers, the rest cells.\"\"\"
        return self._emit(mnemonic, {{name: given for name, given in slots.items() if given is not None}})

    @abstractmethod
    def _emit(self, mnemonic: str, slots: dict[str, Place]) -> Instruction:
        ...


__all__ = ["Emitter"]
"""
)


def build_signatures() -> str:
    """The file with `build`."""
    return _BUILD.format(
        overloads="\n".join(
            _overloads(_build_parameters, "build", "", ", attributes: Attributes | None = ...")
        )
    )


def emit_signatures() -> str:
    """The file with `emit`."""
    return _EMIT.format(overloads="\n".join(_overloads(_emit_parameters, "emit", "self, ", "", "    ")))


def _overloads(
    parameters: Callable[[type[Instruction]], Iterator[str]],
    name: str,
    before: str,
    after: str,
    indent: str = "",
) -> Iterator[str]:
    for mnemonic, op in OP_OF_MNEMONIC.items():
        slots = list(parameters(op))
        keywords = f", *, {', '.join(slots)}" if slots else ""
        yield f"{indent}@overload"
        yield f'{indent}def {name}({before}mnemonic: Literal["{mnemonic}"]{after}{keywords}) -> Instruction: ...'


def _build_parameters(op: type[Instruction]) -> Iterator[str]:
    """Both forms: whatever value is in a register slot."""
    for slot in _registers(op):
        yield f"{slot.name}: SSAValue = ..." if _may_be_absent(op, slot) else f"{slot.name}: SSAValue"
    yield from _numbers(op)
    yield from (f"{name}: SSAValue = ..." for name in op.SPEC.sticky)


def _emit_parameters(op: type[Instruction]) -> Iterator[str]:
    """The affine form: expressions where addresses are read, and for sticky state."""
    for slot in _registers(op):
        kind = "Place" if slot.is_address or slot.name == "base" else "SSAValue"
        yield f"{slot.name}: {kind} | None = ..." if _may_be_absent(op, slot) else f"{slot.name}: {kind}"
    yield from _numbers(op)
    yield from (f"{name}: Place | None = ..." for name in op.SPEC.sticky)


def _registers(op: type[Instruction]) -> Iterator[Slot]:
    return (slot for slot in op.SPEC.slots if slot.is_register)


def _numbers(op: type[Instruction]) -> Iterator[str]:
    return (f"{s.name}: int = ..." for s in op.SPEC.slots if s.kind in (Kind.IMMEDIATE, Kind.FLAG))


def _may_be_absent(op: type[Instruction], slot: Slot) -> bool:
    return slot.optional or (op.HAS_VALUE and slot.kind is Kind.GP and Mode.WRITE in slot.mode)


FILES: dict[str, Callable[[], str]] = {
    "dialects/plena_isa/building.py": build_signatures,
    "instructions/emitter.py": emit_signatures,
}
"""Path in the package -> what makes the file."""


def main() -> None:
    """Writes the files."""
    root = Path(plena.__file__).parent
    for name, text in FILES.items():
        (root / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
