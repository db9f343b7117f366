"""Words of INT SRAM and FP SRAM that belong to the compiler, for registers that do not fit."""

from __future__ import annotations

from enum import Enum

from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.ir import Block, SSAValue

from plena.dialects.loop.nests import largest_value
from plena.dialects.plena_isa import Access, Memory, instructions_in
from plena.errors import CompileError
from plena.machine.choices import Machine
from plena.machine.rtl_build import rtl_build
from plena.machine.target import Target


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

    @property
    def end_attribute(self) -> str:
        """Module attribute: one past the last word of a region that has a base; absent: the end of the memory."""
        return f"plena.{self.value[0]}_spill_end"

    @property
    def memory(self) -> Memory:
        """The memory as instructions name it."""
        return Memory[self.value[0].upper()]

    def size(self, target: Target, machine: Machine = "emulator") -> int:
        """Words in the memory."""
        if machine == "rtl":
            return rtl_build().int_words if self is SpillMemory.INT else rtl_build().fp_words
        return target.int_sram_size if self is SpillMemory.INT else target.fp_sram_size


_ROOM = 64
"""Words at the end of a memory that are looked at before another place is searched."""


def place_regions(module: ModuleOp, machine: Machine = "emulator") -> None:
    """Moves the region of each memory away from the words that a program in the affine form uses itself.

    Nothing is recorded while the last words of the emulator's memory are free. Addresses that hang on run-time numbers
    are not seen.
    """
    target = Target.from_module(module)
    used: dict[Memory, list[tuple[int, int]]] = {m.memory: [] for m in SpillMemory}
    for op in instructions_in(module):
        if op.SPEC.may_touch(*used):
            for access in op.accesses(target) or ():
                if access.memory in used and access.base is not None:
                    words = _words(access)
                    if words is not None:
                        used[access.memory].append(words)
    for memory in SpillMemory:
        size = memory.size(target, machine)
        start, end = _largest_gap(used[memory.memory], size)
        is_full = machine == "rtl" or any(e > size - _ROOM for _, e in used[memory.memory])
        if memory.base_attribute not in module.attributes and is_full:
            module.attributes[memory.base_attribute] = IntegerAttr(start, i64)
            module.attributes[memory.end_attribute] = IntegerAttr(end, i64)


def _words(access: Access) -> tuple[int, int] | None:
    """The first word an access can touch and one past the last."""
    assert access.base is not None
    bounds: dict[SSAValue, tuple[int, int]] = {}
    for value, _ in access.base.terms:
        if not isinstance(value.owner, Block):
            return None
        bounds[value] = (0, largest_value(value))
    low, high = access.base.range(bounds)
    return low, high + access.extent


def _largest_gap(used: list[tuple[int, int]], size: int) -> tuple[int, int]:
    best, position = (size, size), 0
    for low, high in sorted([*used, (size, size)]):
        if low - position > best[1] - best[0]:
            best = (position, low)
        position = max(position, high)
    return best


def number_attribute(module: ModuleOp, name: str) -> int | None:
    """An integer attribute of a module."""
    attribute = module.attributes.get(name)
    return attribute.value.data if isinstance(attribute, IntegerAttr) else None


def check_touches(module: ModuleOp, memory: SpillMemory) -> None:
    """Whether a program says of every instruction what it touches.

    Raises:
        CompileError: an instruction may touch any word of the memory.
    """
    for op in instructions_in(module):
        if op.SPEC.touches is None:
            raise CompileError(
                f"registers do not fit, and {op.SPEC.mnemonic} does not declare what it touches: it may use the words "
                f"of {memory.value[1]} they would be kept in",
                "register allocation",
                "Declare its `touches`.",
            )


def reserve(module: ModuleOp, memory: SpillMemory, words: int, *, checked: bool = False) -> int:
    """Takes `words` more words of the region, records that on the module and returns the first one.

    Args:
        checked: whether `check_touches` has passed, which looks at every instruction.

    Raises:
        CompileError: the memory has no room for them, or an instruction may touch any of its words.
    """
    if words and not checked:
        check_touches(module, memory)
    size = memory.size(Target.from_module(module))
    base = number_attribute(module, memory.base_attribute)
    end = number_attribute(module, memory.end_attribute)
    taken = number_attribute(module, memory.words_attribute) or 0
    first = size - taken - words if base is None else base + taken
    if first < 0 or first + words > (size if end is None else end):
        raise CompileError(
            f"{taken + words} words of {memory.value[1]} for registers that do not fit are more than there is room for",
            "register allocation",
            f"keep more of {memory.value[1]} free, or move the region with the module attribute "
            f"{memory.base_attribute}",
        )
    if words:
        module.attributes[memory.words_attribute] = IntegerAttr(taken + words, i64)
    return first
