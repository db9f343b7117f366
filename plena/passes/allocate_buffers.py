"""`allocate-buffers`: gives every buffer an address in its memory, reusing space by liveness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import IntAttr, ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from plena.buffers.groups import Occupied, groups_of, place_group
from plena.buffers.intervals import Interval
from plena.dialects.loop import ForOp
from plena.dialects.tile import BufferOp, ConstantOp, TileOp, root_of
from plena.dialects.tile.buffers import SPACES
from plena.errors import CompileError
from plena.host.layout import hbm_alignment, scale_plane
from plena.integers import round_up
from plena.machine.number_formats import Mx
from plena.machine.target import Target
from plena.passes.convert_tile_to_isa import SCALE_PLANE


@dataclass(frozen=True)
class AllocateBuffers(ModulePass):
    """Places buffers first-fit by size; two buffers share space when their lives do not meet.

    A buffer lives from the first to the last operation (or loop) that uses it; one with placements lives from the
    start (inputs) or to the end (outputs). Anchored buffers get their place first, a group at a time. Constants are
    deduplicated. The plane of MX scales follows the
    plane of elements in HBM, where buffers with larger blocks to a scale come first.

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
        used: dict[str, int] = {}
        occupied = _place_groups(lives, target)
        for space in ("vector", "hbm", "matrix", "fp", "int"):
            intervals = [i for i in lives if i.buffer.space == space]
            base = {"hbm": _spare_rows(lives, target) if intervals else 0, "fp": constants}.get(space, 0)
            for part in _apart(intervals, target):
                base = _first_fit(part, _alignment(space, target), base, occupied[space])
            used[space] = base
            _check(space, used[space], intervals, target)
        op.attributes[SCALE_PLANE] = IntAttr(scale_plane(used["hbm"], target))
        _check_image(op, used["hbm"], target)


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
        spare = [i for i in lives if _is_spare(i, target.vlen) and i not in grouped]
        _first_fit(spare, target.vlen, 0, occupied["vector"])
    for group in groups:
        place_group(group, alignments, occupied)
    return occupied


def _apart(intervals: list[Interval], target: Target) -> Iterator[list[Interval]]:
    """The buffers that may mix: in HBM those with as many element bytes per scale byte, the most first.

    Scales lie at the element address divided by that number, so those of a part are all behind those of the one before.
    """
    ratios = {i: _ratio(i.buffer, target) for i in intervals}
    for ratio in sorted({*ratios.values(), 0}, reverse=True):
        yield [i for i in intervals if ratios[i] == ratio]


def _ratio(buffer: BufferOp, target: Target) -> int:
    """Element bytes per scale byte of what lies in an HBM buffer, 0 elsewhere and without scales."""
    if buffer.space != "hbm" or buffer.placements is None:
        return 0
    (name,) = {placement.number_format.data for placement in buffer.placements}
    number_format = target.precision[name]
    return number_format.ratio if isinstance(number_format, Mx) else 0


def _first_fit(
    intervals: list[Interval], alignment: int, base: int, placed: list[tuple[int, int, Interval]]
) -> int:
    """Assigns addresses beside what is placed: spare rows, then the largest buffers first. The end of the highest.

    Spare rows stay where they are in every loop: the lowest address is the zero register's.
    """
    settled = {interval for _, _, interval in placed}
    top = max([base, *(end for _, end, _ in placed)])
    waiting = [i for i in intervals if i not in settled]
    for interval in sorted(
        waiting, key=lambda i: (not _is_spare(i, alignment), -i.buffer.size.data, i.start)
    ):
        size = interval.buffer.size.data
        address = round_up(base, alignment)
        for low, high, other in sorted(placed, key=lambda p: p[0]):
            if high > address and interval.overlaps(other):
                if low >= address + size:
                    break
                address = round_up(high, alignment)
        interval.buffer.address = IntAttr(address)
        placed.append((address, address + size, interval))
        top = max(top, address + size)
    return top


def _is_spare(interval: Interval, alignment: int) -> bool:
    """Whether a buffer is a few rows that hold intermediate values."""
    buffer = interval.buffer
    return buffer.space == "vector" and buffer.placements is None and buffer.size.data <= 4 * alignment


def _spare_rows(intervals: list[Interval], target: Target) -> int:
    """Where large buffers begin in vector SRAM, and HBM too: equal addresses of a transfer share a register."""
    rows = [i.buffer for i in intervals if _is_spare(i, target.vlen)]
    ends = [row.address.data + row.size.data for row in rows if row.address is not None]
    return max(ends, default=0)


def _check(space: str, used: int, intervals: list[Interval], target: Target) -> None:
    available = capacity(space, target)
    if used <= available:
        return
    largest = sorted(intervals, key=lambda i: -i.buffer.size.data)[:5]
    names = ", ".join(f"{i.buffer.symbol.data} ({i.buffer.size.data:,})" for i in largest)
    unit = {"hbm": "bytes", "matrix": "elements", "vector": "elements", "fp": "words", "int": "words"}[space]
    raise CompileError(
        f"the program does not fit in {space} memory: {used:,} {unit} needed, {available:,} available; the largest "
        f"buffers are {names}",
        hint="Use a smaller sequence or batch, or a target with more of this memory.",
    )


def _check_image(module: ModuleOp, elements: int, target: Target) -> None:
    """Element and scale planes together must fit HBM and the 32-bit offsets of transfers."""
    ratio = min((f.ratio for f in target.precision.values() if isinstance(f, Mx)), default=0)
    total = elements + (elements // ratio if ratio else 0)
    if total > target.hbm_size or total > 1 << 32:
        available = min(target.hbm_size, 1 << 32)
        raise CompileError(
            f"the HBM image needs {total:,} bytes, {available:,} are addressable",
            hint="compile fewer layers at a time",
        )


__all__ = ["AllocateBuffers", "capacity"]
