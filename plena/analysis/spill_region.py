"""Words of INT SRAM and FP SRAM that belong to the compiler, for registers that do not fit."""

from __future__ import annotations

from enum import Enum

from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64

from plena.errors import CompileError
from plena.target import Target


class SpillMemory(Enum):
    """The two scalar memories: name in attributes, name for people."""

    INT = ("int", "INT SRAM")
    FP = ("fp", "FP SRAM")

    @property
    def base_attribute(self) -> str:
        """Module attribute: first word of the region, filled upwards. Absent: the memory is filled from its end."""
        return f"plena.{self.value[0]}_spill_base"

    @property
    def words_attribute(self) -> str:
        """Module attribute: words of the region that are taken."""
        return f"plena.{self.value[0]}_spill_words"

    def size(self, target: Target) -> int:
        """Words in the memory."""
        return target.int_sram_size if self is SpillMemory.INT else target.fp_sram_size


def number_attribute(module: ModuleOp, name: str) -> int | None:
    """An integer attribute of a module."""
    attribute = module.attributes.get(name)
    return attribute.value.data if isinstance(attribute, IntegerAttr) else None


def reserve(module: ModuleOp, memory: SpillMemory, words: int) -> int:
    """Takes `words` more words of the region, records that on the module and returns the first one.

    Raises:
        CompileError: the memory has no room for them.
    """
    size = memory.size(Target.from_module(module))
    base = number_attribute(module, memory.base_attribute)
    taken = number_attribute(module, memory.words_attribute) or 0
    first = size - taken - words if base is None else base + taken
    if first < 0 or first + words > size:
        raise CompileError(
            f"{taken + words} words of {memory.value[1]} for registers that do not fit are more than there is room for",
            "register allocation",
            f"keep more of {memory.value[1]} free, or move the region with the module attribute "
            f"{memory.base_attribute}",
        )
    if words:
        module.attributes[memory.words_attribute] = IntegerAttr(taken + words, i64)
    return first
