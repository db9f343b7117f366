"""What the machine demands of the operands of each instruction, in numbers of one target (plena_isa.md section 3.8).

The demands stand in the declarations (`plena.dialects.plena_isa.demands`). One table serves the check of affine
operands and the concrete run. `numbers` are those of a record (`layout`).
"""

from __future__ import annotations

from dataclasses import dataclass

from plena.dialects.derived import derived_of_targets
from plena.dialects.plena_isa.demands import DemandKind
from plena.lifting.records import layout
from plena.machine.target import Target


@dataclass(frozen=True, slots=True)
class Check:
    """One demand on one number of an instruction."""

    kind: DemandKind
    code: str
    number: int
    modulus: int = 1
    limit: int = 0
    rows: int = 1


class CheckTable:
    """The demands of every instruction for one target, in the order in which the machine makes them."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._checks: dict[tuple[int, int], tuple[Check, ...]] = {}

    def of(self, op: int, flags: int) -> tuple[Check, ...]:
        """The demands of an opcode with certain flag bits (`InstructionSpec.flag_bits`)."""
        key = (op, flags)
        checks = self._checks.get(key)
        if checks is None:
            checks = self._checks[key] = self._make(op, flags)
        return checks

    def _make(self, op: int, flags: int) -> tuple[Check, ...]:
        shape, target = layout(op), self.target
        fields = shape.spec.fields_of(flags)
        return tuple(
            Check(
                demand.kind,
                demand.code,
                shape.addresses.index(demand.slot),
                demand.modulus(target, fields),
                demand.limit(target, fields),
                rows,
            )
            for demand in shape.spec.demands
            if (rows := demand.rows(target, fields))
        )


@derived_of_targets(8)
def check_table(target: Target) -> CheckTable:
    """The demands for a target."""
    return CheckTable(target)
