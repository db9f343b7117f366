"""What a product costs in each schedule, by the target's timing profiles: the choice of `matmul="auto"`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation

from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.provenance import MODULE_ATTRIBUTE
from plena.integers import ceil_div
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.timing.dma_model import transfer_picoseconds
from plena.timing.registry import profile_named, timings

Unit: TypeAlias = Literal["mm", "broadcast", "vector"]
"""What makes a product: M_MM, the broadcast unit with matrices (M_BTMM) or with vectors (M_BTMV)."""


@dataclass(frozen=True)
class ProductShape:
    """A product of `rows` rows over `k_tiles` tiles of the reduction to `n_tiles` tiles of output columns.

    `pack_tiles` column blocks of the left operand have to be packed for M_BTMM first, `pack_vector_tiles` for M_BTMV;
    None: there is no kernel that does it with vectors. `slices`: HLEN features each that the reduction has (0: whole
    tiles). Matrix SRAM holds `held` tiles beside a packing tile: where a reduction has more, both schedules of the
    broadcast unit load its tiles once for all rows that they take at a time (0: it holds them all).

    `separate`: only so many of the rows mean anything, and none shares a block of rows with another (0: all do). Of
    the tiles of columns, `matrix_tiles` are in the wrong direction for M_BTMV, and the vector schedule has M_BMM
    multiply them.
    """

    rows: int
    k_tiles: int
    n_tiles: int
    pack_tiles: int
    pack_vector_tiles: int | None = None
    slices: int = 0
    held: int = 0
    separate: int = 0
    matrix_tiles: int = 0

    def loads(self, groups: int) -> int:
        """How many more tiles than those of the weight are loaded if rows are taken in so many groups."""
        if not self.held or self.k_tiles <= self.held:
            return 0
        return (groups - 1) * self.k_tiles * self.n_tiles


PINNED_POINTERS = 10
"""Addresses of weights that stay in registers over all rows: what counters, the result and the rows leave."""


def mm_cycles(shape: ProductShape, target: Target, timing: str) -> int:
    """The M_MM schedule: one instruction and about one address update per BLEN x BLEN x MLEN block, in long reductions
    two: registers for the addresses of weights run out."""
    cost = profile_named(timing).cycles
    update = cost(INSTRUCTIONS["S_ADDI_INT"], target)
    blocks = (
        (shape.separate or ceil_div(shape.rows, target.blen)) * (target.mlen // target.blen) * shape.n_tiles
    )
    products = shape.k_tiles * (cost(INSTRUCTIONS["M_MM"], target) + update)
    moved = max(0, shape.k_tiles - PINNED_POINTERS) * update
    return blocks * (products + moved + cost(INSTRUCTIONS["M_MM_WO"], target))


def broadcast_cycles(shape: ProductShape, target: Target, timing: str) -> int:
    """The broadcast schedule: BROADCAST row blocks of MLEN rows at a time, packing included."""
    cost, slots = profile_named(timing).cycles, target.broadcast_amount
    row_blocks = ceil_div(shape.rows, target.mlen)
    groups = ceil_div(row_blocks, slots)
    product = cost(INSTRUCTIONS["M_BTMM"], target) + 2 * cost(INSTRUCTIONS["S_ADDI_INT"], target)
    write_out = cost(INSTRUCTIONS["M_BMM_WO"], target)
    products = groups * shape.n_tiles * (shape.k_tiles * slots * product + write_out)
    packing = shape.pack_tiles * (row_blocks * product + groups * write_out)
    return products + packing + shape.loads(groups) * load_cycles(target, timing)


def vector_cycles(shape: ProductShape, target: Target, timing: str) -> int:
    """The vector schedule: BROADCAST rows at a time, packing included.

    Every slice of a tile takes an instruction and an update of the vector's address, a tile one more update and the end
    of a loop, as much as a write-out.
    """
    cost, slots = profile_named(timing).cycles, target.broadcast_amount
    update = cost(INSTRUCTIONS["S_ADDI_INT"], target)
    product = cost(INSTRUCTIONS["M_BTMV"], target) + update
    write_out = cost(INSTRUCTIONS["M_BMV_WO"], target) + 2 * update
    rows = shape.separate or shape.rows
    groups, slices = ceil_div(rows, slots), shape.slices or shape.k_tiles * slots
    tiles = shape.n_tiles - shape.matrix_tiles
    products = groups * tiles * (slices * product + 2 * shape.k_tiles * update + write_out)
    matrix = cost(INSTRUCTIONS["M_BMM"], target) + 2 * update
    products += groups * shape.matrix_tiles * shape.k_tiles * slots * matrix
    packing = (shape.pack_vector_tiles or 0) * (rows * product + groups * write_out)
    return products + packing + shape.loads(groups) * load_cycles(target, timing)


def broadcast_instructions(shape: ProductShape, target: Target) -> int:
    """About how many instructions the broadcast schedule runs with its loops expanded, address updates included."""
    groups = ceil_div(ceil_div(shape.rows, target.mlen), target.broadcast_amount)
    return groups * shape.n_tiles * (3 * shape.k_tiles * target.broadcast_amount + 1)


def vector_instructions(shape: ProductShape, target: Target) -> int:
    """About how many instructions the vector schedule runs with its loops expanded, address updates included."""
    slices = shape.slices or shape.k_tiles * target.broadcast_amount
    return ceil_div(shape.rows, target.broadcast_amount) * shape.n_tiles * (2 * slices + shape.k_tiles + 3)


def load_cycles(target: Target, timing: str) -> int:
    """One more tile: its address updates, the instruction, and the wait for it."""
    cost = profile_named(timing).cycles
    wait = transfer_picoseconds("H_PREFETCH_M", 0, 0, None, target) // 1000
    return cost(INSTRUCTIONS["H_PREFETCH_M"], target) + 2 * cost(INSTRUCTIONS["S_ADDI_INT"], target) + wait


CYCLES: Mapping[Unit, Callable[[ProductShape, Target, str], int]] = {
    "mm": mm_cycles,
    "broadcast": broadcast_cycles,
    "vector": vector_cycles,
}
"""What each unit takes; of equal ones the first is chosen."""


PRODUCT_OF: Mapping[str, str] = {"broadcast": "M_BTMM", "vector": "M_BTMV"}
"""The instruction that a schedule multiplies with, of those that a profile may call wrong."""


def units(shape: ProductShape, target: Target) -> list[Unit]:
    """What can make a product."""
    if not target.has_broadcast:
        return ["mm"]
    return ["mm", "broadcast"] if shape.pack_vector_tiles is None else [*CYCLES]


def _chosen_among(shape: ProductShape, target: Target, schedule: Schedule) -> list[Unit]:
    """What is compared: groups of rows by M_BTMV take more code, so they are not where size is all that counts."""
    available: list[Unit] = [u for u in units(shape, target) if not is_wrong(u, target, schedule)]
    grouped = (shape.separate or shape.rows) > target.broadcast_amount
    if grouped and "vector" in available and (schedule.objective == "size" or not schedule.row_groups):
        available.remove("vector")
    return available


def is_wrong(unit: str, target: Target, schedule: Schedule) -> bool:
    """Whether the machine behind the timing profile does not execute a schedule's products right, and nobody said that
    this does not matter."""
    product = PRODUCT_OF.get(unit)
    return not schedule.allow_unsupported and product in profile_named(schedule.timing).unsupported(target)


def preferred_unit(shape: ProductShape, target: Target, schedule: Schedule) -> Unit:
    """What makes the product: what is asked for where the target and a kernel have it, else the fastest."""
    if schedule.machine == "rtl":
        return "mm"
    available = units(shape, target)
    if schedule.matmul != "auto" and schedule.matmul in available:
        return schedule.matmul
    compared = _chosen_among(shape, target, schedule)
    return min(compared, key=lambda unit: CYCLES[unit](shape, target, schedule.timing))


def prefers_broadcast(shape: ProductShape, target: Target, schedule: Schedule) -> bool:
    """Whether M_BTMM makes a product that no kernel makes with vectors."""
    return preferred_unit(shape, target, schedule) == "broadcast"


def describe_choice(
    op: Operation, shape: ProductShape, unit: Unit, target: Target, schedule: Schedule
) -> str:
    """One line of the report: the choice, all schedules under every profile, and where the profiles differ.

    Schedules that were left out, since the profile's machine does not execute their products right, are named.
    """
    module = op.attributes.get(MODULE_ATTRIBUTE)
    name = module.data if isinstance(module, StringAttr) else op.name
    available = units(shape, target)
    if len(available) == 1:
        return f"{name}: mm (no broadcast unit)"
    figures = {timing: {u: CYCLES[u](shape, target, timing) for u in available} for timing in timings()}
    text = ", ".join(
        " ".join([timing, *(f"{u} {cycles:,}" for u, cycles in by_unit.items())])
        for timing, by_unit in figures.items()
    )
    wanted = {min(by_unit, key=by_unit.__getitem__) for by_unit in figures.values()}
    why = "as asked" if schedule.matmul == unit else f"by {schedule.timing}"
    differ = "" if len(wanted) == 1 else "; the profiles disagree"
    compared = schedule.matmul == "auto" and schedule.machine != "rtl"
    wrong = [u for u in available if is_wrong(u, target, schedule)] if compared else []
    if schedule.machine == "rtl":
        why = "for the RTL, which multiplies matrices by M_MM alone"
    if wrong:
        products = " and ".join(PRODUCT_OF[u] for u in wrong)
        why += f", without {' and '.join(wrong)}: its machine does not execute {products} right"
    return f"{name}: {unit} {why} ({text}{differ})"
