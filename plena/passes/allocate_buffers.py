"""`allocate-buffers`: gives every buffer an address in its memory, reusing space by liveness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import IntAttr, ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from plena.buffers.common_image import CommonImage
from plena.buffers.first_fit import first_fit, is_spare
from plena.buffers.groups import Occupied, groups_of, place_group
from plena.buffers.intervals import Interval
from plena.buffers.segments import largest_buffers, place_in_hbm
from plena.dialects.loop import ForOp
from plena.dialects.tile import BufferOp, ConstantOp, TileOp, root_of
from plena.dialects.tile.buffers import SPACES
from plena.errors import CompileError
from plena.host.layout import hbm_alignment
from plena.machine.target import Target
from plena.passes.convert_tile_to_isa import HBM_SEGMENT, SCALE_PLANE


@dataclass(frozen=True)
class AllocateBuffers(ModulePass):
    """Places buffers first-fit by size; two buffers share space when their lives do not meet.

    A buffer lives from the first to the last operation (or loop) that uses it; one with placements lives from the
    start (inputs) or to the end (outputs). Anchored buffers get their place first, a group at a time. Constants are
    deduplicated. In HBM the plane of MX scales follows the plane of elements, where buffers with larger blocks to a
    scale come first; what offsets of 32 bits do not reach lies in several such segments (plena.buffers.segments). A
    module that is compiled beside other programs joins their image (plena.buffers.common_image).

    Before::

        builtin.module {
          %x = tile.buffer @x [64] : !tile.buffer<vector>
          %y = tile.buffer @y [64] : !tile.buffer<vector>
          tile.zero dst(%x : vector) rows = 1
          tile.zero dst(%y : vector) rows = 1
        }

    After::

        builtin.module attributes {plena.scale_plane = #builtin.int<0>} {
          %x = tile.buffer @x [64] : !tile.buffer<vector> at 0
          %y = tile.buffer @y [64] : !tile.buffer<vector> at 0
          tile.zero dst(%x : vector) rows = 1
          tile.zero dst(%y : vector) rows = 1
        }
    """

    name = "allocate-buffers"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = Target.from_module(op)
        constants = _place_constants(op, target)
        lives = _lives(op)
        occupied = _place_groups(lives, target)
        for space in ("vector", "hbm", "matrix", "fp", "int"):
            intervals = [i for i in lives if i.buffer.space == space]
            if space == "hbm":
                _place_in_hbm(op, intervals, _spare_rows(lives, target) if intervals else 0, target)
                continue
            base = constants if space == "fp" else 0
            used = first_fit(intervals, _alignment(space, target), base, occupied[space])
            _check(space, used, intervals, target)


def _place_in_hbm(module: ModuleOp, intervals: Sequence[Interval], base: int, target: Target) -> None:
    """Places what lies in HBM and notes on the module where its planes are."""
    plan = place_in_hbm(intervals, base, target, CommonImage.from_module(module))
    module.attributes[SCALE_PLANE] = IntAttr(plan.scale_plane)
    if plan.segment:
        module.attributes[HBM_SEGMENT] = IntAttr(plan.segment)


def capacity(space: str, target: Target) -> int:
    """Size of a memory in the units its buffers are measured in."""
    return {
        "hbm": target.hbm_size,
        "matrix": target.matrix_tiles * target.tile,
        "vector": target.vector_sram_size * target.vlen,
        "fp": target.fp_sram_size,
        "int": target.int_sram_size,
    }[space]


def _alignment(space: str, target: Target) -> int:
    return {"hbm": hbm_alignment(target), "matrix": target.tile, "vector": target.vlen, "fp": 1, "int": 1}[
        space
    ]


def _place_constants(module: ModuleOp, target: Target) -> int:
    """Gives equal constants one address; the number of words they take."""
    known: dict[tuple[tuple[float, float], ...], int] = {}
    words = 0
    for op in module.body.block.ops:
        if isinstance(op, ConstantOp):
            if op.key not in known:
                known[op.key] = words
                words += len(op.numbers)
            op.address = IntAttr(known[op.key])
    if words > target.fp_sram_size:
        raise CompileError(f"constants need {words} words of FP SRAM, which has {target.fp_sram_size}")
    return words


def _lives(module: ModuleOp) -> list[Interval]:
    """The lives of all buffers in positions of operations, loops included, in program order.

    A buffer lives over the smallest stretch of operations of one block that contains all its uses: what is only used
    in a loop's body is defined anew in every iteration, so only its place in the body counts.
    """
    spans: dict[Operation, tuple[int, int]] = {}
    users: dict[BufferOp, list[Operation]] = {}
    total = _number(module.body.block, 0, spans, users)
    intervals: list[Interval] = []
    for op in module.body.block.ops:
        if not isinstance(op, BufferOp):
            continue
        using = users.get(op, [])
        start, end = _life(using, spans)
        if op.placements is not None:
            kind = op.source_kind
            outermost = [spans[_path(user)[0]] for user in using]
            if kind == "output":
                start, end = min((span[0] for span in outermost), default=0), total
            elif kind != "scratch":
                # What the host staged is never defined again: it lives to the end of the last loop that reads it.
                last = max((span[1] for span in outermost), default=0)
                start, end = 0, total if op.space == "hbm" else last
        if op.space == "int":
            # Numbers of INT SRAM are addresses, whose bounds verify-program knows by word: no two buffers share words.
            start, end = 0, total
        intervals.append(Interval(op, start, end))
    return intervals


def _number(
    block: Block,
    position: int,
    spans: dict[Operation, tuple[int, int]],
    users: dict[BufferOp, list[Operation]],
) -> int:
    """Numbers the operations of a block and its loops; a loop's span covers its body."""
    for op in block.ops:
        start = position
        position += 1
        if isinstance(op, ForOp):
            position = _number(op.body.block, position, spans, users)
        elif isinstance(op, TileOp):
            for _, value in op.buffers():
                root, _ = root_of(value)
                if isinstance(root, BufferOp):
                    users.setdefault(root, []).append(op)
        spans[op] = (start, position)
        position += 1
    return position


