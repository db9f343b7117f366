"""Operands that the public assembler accepts and drops: one warning for each place of an instruction.

Its output has a literal 0 behind the last operand here and there (`S_EXP_FP f2, f2, 0`); that means nothing and is
read silently. Whatever else has no effect is named.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from plena.errors import AssemblyWarning


@dataclass(frozen=True, slots=True)
class Dropped:
    """An operand without effect.

    Attributes:
        mnemonic: of the instruction.
        position: 1-based, among the operands.
        column: 1-based, in the line.
        why: the fact, naming the operand.
    """

    mnemonic: str
    position: int
    column: int
    why: str


@dataclass(slots=True)
class _Group:
    first: Dropped
    line: int
    lines: int = 1


@dataclass(slots=True)
class DroppedOperands:
    """Those of one text, grouped by instruction and position."""

    file: str | None
    groups: dict[tuple[str, int], _Group] = field(default_factory=dict[tuple[str, int], _Group])

    def add(self, dropped: Dropped, line: int) -> None:
        """One more, on a 1-based line."""
        group = self.groups.get((dropped.mnemonic, dropped.position))
        if group is None:
            self.groups[dropped.mnemonic, dropped.position] = _Group(dropped, line)
        else:
            group.lines += 1

    def warn(self, stacklevel: int) -> None:
        """Issue the warnings: AssemblyWarning, one a group.

        Args:
            stacklevel: of the caller, as of `warnings.warn`.
        """
        for group in self.groups.values():
            place = f"{self.file}:" if self.file else "line "
            more = f" ({group.lines - 1:,} more like it)" if group.lines > 1 else ""
            warnings.warn(
                f"{place}{group.line}:{group.first.column}: {group.first.mnemonic}: {group.first.why}{more}",
                AssemblyWarning,
                stacklevel=stacklevel + 1,
            )
