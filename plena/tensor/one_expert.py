"""What all experts compute alike, as the body of plena.experts: their parts of a sum, followed back side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.builder import Builder
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, i64
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from plena.dialects import aten
from plena.dialects.plena import ExpertsOp, RouteOp, YieldOp
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.aten_emission import Columns, Emission
from plena.tensor.expert_numbers import KEEPS_ZERO, is_mask, without_truths
from plena.tensor.expert_parts import Part, Step, step_of
from plena.tensor.staged_parameters import expression_of

Parts = tuple[Part, ...]
"""One part for each expert, in their order."""


class NotAlikeError(Exception):
    """Experts compute different things, or something that is not row by row."""


class OneExpert:
    """The body of one expert, built of what every expert does.

    Args:
        route: the choice.
        numbers: the values [*tokens, E] that are 0 where an expert is not chosen.
        emission: puts ops in front of the sum.
    """

    def __init__(self, route: RouteOp, numbers: set[SSAValue], emission: Emission) -> None:
        self.route, self.numbers, self.e = route, numbers, emission
        self.tokens, self.experts = shape_of(route.result)
        self.block = Block()
        self.builder = Builder(InsertPoint.at_end(self.block))
        self.inside = Emission(self.builder)
        self.given: dict[str, list[tuple[SSAValue, BlockArgument]]] = {
            "rows": [],
            "columns": [],
            "stacked": [],
        }
        self.known: dict[Parts, SSAValue] = {}
        self.by_token: set[SSAValue] = set()
        self.zero: set[SSAValue] = set()

    # What experts have.

    def of(self, parts: Parts) -> SSAValue:
        """The value in the body that stands for a part of each expert.

        Raises:
            NotAlikeError: they are not computed alike.
        """
        if parts not in self.known:
            self.known[parts] = self._shared(parts[0]) if len(set(parts)) == 1 else self._own(parts)
        return self.known[parts]

    def _own(self, parts: Parts) -> SSAValue:
        first, numbers = parts[0], tuple(range(self.experts))
        together = len({(part.value, part.axis) for part in parts}) == 1
        ordered = together and tuple(part.number for part in parts) == numbers
        if ordered and first.value in self.numbers and first.dropped == len(first.shape):
            view = self.e.view(first.value, (self.tokens, self.experts))
            argument = self._argument("columns", view, (self.tokens, 1))
            self.by_token.add(argument)
            self.zero.add(argument)
            return self.view(argument, (self.tokens,))
        if ordered and first.axis is not None and expression_of(first.value) is not None:
            return self._argument("stacked", self._in_front(first, first.axis), first.shape)
        if all(isinstance(part.value.owner, aten.ParameterOp) and part.axis is None for part in parts):
            return self._argument("stacked", self._stack([part.value for part in parts]), first.shape)
        return self._computed(parts)

    def _in_front(self, part: Part, axis: int) -> SSAValue:
        """A value [E, ...] with the axis of the experts, or of their blocks, before the others."""
        whole = shape_of(part.value)
        value = self.e.view(part.value, (*whole[:axis], self.experts, *part.kept, *whole[axis + 1 :]))
        rest = [other for other in range(len(shape_of(value))) if other != axis]
        return self.e.permute(value, [axis, *rest]) if axis else value

    def _stack(self, values: Sequence[SSAValue]) -> SSAValue:
        """Parameters of all experts one behind the other."""
        shape = shape_of(values[0])
        if any(value.type != values[0].type for value in values):
            raise NotAlikeError
        single = [self.e.view(value, (1, *shape)) for value in values]
        return self.e.add(
            aten.CatOp, [single], (self.experts, *shape), {"dim": IntegerAttr(0, i64)}, values[0]
        )

    def _argument(self, role: str, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
        for outer, argument in self.given[role]:
            if outer is value:
                return argument
        argument = self.block.insert_arg(TensorType(element_type_of(value), shape), len(self.block.args))
        self.given[role].append((value, argument))
        return argument

    def _shared(self, part: Part) -> SSAValue:
        """What all experts have: rows of the tokens, or something that has none."""
        owner = part.value.owner
        if isinstance(owner, aten.FullOp) and part.axis is None:
            copy = owner.clone()
            self.builder.insert(copy)
            return copy.result
        value = part.value
        if part.axis is not None:
            size = part.size or 1
            value = self.e.columns(value, part.axis, Columns(part.number * size, 1, size))
            value = self.e.view(value, part.shape)
        axes = self.token_axes(part.shape)
        if axes is None or expression_of(part.value) is not None:
            return value
        rest = part.shape[axes:]
        argument = self._argument("rows", self.e.view(value, (self.tokens, *rest)), (self.tokens, *rest))
        self.by_token.add(argument)
        return argument

    def token_axes(self, shape: tuple[int, ...]) -> int | None:
        """How many leading axes are those of the tokens, of a single token maybe no axis; None if none are."""
        found = next((n for n in range(1, len(shape) + 1) if prod(shape[:n]) == self.tokens), None)
        return 0 if found is None and self.tokens == 1 else found

    # What they compute of it.

    def _computed(self, parts: Parts) -> SSAValue:
        owners = [part.value.owner for part in parts]
        chosen = self._where(parts)
        if chosen is not None:
            return chosen
        steps = [step_of(part) for part in parts]
        found = [step for step in steps if step is not None]
        first = found[0] if found else None
        if first is None or len(found) < len(steps) or any(not _alike(first, step) for step in found):
            raise NotAlikeError
        operands = [self.of(tuple(step.operands[n] for step in found)) for n in range(len(first.operands))]
        owner = owners[0]
        assert isinstance(owner, Operation)
        return self.add(first, operands, parts[0].shape, parts[0].value)

    def _where(self, parts: Parts) -> SSAValue | None:
        """A choice between what an expert computes and 0 by whether it is chosen, as a product; None of others."""
        ops = [part.value.owner for part in parts]
        pairs: list[tuple[Part, Part]] = []
        for op, part in zip(ops, parts, strict=True):
            if not isinstance(op, aten.WhereOp) or not is_zero(op.other) or part.axis is not None:
                return None
            pairs.append((Part(without_truths(op.condition)), Part(op.input)))
        return self.chosen(pairs, parts[0].shape)

    def chosen(self, pairs: Sequence[tuple[Part, Part]], shape: tuple[int, ...]) -> SSAValue:
        """What experts have where they are chosen, 0 elsewhere, of pairs of whether they are chosen and what they have.

        Raises:
            NotAlikeError: what is said to be whether they are chosen is something else.
        """
        condition, value = (self.of(tuple(pair[n] for pair in pairs)) for n in (0, 1))
        source = condition
        while isinstance(source.owner, aten.ViewOp):
            source = source.owner.input
        marks = [argument for outer, argument in self.given["columns"] if is_mask(outer, self.numbers)]
        if source not in marks:
            raise NotAlikeError
        return self.product(condition, value, shape)

    def product(self, x: SSAValue, y: SSAValue, shape: tuple[int, ...]) -> SSAValue:
        """A product by element, of a shape as the model has it."""
        return self.add(Step(aten.MulOp, ()), [x, y], shape, self.route.result)

    def add(self, step: Step, operands: list[SSAValue], shape: tuple[int, ...], like: SSAValue) -> SSAValue:
        """An operation of the body whose result has a shape as the model has it, and the element type of `like`."""
        kind, axes = step.kind, self.token_axes(shape)
        rows = [operand in self.by_token for operand in operands]
        if not any(rows):
            if kind not in (aten.ViewOp, aten.PermuteOp, aten.SliceOp):
                raise NotAlikeError
            return self.inside.add(kind, operands, shape, dict(step.properties), like)
        if axes is None:
            raise NotAlikeError
        own = (self.tokens, *shape[axes:])
        operands = _aligned(self, kind, operands, rows, own, shape)
        properties = _properties(step, axes, len(shape))
        if kind is aten.ViewOp:
            return self.view(operands[0], own)
        groups: list[object] = list(operands)
        if kind is aten.LinearOp:
            groups = [*operands[:2], operands[2:]]
        elif kind is aten.CatOp:
            groups = [operands]
        result = self.inside.add(kind, groups, own, properties, like)
        self.by_token.add(result)
        if _is_zero(kind, [operand in self.zero for operand in operands]):
            self.zero.add(result)
        return result

    def view(self, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
        """A value of the body under another shape."""
        source = value
        while isinstance(source.owner, aten.ViewOp):
            source = source.owner.input
        view = self.inside.view(source, shape)
        for kind in (self.by_token, self.zero):
            if value in kind:
                kind.add(view)
        return view

    # The end.

    def summed(self, value: SSAValue) -> SSAValue:
        """The sum [T, N] over the chosen experts of a value of the body.

        Raises:
            NotAlikeError: it is not 0 where an expert is not chosen, or no expert has parameters.
        """
        if value not in self.zero or value not in self.by_token or not self.given["stacked"]:
            raise NotAlikeError
        flat = self.inside.view(value, (self.tokens, prod(shape_of(value)[1:])))
        order = [entry for entries in self.given.values() for entry in entries]
        block = Block(arg_types=[argument.type for _, argument in order])
        mapping: dict[SSAValue, SSAValue] = dict(
            zip((argument for _, argument in order), block.args, strict=True)
        )
        needed = {flat}
        for op in reversed(list(self.block.ops)):
            if not needed.isdisjoint(op.results):
                needed.update(op.operands)
        for op in self.block.ops:
            if not needed.isdisjoint(op.results):
                block.add_op(op.clone(mapping))
        block.add_op(YieldOp([mapping.get(flat, flat)]))
        rows, columns, stacked = ([outer for outer, _ in entries] for entries in self.given.values())
        experts = ExpertsOp(self.route.result, rows, columns, stacked, Region(block))
        experts.attributes.update(self.e.location)
        self.e.builder.insert(experts)
        return experts.result

    def discard(self) -> None:
        """Drop the block, and with it its uses of other values."""
        for op in reversed(list(self.block.ops)):
            op.detach()
            op.erase(safe_erase=False)


def is_zero(value: SSAValue) -> bool:
    """Whether all elements are the number 0."""
    while isinstance(value.owner, aten.ViewOp | aten.ExpandOp):
        value = value.owner.input
    return aten.full_value(value) == 0


def _alike(one: Step, other: Step) -> bool:
    same = one.kind is other.kind and len(one.operands) == len(other.operands)
    return same and dict(one.properties) == dict(other.properties)


def _aligned(
    body: OneExpert,
    kind: type[aten.AtenOp],
    operands: list[SSAValue],
    rows: list[bool],
    own: tuple[int, ...],
    shape: tuple[int, ...],
) -> list[SSAValue]:
    """Operands of an operation whose result has a row for each token, with one axis for the tokens."""
    if issubclass(kind, aten.BinaryOp) or kind in (aten.ExpandOp, aten.WhereOp):
        return [
            _row(body, operand, own) if by_token else _beside_rows(body, operand, own, shape)
            for operand, by_token in zip(operands, rows, strict=True)
        ]
    ranks = [len(shape_of(operand)) for operand in operands]
    match kind:
        case aten.LinearOp:
            fits = rows[0] and not any(rows[1:])
        case aten.MatmulOp if rows == [True, False]:
            matrix = shape_of(operands[1])
            fits = ranks[0] >= 2 and prod(matrix[:-2]) == 1
            operands = [operands[0], body.inside.view(operands[1], matrix[-2:])]
        case aten.MatmulOp if rows == [False, True]:
            fits = ranks[0] == 2 and ranks[1] >= 3
        case aten.MatmulOp:
            fits = ranks[0] == ranks[1] >= 3
        case _:
            fits = all(rows)
    if not fits:
        raise NotAlikeError
    return operands


def _row(body: OneExpert, operand: SSAValue, own: tuple[int, ...]) -> SSAValue:
    """Rows with as many axes as the result's; those of a single token may lack some, or have more."""
    shape = shape_of(operand)
    if len(shape) == len(own):
        return operand
    missing = len(own) - len(shape)
    rest = (1,) * missing + shape[1:] if missing > 0 else shape[1 - missing :]
    if body.tokens > 1 or prod(rest) != prod(shape):
        raise NotAlikeError
    return body.view(operand, (1, *rest))


