"""What a product costs in either schedule, by the target's timing profiles: the choice of `matmul="auto"`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation

from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.provenance import MODULE_ATTRIBUTE
from plena.integers import ceil_div
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.timing.registry import profile_named, timings


@dataclass(frozen=True)
class ProductShape:
    """A product of `rows` rows over `k_tiles` tiles of the reduction to `n_tiles` tiles of output columns.

    `pack_tiles` column blocks of the left operand have to be packed for it first.
    """

    rows: int
    k_tiles: int
    n_tiles: int
    pack_tiles: int


def mm_cycles(shape: ProductShape, target: Target, timing: str) -> int:
    """The M_MM schedule: one instruction and about one address update per BLEN x BLEN x MLEN block."""
    cost = profile_named(timing).cycles
    blocks = ceil_div(shape.rows, target.blen) * (target.mlen // target.blen) * shape.n_tiles
    product = cost(INSTRUCTIONS["M_MM"], target) + cost(INSTRUCTIONS["S_ADDI_INT"], target)
    return blocks * (shape.k_tiles * product + cost(INSTRUCTIONS["M_MM_WO"], target))


def broadcast_cycles(shape: ProductShape, target: Target, timing: str) -> int:
    """The broadcast schedule: BROADCAST row blocks of MLEN rows at a time, packing included."""
    cost, slots = profile_named(timing).cycles, target.broadcast_amount
    row_blocks = ceil_div(shape.rows, target.mlen)
    groups = ceil_div(row_blocks, slots)
    product = cost(INSTRUCTIONS["M_BTMM"], target) + 2 * cost(INSTRUCTIONS["S_ADDI_INT"], target)
    write_out = cost(INSTRUCTIONS["M_BMM_WO"], target)
    products = groups * shape.n_tiles * (shape.k_tiles * slots * product + write_out)
    return products + shape.pack_tiles * (row_blocks * product + groups * write_out)


def describe_choice(
    op: Operation, shape: ProductShape, broadcast: bool, target: Target, schedule: Schedule
) -> str:
    """One line of the report: the choice, both schedules under every profile, and where the profiles differ."""
    module = op.attributes.get(MODULE_ATTRIBUTE)
    name = module.data if isinstance(module, StringAttr) else op.name
    if not target.has_broadcast:
        return f"{name}: mm (no broadcast unit)"
    figures = {
        timing: (mm_cycles(shape, target, timing), broadcast_cycles(shape, target, timing))
        for timing in timings()
    }
    text = ", ".join(f"{timing} mm {mm:,} broadcast {other:,}" for timing, (mm, other) in figures.items())
    wanted = {timing: "broadcast" if other < mm else "mm" for timing, (mm, other) in figures.items()}
    why = f"by {schedule.timing}" if schedule.matmul == "auto" else "as asked"
    differ = "" if len(set(wanted.values())) == 1 else "; the profiles disagree"
    return f"{name}: {'broadcast' if broadcast else 'mm'} {why} ({text}{differ})"


def prefers_broadcast(
    shape: ProductShape, target: Target, schedule: Schedule, timing: str | None = None
) -> bool:
    """Whether the broadcast schedule does the product; a target without the unit never does."""
    if not target.has_broadcast or schedule.matmul == "mm":
        return False
    if schedule.matmul == "broadcast":
        return True
    timing = timing or schedule.timing
    return broadcast_cycles(shape, target, timing) < mm_cycles(shape, target, timing)
