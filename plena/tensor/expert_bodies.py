"""The body of plena.experts for all experts at once: its values side by side, or summed up over the experts."""

from __future__ import annotations

from collections.abc import Callable, Set
from math import prod

from xdsl.ir import Attribute, Operation, SSAValue

from plena.dialects import aten, plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.aten_emission import Columns, Emission, columns_of, with_location


class NotSideBySideError(Exception):
    """The body computes something from what one expert made that has no form for all experts at once."""


class SideBySide:
    """A body for all experts: of a value [T, ...] of one expert, [T, E * n] of all of them, n after n.

    Args:
        op: what is replaced.
        emission: puts ops in front of it.
        in_parts: whether so many columns of each expert are multiplied by their number as parts of rows, not by a
            product that repeats the number.
    """

    def __init__(self, op: plena.ExpertsOp, emission: Emission, in_parts: Callable[[int], bool]) -> None:
        self.op = op
        self.e = emission
        self.in_parts = in_parts
        self.tokens, self.experts = shape_of(op.mask)
        arguments = op.body.block.args
        rows, columns = len(op.rows), len(op.rows) + len(op.columns)
        self.outer: dict[SSAValue, SSAValue] = dict(
            zip(arguments, [*op.rows, *op.columns, *op.stacked], strict=True)
        )
        self.columns: set[SSAValue] = set(arguments[rows:columns])
        self.stacked: set[SSAValue] = set(arguments[columns:])
        self.copies: dict[SSAValue, SSAValue] = {}

    # What a value hangs on.

    def hangs_on(self, value: SSAValue, roots: Set[SSAValue]) -> bool:
        """Whether a value is computed from one of some arguments."""
        if value in roots:
            return True
        owner = value.owner
        if not isinstance(owner, Operation) or not self.op.is_inside(value):
            return False
        return any(self.hangs_on(operand, roots) for operand in owner.operands)

    def is_alike(self, value: SSAValue) -> bool:
        """Whether all experts have the same."""
        return not self.hangs_on(value, self.columns | self.stacked)

    def is_stack(self, value: SSAValue) -> bool:
        """Whether it is a parameter of the expert, or a view of one."""
        while self.op.is_inside(value):
            op = value.owner
            if not isinstance(op, aten.ViewOp | aten.PermuteOp | aten.SliceOp):
                break
            value = op.input
        return value in self.stacked

    # Values outside of the body.

    def alike(self, value: SSAValue) -> SSAValue:
        """What all experts have, computed once."""
        if not self.op.is_inside(value):
            return value
        if value in self.outer:
            return self.outer[value]
        if value not in self.copies:
            owner = value.owner
            assert isinstance(owner, Operation)
            copy = owner.clone({operand: self.alike(operand) for operand in owner.operands})
            self.e.builder.insert(copy)
            self.copies.update(zip(owner.results, copy.results, strict=True))
        return self.copies[value]

    def stack(self, value: SSAValue) -> SSAValue:
        """The parameters [E, ...] of all experts of which a value is one expert's."""
        if value in self.stacked:
            return self.outer[value]
        owner = value.owner
        match owner:
            case aten.ViewOp():
                return self.e.view(self.stack(owner.input), (self.experts, *shape_of(value)))
            case aten.PermuteOp():
                return self.e.permute(self.stack(owner.input), [0, *(d + 1 for d in owner.dims.get_values())])
            case aten.SliceOp():
                return self.e.columns(self.stack(owner.input), owner.dim.value.data + 1, columns_of(owner))
            case _:
                raise NotSideBySideError

    def spread(self, numbers: SSAValue, size: int) -> SSAValue:
        """Each column of [T, E] `size` times: a product with zeros and ones, which is exact."""
        if 1 in (size, self.experts):
            return numbers
        experts = self.experts
        ones = plena.ParameterOp(spreading(experts, size), (experts, experts * size))
        ones.attributes.update(self.e.location)
        self.e.builder.insert(ones)
        return self.e.add(aten.MatmulOp, [numbers, ones.result], (shape_of(numbers)[0], experts * size))

    def times(self, wide: SSAValue, numbers: SSAValue, size: int) -> SSAValue:
        """Numbers [T, E] times the `size` columns of each expert."""
        if 1 in (size, self.experts) or not self.in_parts(size):
            return self.e.binary(aten.MulOp, wide, self.spread(numbers, size))
        product = plena.MulOp(wide, numbers)
        product.attributes.update(self.e.location)
        self.e.builder.insert(product)
        return product.result

    # All experts side by side.

    def wide(self, value: SSAValue, part: Columns | None = None) -> SSAValue:
        """Columns of a value [T, ...] of all experts, [T, E * count]; [1, E * count] of parameters.

        Raises:
            NotSideBySideError: it is no such value.
        """
        size = self._size(value)
        part = part or Columns(0, 1, size)
        if value in self.columns:
            return self.outer[value]
        if self.is_stack(value):
            own = self.e.columns(self.e.view(self.stack(value), (self.experts, size)), 1, part)
            return self.e.view(own, (1, self.experts * part.count))
        if self.is_alike(value):
            return self._repeated(value, part)
        owner = value.owner
        match owner:
            case aten.ViewOp():
                return self.wide(owner.input, part)
            case aten.SliceOp():
                return self.wide(owner.input, part.of(self._flat_columns(owner)))
            case aten.UnaryOp():
                x = self.wide(owner.input, part)
                with_location(self.e, owner)
                return self.e.add(type(owner), [x], shape_of(x), dict(owner.properties), value)
            case aten.BinaryOp():
                x, y = (self._operand(operand, size, part) for operand in (owner.input, owner.other))
                with_location(self.e, owner)
                shapes = [shape_of(v) for v in (x, y) if shape_of(v)]
                shape = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
                return self.e.add(type(owner), [x, y], shape, dict(owner.properties), value)
            case aten.LinearOp() | aten.MatmulOp():
                return self._product(owner, part)
            case _:
                raise NotSideBySideError

    def _size(self, value: SSAValue) -> int:
        """Elements of a value for each token."""
        shape = shape_of(value)
        tokens = shape[0] if shape and shape[0] == self.tokens and not self.is_stack(value) else 1
        return prod(shape) // tokens

    def _flat_columns(self, op: aten.SliceOp) -> Columns:
        """The columns that a slice takes of the elements of a token."""
        shape, axis = shape_of(op.input), op.dim.value.data
        if axis == 0 or prod(shape[1:]) != shape[axis]:
            raise NotSideBySideError
        return columns_of(op)

    def _operand(self, value: SSAValue, size: int, part: Columns) -> SSAValue:
        """An operand of an operation by element whose result has so many elements a token."""
        if self.is_alike(value) and prod(shape_of(value)) == 1:
            return self.e.view(self.alike(value), ())
        own = self._size(value)
        if own == size:
            return self.wide(value, part)
        if own != 1:
            raise NotSideBySideError
        if self.is_alike(value):
            return self.e.view(self.alike(value), (self.tokens, 1))
        return self.spread(self.wide(value), part.count)

    def _repeated(self, value: SSAValue, part: Columns) -> SSAValue:
        """What all experts have, for each of them."""
        alone = self.alike(value)
        size = self._size(value)
        rows = prod(shape_of(alone)) // size
        own = self.e.view(self.e.columns(self.e.view(alone, (rows, size)), 1, part), (rows, 1, part.count))
        whole = self.e.add(aten.ExpandOp, [own], (rows, self.experts, part.count))
        return self.e.view(whole, (rows, self.experts * part.count))

    def _product(self, op: aten.LinearOp | aten.MatmulOp, part: Columns) -> SSAValue:
        """Rows that all experts have times each one's matrix: one product with all of them."""
        weight = op.weight if isinstance(op, aten.LinearOp) else op.other
        bias = op.bias if isinstance(op, aten.LinearOp) else None
        given, factor = self._scaled(op.input)
        if not self.is_alike(given) or not self.is_stack(weight):
            raise NotSideBySideError
        matrices = self.stack(weight)
        if isinstance(op, aten.MatmulOp):
            matrices = self.e.permute(matrices, (0, 2, 1))
        inner = shape_of(matrices)[2]
        matrix = self.e.view(self.e.columns(matrices, 1, part), (self.experts * part.count, inner))
        rows = self.e.view(self.alike(given), (self.tokens, inner))
        with_location(self.e, op)
        size = self.experts * part.count
        product = self.e.add(aten.LinearOp, [rows, matrix, []], (self.tokens, size))
        if factor is not None:
            product = self.times(product, self.wide(factor), part.count)
        return product if bias is None else self.e.binary(aten.AddOp, product, self.wide(bias, part))

    def _scaled(self, value: SSAValue) -> tuple[SSAValue, SSAValue | None]:
        """Rows, and a number of each expert and token that they are multiplied by if there is one: what is linear in
        the rows may be multiplied instead."""
        source = value
        while isinstance(source.owner, aten.ViewOp) and self.op.is_inside(source):
            source = source.owner.input
        product = source.owner
        if isinstance(product, aten.MulOp) and self.op.is_inside(source) and not self.is_alike(value):
            for rows, factor in ((product.input, product.other), (product.other, product.input)):
                if self.is_alike(rows) and self._size(rows) == self._size(value) and self._size(factor) == 1:
                    return rows, factor
        return value, None

    # Sums over the experts.

    def summed(self, value: SSAValue, weights: SSAValue) -> SSAValue:
        """The sum over the experts of weights [T, E] times a value [T, ...], as [T, n].

        Raises:
            NotSideBySideError: it has no form without a loop over the experts.
        """
        if self.is_alike(value) and self._size(value) * self.tokens == prod(shape_of(value)):
            return self._times(weights, self.e.view(self.alike(value), (self.tokens, self._size(value))))
        if self.is_stack(value):
            numbers = self.e.view(self.stack(value), (self.experts, self._size(value)))
            return self.e.add(aten.MatmulOp, [weights, numbers], (self.tokens, self._size(value)))
        owner = value.owner
        match owner:
            case aten.ViewOp() if self._size(owner.input) == self._size(value):
                return self.summed(owner.input, weights)
            case aten.AddOp() | aten.SubOp() if self._size(owner.input) == self._size(owner.other):
                parts = [self.summed(operand, weights) for operand in (owner.input, owner.other)]
                with_location(self.e, owner)
                return self.e.binary(type(owner), *parts)
            case aten.MulOp():
                return self._weighted(owner, weights)
            case aten.LinearOp() | aten.MatmulOp():
                return self._contraction(owner, weights)
            case _:
                return self._added_up(value, weights)

    def _times(self, weights: SSAValue, rows: SSAValue) -> SSAValue:
        return self.e.binary(aten.MulOp, rows, self.e.total(weights, 1, keepdim=True))

    def _weighted(self, op: aten.MulOp, weights: SSAValue) -> SSAValue:
        """A product: one number for each expert and token belongs to the weights, what all have stays outside."""
        size = self._size(op.result)
        for factor, value in ((op.input, op.other), (op.other, op.input)):
            if self._size(value) != size:
                continue
            with_location(self.e, op)
            if self._size(factor) == 1 and not self.is_alike(factor):
                return self.summed(value, masked(self.e, weights, self.wide(factor), self.op.mask))
            if self.is_alike(factor) and self._size(factor) == 1:
                total, own = self.summed(value, weights), self.alike(factor)
                by_token = prod(shape_of(own)) == self.tokens > 1
                own = self.e.view(own, (self.tokens, 1) if by_token else ())
                return self.e.add(aten.MulOp, [total, own], shape_of(total))
        return self._added_up(op.result, weights)

    def _contraction(self, op: aten.LinearOp | aten.MatmulOp, weights: SSAValue) -> SSAValue:
        """What experts have side by side times their matrices one below the other."""
        weight = op.weight if isinstance(op, aten.LinearOp) else op.other
        bias = op.bias if isinstance(op, aten.LinearOp) else None
        if not self.is_stack(weight):
            raise NotSideBySideError
        order = (1, 0, 2) if isinstance(op, aten.LinearOp) else (2, 0, 1)
        matrices = self.e.permute(self.stack(weight), order)
        features, _, inner = shape_of(matrices)
        hidden = self.wide(op.input)
        with_location(self.e, op)
        weighted = self.times(hidden, weights, inner)
        matrix = self.e.view(matrices, (features, self.experts * inner))
        total = self.e.add(aten.LinearOp, [weighted, matrix, []], (self.tokens, features))
        return total if bias is None else self.e.binary(aten.AddOp, total, self.summed(bias, weights))

    def _added_up(self, value: SSAValue, weights: SSAValue) -> SSAValue:
        """Any other value: all of them times their weights, then the sum."""
        size = self._size(value)
        weighted = self.times(self.wide(value), weights, size)
        return self.e.total(self.e.view(weighted, (self.tokens, self.experts, size)), 1, keepdim=False)