def _beside_rows(
    body: OneExpert, operand: SSAValue, own: tuple[int, ...], shape: tuple[int, ...]
) -> SSAValue:
    """What has no rows, with an axis of size 1 for the tokens."""
    sizes = shape_of(operand)
    if not sizes:
        return operand
    full = (1,) * (len(shape) - len(sizes)) + sizes
    axes = len(shape) - len(own) + 1
    if prod(full[:axes]) != 1:
        raise NotAlikeError
    return body.inside.view(operand, (1, *full[axes:]))


def _properties(step: Step, axes: int, rank: int) -> dict[str, Attribute]:
    """Properties with the numbers of the axes behind those of the tokens, which become one."""
    properties = dict(step.properties)
    dim = properties.get("dim", properties.get("dims"))
    if isinstance(dim, IntegerAttr):
        if dim.value.data < axes:
            raise NotAlikeError
        properties["dim"] = IntegerAttr(dim.value.data - axes + 1, i64)
    elif isinstance(dim, DenseArrayBase):
        dims: list[int] = [int(d) for d in dim.get_values()]
        name = "dims" if "dims" in properties else "dim"
        if name == "dims":
            if dims[:axes] != list(range(axes)):
                raise NotAlikeError
            dims = [axes - 1, *dims[axes:]]
        if any(d < axes - (name == "dims") for d in dims):
            raise NotAlikeError
        properties[name] = DenseArrayBase.from_list(i64, [d - axes + 1 for d in dims])
    return properties


def _is_zero(kind: type[aten.AtenOp], operands: list[bool]) -> bool:
    """Whether the result of an operation is 0 where these of its operands are."""
    if kind is aten.MulOp or kind is aten.MatmulOp:
        return any(operands)
    if kind is aten.DivOp or issubclass(kind, KEEPS_ZERO):
        return operands[0]
    if kind is aten.LinearOp:
        return operands[0] and len(operands) == 2
    moves = aten.PermuteOp, aten.ExpandOp, aten.SliceOp, aten.SumOp, aten.MeanOp, aten.AmaxOp
    return kind in (aten.AddOp, aten.SubOp, aten.CatOp, *moves) and all(operands)
