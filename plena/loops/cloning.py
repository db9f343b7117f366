"""Fast copies of affine-form code with index values replaced by linear expressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear, YieldOp
from plena.dialects.plena_isa.instruction import integer
from plena.errors import CompileError

_INDEX = IndexType()

Key = tuple[int, tuple[tuple[SSAValue, int], ...]]


def for_op(trips: int, block: Block, attributes: Mapping[str, Attribute] | None = None) -> ForOp:
    """A `loop.for` around a block that has its index argument but no terminator yet."""
    block.add_op(YieldOp.create())
    return ForOp.create(
        properties={"trip_count": integer(trips)}, attributes=attributes or {}, regions=[Region(block)]
    )


@dataclass(slots=True)
class Scope:
    """The operations of one block under construction, and the addresses that it and the blocks around it hold."""

    operations: list[Operation] = field(default_factory=list[Operation])
    outer: Scope | None = None
    known: dict[Key, SSAValue] = field(default_factory=dict[Key, SSAValue])

    def value(self, expression: Linear, home: Scope | None = None) -> SSAValue:
        """A value equal to `expression`; equal addresses share one `loop.affine`.

        `home` is the scope around this one that a new `loop.affine` is put in, by default this one.
        """
        terms = expression.terms
        if not expression.constant and len(terms) == 1 and terms[0][1] == 1:
            return terms[0][0]
        key = (expression.constant, terms)
        scope: Scope | None = self
        while scope is not None:
            found = scope.known.get(key)
            if found is not None:
                return found
            scope = scope.outer
        op = AffineOp(expression)
        home = home or self
        home.operations.append(op)
        result = op.results[0]
        home.known[key] = result
        return result

    def loop(self, trips: int, attributes: Mapping[str, Attribute] | None = None) -> LoopScope:
        """Opens a loop at the end of this scope; `LoopScope.close` appends it."""
        block = Block(arg_types=[_INDEX])
        return LoopScope(outer=self, block=block, trips=trips, attributes=attributes)


@dataclass(slots=True, kw_only=True)
class LoopScope(Scope):
    """The body of a loop under construction."""

    block: Block
    trips: int
    attributes: Mapping[str, Attribute] | None = None

    @property
    def index(self) -> SSAValue:
        return self.block.args[0]

    def close(self) -> ForOp:
        """Appends the finished loop to the scope it was opened in."""
        self.block.add_ops(self.operations)
        op = for_op(self.trips, self.block, self.attributes)
        assert self.outer is not None
        self.outer.operations.append(op)
        return op


class Substitution:
    """What the values defined in the copied code become: index values expressions, other values values.

    `homes` remembers in which scope a copied `loop.affine` stood, so that its copy stands there too.
    """

    __slots__ = ("homes", "indices")

    def __init__(self, indices: Mapping[SSAValue, Linear] | None = None) -> None:
        self.indices: dict[SSAValue, Linear] = dict(indices or {})
        self.homes: dict[SSAValue, Scope] = {}

    def expression(self, value: SSAValue) -> Linear:
        """What an index value denotes in the copy, down to loop indices and run-time symbols."""
        found = self.indices.get(value)
        if found is not None:
            return found
        owner = value.owner
        if isinstance(owner, AffineOp):
            return self.affine(owner)
        return Linear(0, ((value, 1),))

    def affine(self, op: AffineOp) -> Linear:
        """What the result of a `loop.affine` denotes in the copy."""
        values = op.operands
        coefficients = op.coefficients.data
        if len(values) == 1:
            inner = self.expression(values[0]) * coefficients[0].data
            return Linear(inner.constant + op.constant.data, inner.terms)
        constant = op.constant.data
        terms: dict[SSAValue, int] = {}
        for value, coefficient in zip(values, coefficients, strict=True):
            factor = coefficient.data
            inner = self.expression(value)
            constant += inner.constant * factor
            for v, c in inner.terms:
                terms[v] = terms.get(v, 0) + c * factor
        return Linear(constant, tuple((v, c) for v, c in terms.items() if c))


def clone(operations: Iterable[Operation], scope: Scope, substitution: Substitution) -> None:
    """Appends copies of `operations` (no terminators) to `scope`.

    `substitution` gives the expressions of the index values defined around them that change; values defined by the
    operations themselves are added to it, so a fresh or shared one is the caller's choice. Attributes are shared.

    Raises:
        CompileError: an operation with regions that is not a loop.
    """
    indices = substitution.indices
    homes = substitution.homes
    append = scope.operations.append
    for op in operations:
        if isinstance(op, AffineOp):
            indices[op.results[0]] = substitution.affine(op)
            homes[op.results[0]] = scope
        elif isinstance(op, ForOp):
            inner = scope.loop(op.trips, op.attributes)
            inner.index.name_hint = op.index.name_hint
            indices[op.index] = Linear(0, ((inner.index, 1),))
            clone(op.operations, inner, substitution)
            inner.close()
        elif op.regions:
            raise CompileError(
                f"{op.name} is not an instruction or a loop",
                "loop transformation",
                "Lower the module to plena_isa first (--pass-pipeline affine).",
            )
        else:
            operands: list[SSAValue] = []
            for value in op.operands:
                expression = indices.get(value)
                operands.append(value if expression is None else scope.value(expression, homes.get(value)))
            copy = type(op).create(
                operands=operands,
                result_types=[r.type for r in op.results],
                properties=op.properties,
                attributes=op.attributes,
                location=op.location,
            )
            for old, new in zip(op.results, copy.results, strict=True):
                new.name_hint = old.name_hint
                indices[old] = Linear(0, ((new, 1),))
            append(copy)


def replace(op: Operation, operations: Iterable[Operation]) -> None:
    """Puts `operations` in the place of `op`, which is erased with everything in it."""
    block = op.parent
    assert block is not None
    for new in operations:
        block.insert_op_before(new, op)
    block.detach_op(op)
    op.erase(safe_erase=False)