def masked(e: Emission, weights: SSAValue, numbers: SSAValue, mask: SSAValue) -> SSAValue:
    """weights * numbers; the numbers alone if the weights are the mask and it has been multiplied into them."""
    if weights is mask and _is_masked(numbers, mask):
        return numbers
    return e.binary(aten.MulOp, weights, numbers)


def _is_masked(numbers: SSAValue, mask: SSAValue) -> bool:
    owner = numbers.owner
    match owner:
        case aten.MulOp():
            return mask in owner.operands or any(_is_masked(operand, mask) for operand in owner.operands)
        case aten.DivOp():
            return _is_masked(owner.input, mask)
        case _:
            return numbers is mask


def spreading(experts: int, size: int) -> Attribute:
    """Zeros and ones [E, E * size]: 1 where column c belongs to expert c // size."""
    one, zeros = plena.FullAttr(1.0, (1,)), plena.FullAttr(0.0, (experts,))
    line = plena.expanded(plena.ConcatAttr([one, zeros], 0), (experts, experts + 1))
    flat = plena.reshaped(line, (experts * (experts + 1),))
    first = plena.sliced(flat, 0, 0, experts * experts)
    if size == 1:
        return plena.reshaped(first, (experts, experts))
    unit = plena.reshaped(first, (experts, experts, 1))
    return plena.reshaped(plena.expanded(unit, (experts, experts, size)), (experts, experts * size))
