"""What the static check says about a program."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """An error aborts on the machine; a warning runs, but hardly as meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing the static check found.

    Attributes:
        code: the emulator's abort class of an error (tests/conformance/vectors/README.md), a rule of the RTL (R01 to
            R38), else a name of ours.
        message: the fact, with the offending values.
        index: position of the instruction in the program; None when it concerns the whole program.
        line: its 1-based line when the program is assembly text.
        operand: the name of the operand slot, None when it is not about one.
        instruction: the instruction as assembly.
        evidence: where a rule of the RTL comes from.
    """

    severity: Severity
    code: str
    message: str
    index: int | None = None
    line: int | None = None
    operand: str | None = None
    instruction: str | None = None
    evidence: str | None = None

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    @property
    def is_unwritten_read(self) -> bool:
        """Whether it is about a cell that is read and that neither the program nor the host is known to write."""
        return self.code.startswith("unwritten-")

    def __str__(self) -> str:
        place = "program" if self.index is None else f"instruction {self.index}"
        if self.line is not None:
            place = f"line {self.line}"
        if self.instruction:
            place += f" ({self.instruction})"
        operand = f" {self.operand}:" if self.operand else ""
        source = f"{self.code}, {self.evidence}" if self.evidence else self.code
        return f"{place}: {self.severity.value}:{operand} {self.message} [{source}]"