def _life(users: Sequence[Operation], spans: dict[Operation, tuple[int, int]]) -> tuple[int, int]:
    """The span of the operations of the deepest block that has all users inside."""
    if not users:
        return 0, 0
    paths = [_path(op) for op in users]
    depth = 0
    while all(len(p) > depth + 1 for p in paths) and len({p[depth] for p in paths}) == 1:
        depth += 1
    here = [spans[p[depth]] for p in paths]
    return min(start for start, _ in here), max(end for _, end in here)


def _path(op: Operation) -> list[Operation]:
    """The operation and the loops around it, outermost first, the module left out."""
    path: list[Operation] = []
    current: Operation | None = op
    while current is not None and not isinstance(current, ModuleOp):
        path.append(current)
        current = current.parent_op()
    return path[::-1]


def _place_groups(lives: list[Interval], target: Target) -> Occupied:
    """Places anchored buffers with their anchors, behind the spare rows: what is taken then in each memory."""
    alignments = {space: _alignment(space, target) for space in SPACES}
    occupied: Occupied = {space: [] for space in SPACES}
    groups = groups_of(lives)
    if groups:
        grouped = {member.life for group in groups for member in group}
        spare = [i for i in lives if is_spare(i, target.vlen) and i not in grouped]
        first_fit(spare, target.vlen, 0, occupied["vector"])
    for group in groups:
        place_group(group, alignments, occupied)
    return occupied


def _spare_rows(intervals: list[Interval], target: Target) -> int:
    """Where large buffers begin in vector SRAM, and HBM too: equal addresses of a transfer share a register."""
    rows = [i.buffer for i in intervals if is_spare(i, target.vlen)]
    ends = [row.address.data + row.size.data for row in rows if row.address is not None]
    return max(ends, default=0)


def _check(space: str, used: int, intervals: list[Interval], target: Target) -> None:
    available = capacity(space, target)
    if used <= available:
        return
    unit = {"matrix": "elements", "vector": "elements", "fp": "words", "int": "words"}[space]
    raise CompileError(
        f"the program does not fit in {space} memory: {used:,} {unit} needed, {available:,} available; the largest "
        f"buffers are {largest_buffers(intervals)}",
        hint="Use a smaller sequence or batch, or a target with more of this memory.",
    )


__all__ = ["AllocateBuffers", "capacity"]
