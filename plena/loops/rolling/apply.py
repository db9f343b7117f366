"""Rolling the straight-line code of a block into loops."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear, YieldOp
from plena.dialects.plena_isa.control import RegisterOp
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.provenance import MODULE_ATTRIBUTE, STEP_ATTRIBUTE
from plena.loops.cloning import LoopScope, Scope, Substitution
from plena.loops.rolling.block_stream import BlockStream, read_block
from plena.loops.rolling.search import roll_stream
from plena.loops.rolling.stream import Node, Repeat, Span


def roll_block(block: Block, *, by_origin: bool = False) -> bool:
    """Folds repeated instructions of a block into loops; returns whether it found any.

    Loops that are already there are tokens: they can become part of a loop body, their own bodies stay. `by_origin`:
    only what serves the same module and step of the model is folded.
    """
    read = read_block(block, by_origin=by_origin)
    if read is None:
        return False
    nodes = roll_stream(read.stream)
    if not any(isinstance(node, Repeat) for node in nodes):
        return False
    emitter = _Emitter(read)
    scope = Scope()
    emitter.nodes(nodes, scope, [])
    terminator = block.last_op if isinstance(block.last_op, YieldOp) else None
    for op in list(block.ops):
        if not isinstance(op, RegisterOp) and op is not terminator:
            block.detach_op(op)
            op.erase(safe_erase=False)
    if terminator is None:
        block.add_ops(scope.operations)
    else:
        block.insert_ops_before(scope.operations, terminator)
    return True


Step = tuple[SSAValue, int]


class _Emitter:
    """Makes new operations from rolled code; a token is copied from its first iteration."""

    def __init__(self, read: BlockStream) -> None:
        self.tokens = read.tokens
        self.constants = read.stream.constants
        self.substitution = Substitution()

    def nodes(self, nodes: Sequence[Node], scope: Scope, levels: list[Step]) -> None:
        """Appends copies to `scope`; `levels` are the new loops around, as (index, period in tokens)."""
        for node in nodes:
            if isinstance(node, Span):
                self._span(node, scope, levels)
            else:
                inner = scope.loop(node.count, self._origin(node))
                self.nodes(node.body, inner, [*levels, (inner.index, node.period)])
                inner.close()

    def _origin(self, node: Node) -> dict[str, Attribute]:
        """What a new loop serves: the module and step of its first instruction."""
        while not isinstance(node, Span):
            node = node.body[0]
        attributes = self.tokens[node.start].attributes
        return {name: attributes[name] for name in (MODULE_ATTRIBUTE, STEP_ATTRIBUTE) if name in attributes}

    def _span(self, span: Span, scope: Scope, levels: list[Step]) -> None:
        around: list[Scope] = [scope]
        here = self.constants[span.start : span.stop]
        steps = [
            (index, (self.constants[span.start + period : span.stop + period] - here).tolist())
            for index, period in levels
        ]
        for place, token in enumerate(self.tokens[span.start : span.stop]):
            current = around[-1]
            if isinstance(token, ForOp):
                inner = current.loop(token.trips, token.attributes)
                inner.index.name_hint = token.index.name_hint
                self.substitution.indices[token.index] = Linear.index(inner.index)
                around.append(inner)
            elif isinstance(token, YieldOp):
                assert isinstance(current, LoopScope)
                current.close()
                around.pop()
            else:
                self._copy(token, current, [(index, rows[place]) for index, rows in steps])

    def _copy(self, token: Operation, scope: Scope, steps: list[tuple[SSAValue, list[int]]]) -> None:
        indices = self.substitution.indices
        operands: list[SSAValue] = []
        column = 0
        is_instruction = isinstance(token, Instruction)
        for value in token.operands:
            if not isinstance(value.type, IndexType):
                operands.append(value)
                continue
            local = isinstance(value.owner, AffineOp) or value in indices
            expression = self.substitution.expression(value)
            advances = [(i, row[column]) for i, row in steps if is_instruction and row[column]]
            if advances:
                expression = expression + Linear.of(0, advances)
            operands.append(scope.value(expression) if local or advances else value)
            column += 1
        copy = type(token).create(
            operands=operands,
            result_types=[r.type for r in token.results],
            properties=token.properties,
            attributes=token.attributes,
            location=token.location,
        )
        for old, new in zip(token.results, copy.results, strict=True):
            new.name_hint = old.name_hint
            indices[old] = Linear.index(new)
        scope.operations.append(copy)
