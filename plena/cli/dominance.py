"""Uses of values before their definition, which xDSL verifies without a word (docs/surprises.md)."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.irdl.dominance import DominanceInfo
from xdsl.utils.exceptions import VerifyException


def require_dominance(module: ModuleOp) -> None:
    """Refuses operands that are not defined on every way to the operation that reads them.

    The bodies of modules count as sequences, too: programs are run from the first operation to the last.

    Raises:
        VerifyException: names the first such operand and marks its operation.
    """
    for region in module.regions:
        _check(region, set())


def _check(region: Region, visible: set[SSAValue]) -> None:
    dominance = DominanceInfo(region) if len(region.blocks) > 1 else None
    reachable = set(_reachable(region))
    for block in region.blocks:
        if block not in reachable:
            continue
        before: set[SSAValue] = set()
        if dominance is not None:
            for other in reachable:
                if dominance.strictly_dominates(other, block):
                    before.update(_values(other))
        added = before - visible
        visible |= added
        _check_block(block, visible)
        visible -= added


def _check_block(block: Block, visible: set[SSAValue]) -> None:
    visible.update(block.args)
    for op in block.ops:
        for position, operand in enumerate(op.operands):
            if operand not in visible:
                _refuse(op, position, operand)
        for region in op.regions:
            _check(region, visible)
        visible.update(op.results)
    visible.difference_update(_values(block))


def _refuse(op: Operation, position: int, operand: SSAValue) -> None:
    name = f"%{operand.name_hint}" if operand.name_hint else f"number {position}"
    message = (
        f"{op.name}: the operand {name} is used before its definition. "
        "Define it in this block further up, or in a block that every way to this one leads through."
    )
    op.emit_error(message, VerifyException(message))


def _reachable(region: Region) -> Iterator[Block]:
    """The blocks that can run: nothing is asked of others, which no value dominates."""
    pending, seen = [region.blocks[0]] if region.blocks else [], set[Block]()
    while pending:
        block = pending.pop()
        if block not in seen:
            seen.add(block)
            yield block
            pending.extend(() if block.last_op is None else block.last_op.successors)


def _values(block: Block) -> Iterator[SSAValue]:
    yield from block.args
    for op in block.ops:
        yield from op.results
