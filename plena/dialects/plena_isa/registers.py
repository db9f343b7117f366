"""Register files of the machine as xDSL register types (plena_isa.md section 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.backend.register_type import RegisterType
from xdsl.dialects.builtin import IntAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_attr_definition

from plena.machine.constants import A_REGISTERS, F_REGISTERS, GP_REGISTERS


class PlenaRegister(RegisterType):
    """A register cell: virtual (no number) or one of a file's registers."""

    HAS_ZERO: ClassVar[bool] = True

    @classmethod
    def index_by_name(cls) -> dict[str, int]:
        raise NotImplementedError

    @property
    def number(self) -> int | None:
        """The number of an allocated register, None for a virtual one."""
        index = self.index.data if isinstance(self.index, IntAttr) else -1
        return index if index >= 0 else None

    @property
    def is_zero(self) -> bool:
        """Whether this is the register of its file that is zero because nobody writes it: gp0, f0."""
        return self.HAS_ZERO and self.number == 0

    @classmethod
    def at(cls, index: int) -> PlenaRegister:
        """The allocated register with this number."""
        return _INTERNED[cls][index]


def is_zero_cell(cell: SSAValue | None) -> bool:
    """Whether a value is a cell of gp0 or f0; None is no value."""
    return cell is not None and isinstance(cell.type, PlenaRegister) and cell.type.is_zero


def _names(prefix: str, count: int) -> dict[str, int]:
    return {f"{prefix}{i}": i for i in range(count)}


@irdl_attr_definition
class GPRegister(PlenaRegister):
    """`gp0..gp15`, 32-bit unsigned. gp0 is zero only because nobody writes it."""

    name = "plena_isa.gp"

    @classmethod
    def index_by_name(cls) -> dict[str, int]:
        return _names("gp", GP_REGISTERS)

    @classmethod
    def infinite_register_prefix(cls) -> str:
        return "vgp"

    @classmethod
    def allocatable_registers(cls) -> Sequence[GPRegister]:
        return tuple(cls.from_index(i) for i in range(1, GP_REGISTERS))


@irdl_attr_definition
class FRegister(PlenaRegister):
    """`f0..f7`, bf16. f0 is zero: arithmetic does not write it, S_LD_FP could."""

    name = "plena_isa.f"

    @classmethod
    def index_by_name(cls) -> dict[str, int]:
        return _names("f", 16)

    @classmethod
    def infinite_register_prefix(cls) -> str:
        return "vf"

    @classmethod
    def allocatable_registers(cls) -> Sequence[FRegister]:
        return tuple(cls.from_index(i) for i in range(1, F_REGISTERS))


@irdl_attr_definition
class ARegister(PlenaRegister):
    """`a0..a15`, 64-bit HBM byte addresses, zero at reset. The hardware definition has eight."""

    name = "plena_isa.a"
    HAS_ZERO: ClassVar[bool] = False

    @classmethod
    def index_by_name(cls) -> dict[str, int]:
        return _names("a", A_REGISTERS)

    @classmethod
    def infinite_register_prefix(cls) -> str:
        return "va"

    @classmethod
    def allocatable_registers(cls) -> Sequence[ARegister]:
        return tuple(cls.from_index(i) for i in range(8))


_INTERNED: dict[type[PlenaRegister], tuple[PlenaRegister, ...]] = {
    kind: tuple(kind.from_index(i) for i in range(16)) for kind in (GPRegister, FRegister, ARegister)
}
