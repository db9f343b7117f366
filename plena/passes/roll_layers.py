"""`roll-layers`: equal consecutive layers become one plena.repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from plena.dialects.plena import (
    BitOp,
    CompareOp,
    ExpandOp,
    ParameterOp,
    RearrangeOp,
    ReshapeOp,
    StateOp,
)
from plena.dialects.plena.control import RepeatOp, YieldOp
from plena.dialects.provenance import MODULE_ATTRIBUTE


@dataclass(frozen=True)
class RollLayers(ModulePass):
    """Finds the longest run of operations that repeats with other parameters and makes it a region.

    Two operations repeat each other when they are equal except for parameters and places in the model, and their
    operands come from the same places: the same value from before the run, or values one period apart. What one
    period computes and the next one reads is carried.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
            %a = plena.parameter @a : tensor<4x4xf32>
            %0 = plena.linear %x, %a : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
            %b = plena.parameter @b : tensor<4x4xf32>
            %1 = plena.linear %0, %b : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
            func.return %1 : tensor<4x4xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
            %0 = plena.repeat %x {times = 2 : i64, stacked = [[@a, @b]]} : (tensor<4x4xf32>) -> tensor<4x4xf32> {
            ^bb0(%1: tensor<4x4xf32>, %2: tensor<4x4xf32>):
              %3 = plena.linear %1, %2 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
              plena.yield %3 : tensor<4x4xf32>
            }
            func.return %0 : tensor<4x4xf32>
          }
        }
    """

    name = "roll-layers"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.body.block.ops:
            if isinstance(function, FuncOp):
                _tests_first(function)
                run = _best_run(function)
                if run is not None:
                    _roll(function, run)


_TESTS = (CompareOp, BitOp)
"""What the host makes of masks; all layers share it, wherever the first one stands that asks for it."""

_SHAPES = (ReshapeOp, RearrangeOp, ExpandOp)


def _tests_first(function: FuncOp) -> None:
    """Moves the host's tests of arguments to the front, where they are no part of the first layer."""
    block = function.body.block
    front: set[Operation] = set()
    last: Operation | None = None
    for op in list(block.ops):
        of_front = all(isinstance(v, BlockArgument) or v.owner in front for v in op.operands)
        shaped = isinstance(op, _SHAPES) and (op.operands[0].owner in front or _is_shared(op))
        tested = isinstance(op, _TESTS) or shaped
        if not (of_front and tested):
            continue
        front.add(op)
        op.detach()
        if last is None:
            first = block.first_op
            assert first is not None
            block.insert_op_before(op, first)
        else:
            block.insert_op_after(op, last)
        last = op


def _is_shared(op: Operation) -> bool:
    """Whether a view of an argument has several readers: a mask that all layers have."""
    return len(list(op.results[0].uses)) > 1


@dataclass(frozen=True)
class _Run:
    """`times` periods of `period` operations from number `start` of the operations that are not parameters.

    `carried` are (initial value, value at the end of the first period) pairs.
    """

    ops: Sequence[Operation]
    start: int
    period: int
    times: int
    carried: tuple[tuple[SSAValue, SSAValue], ...]

    @property
    def first(self) -> Sequence[Operation]:
        return self.ops[self.start : self.start + self.period]

    def operands(self, index: int, number: int) -> tuple[SSAValue, ...]:
        """What an operation of the period has as an operand, by iteration."""
        first = self.start + index
        return tuple(self.ops[first + n * self.period].operands[number] for n in range(self.times))

    @property
    def end(self) -> int:
        return self.start + self.period * self.times


def _best_run(function: FuncOp) -> _Run | None:
    """The run with the most iterations, then the fewest carried values."""
    ops = [op for op in function.body.block.ops if not isinstance(op, ParameterOp | StateOp | ReturnOp)]
    place: Places = {v: (index, n) for index, op in enumerate(ops) for n, v in enumerate(op.results)}
    signatures = [_signature(op) for op in ops]
    best: _Run | None = None
    for period in _periods(signatures):
        for low, high in _stretches(ops, signatures, place, period):
            for start in range(low, min(low + period, high + 1)):
                times = (high + period - start) // period
                while times > 1:
                    carried = _carried(ops, place, start, period, times)
                    run = None if carried is None else _Run(ops, start, period, times, carried)
                    if run is not None and _has_states_apart(run):
                        if best is None or _rank(run) < _rank(best):
                            best = run
                        break
                    times -= 1
    return best


def _has_states_apart(run: _Run) -> bool:
    """Whether a state that not all iterations share belongs to one of them: in HBM it has one place."""
    stacked, _ = _parameters(run)
    seen: set[SSAValue] = set()
    for values in stacked:
        for n, value in enumerate(values):
            if not isinstance(value.owner, StateOp):
                continue
            first = run.start + n * run.period
            iteration = run.ops[first : first + run.period]
            if value in seen or any(use.operation not in iteration for use in value.uses):
                return False
            seen.add(value)
    return True


def _rank(run: _Run) -> tuple[int, int, int]:
    return (-run.period * run.times, len(run.carried), run.start)


def _signature(op: Operation) -> tuple[object, ...]:
    """What must be equal in operations that repeat each other, operands apart."""
    types = tuple(v.type for v in op.operands), tuple(v.type for v in op.results)
    regions = tuple(_body_signature(block) for region in op.regions for block in region.blocks)
    return (op.name, tuple(sorted(op.properties.items())), *types, *regions)


def _body_signature(block: Block) -> tuple[object, ...]:
    """What must be equal in regions, places in the model apart: a value is its number in the block."""
    numbers: dict[SSAValue, int] = {value: n for n, value in enumerate(block.args)}
    found: list[object] = [tuple(value.type for value in block.args)]
    for op in block.ops:
        found.append((_signature(op), tuple(numbers.get(value, value) for value in op.operands)))
        for value in op.results:
            numbers[value] = len(numbers)
    return tuple(found)


def _periods(signatures: Sequence[tuple[object, ...]]) -> list[int]:
    """Distances between equal operations, the likeliest first."""
    last: dict[tuple[object, ...], int] = {}
    distances: Counter[int] = Counter()
    for index, signature in enumerate(signatures):
        if signature in last:
            distances[index - last[signature]] += 1
        last[signature] = index
    return [distance for distance, _ in distances.most_common(4)]


Places = dict[SSAValue, tuple[int, int]]


def _stretches(
    ops: Sequence[Operation], signatures: Sequence[tuple[object, ...]], place: Places, period: int
) -> list[tuple[int, int]]:
    """Maximal [low, high) such that every operation in it is repeated one period later."""
    stretches: list[tuple[int, int]] = []
    low = 0
    for index in range(len(ops)):
        repeated = index + period < len(ops) and signatures[index] == signatures[index + period]
        if repeated and _same_operands(ops[index], ops[index + period], place, period):
            continue
        if index > low:
            stretches.append((low, index))
        low = index + 1
    return stretches


def _same_operands(first: Operation, second: Operation, place: Places, period: int) -> bool:
    """Whether operands correspond; one from outside may become one of a period before (an initial value)."""
    for u, v in zip(first.operands, second.operands, strict=True):
        if isinstance(u.owner, ParameterOp | StateOp) or isinstance(v.owner, ParameterOp | StateOp):
            if type(u.owner) is not type(v.owner):
                return False
            continue
        if u is v or v not in place:
            if u is not v:
                return False
            continue
        index, number = place[v]
        if u in place and place[u] != (index - period, number) and place[u][0] >= index - period:
            return False
    return True


def _carried(
    ops: Sequence[Operation], place: Places, start: int, period: int, times: int
) -> tuple[tuple[SSAValue, SSAValue], ...] | None:
    """The carried values of a run, None if it is no repetition or something else leaves it."""
    pairs: dict[SSAValue, SSAValue] = {}
    for index in range(start, start + period):
        for n in range(1, times):
            now, before = ops[index + n * period], ops[index + (n - 1) * period]
            for u, v in zip(before.operands, now.operands, strict=True):
                if isinstance(v.owner, ParameterOp | StateOp):
                    continue
                if u is v:
                    # What all iterations read comes from before them: the third may not read what the first has made.
                    if v in place and place[v][0] >= start:
                        return None
                    continue
                if v not in place:
                    return None
                position, number = place[v]
                first = start + n * period
                if position >= first:
                    if place.get(u) != (position - period, number):
                        return None
                    continue
                if position < first - period:
                    return None
                if n > 1 and place.get(u) != (position - period, number):
                    return None
                if n == 1:
                    if u in place and place[u][0] >= start:
                        return None
                    if pairs.setdefault(u, v) is not v:
                        return None
    return _only_carried_leave(ops, place, start, period, times, pairs)


def _only_carried_leave(
    ops: Sequence[Operation],
    place: Places,
    start: int,
    period: int,
    times: int,
    pairs: dict[SSAValue, SSAValue],
) -> tuple[tuple[SSAValue, SSAValue], ...] | None:
    """The pairs, unless a value of the run other than the last carried ones is used behind it."""
    shift = (times - 1) * period
    leaving = {ops[place[v][0] + shift].results[place[v][1]] for v in pairs.values()}
    inside = set(ops[start : start + times * period])
    for op in inside:
        for value in op.results:
            if value not in leaving and any(use.operation not in inside for use in value.uses):
                return None
    return tuple(pairs.items())


def _roll(function: FuncOp, run: _Run) -> None:
    """Replaces the run by a plena.repeat."""
    stacked, invariant = _parameters(run)
    types = [initial.type for initial, _ in run.carried]
    block = Block(arg_types=[*types, *(values[0].type for values in stacked)])
    carried = {initial: argument for (initial, _), argument in zip(run.carried, block.args, strict=False)}
    arguments = dict(zip(stacked, block.args[len(types) :], strict=True))
    mapping: dict[SSAValue, SSAValue] = {}
    for index, op in enumerate(run.first):
        copy = op.clone(mapping)
        for number, operand in enumerate(op.operands):
            # By position: what one operand carries another one may read unchanged in all iterations.
            values = run.operands(index, number)
            if isinstance(operand.owner, ParameterOp | StateOp):
                copy.operands[number] = arguments.get(values, operand)
            elif operand in carried and values[1] is not operand:
                copy.operands[number] = carried[operand]
        _generalise(copy, run.ops[run.start + run.period + index])
        block.add_op(copy)
    block.add_op(YieldOp([mapping[value] for _, value in run.carried]))
    expressions = [[_expression(value) for value in values] for values in stacked]
    repeat = RepeatOp(run.times, [initial for initial, _ in run.carried], expressions, Region(block))
    body = function.body.block
    body.insert_op_before(repeat, run.first[0])
    for value in invariant:
        parameter = value.owner
        assert isinstance(parameter, ParameterOp | StateOp)
        if not parameter.is_before_in_block(repeat):
            parameter.detach()
            body.insert_op_before(parameter, repeat)
    shift = (run.times - 1) * run.period
    numbers: Places = {v: (i, n) for i, op in enumerate(run.ops) for n, v in enumerate(op.results)}
    for (_, value), output in zip(run.carried, repeat.outputs, strict=True):
        index, number = numbers[value]
        run.ops[index + shift].results[number].replace_all_uses_with(output)
    for op in reversed(run.ops[run.start : run.end]):
        op.detach()
        op.erase(safe_erase=False)
    for op in list(body.ops):
        if isinstance(op, ParameterOp | StateOp) and not op.result.uses:
            op.detach()
            op.erase()


def _parameters(run: _Run) -> tuple[list[tuple[SSAValue, ...]], list[SSAValue]]:
    """Parameters by position in the period: those that differ between iterations, and those that do not."""
    stacked: dict[tuple[SSAValue, ...], None] = {}
    invariant: dict[SSAValue, None] = {}
    for index, op in enumerate(run.first):
        for number, operand in enumerate(op.operands):
            if isinstance(operand.owner, ParameterOp | StateOp):
                values = run.operands(index, number)
                if len({_expression(v) for v in values}) == 1:
                    invariant[operand] = None
                else:
                    stacked[values] = None
    return list(stacked), list(invariant)


def _expression(value: SSAValue) -> Attribute:
    parameter = value.owner
    assert isinstance(parameter, ParameterOp | StateOp)
    return parameter.value


def _generalise(op: Operation, second: Operation) -> None:
    """The module path of all iterations: components in which the first two differ become `*`."""
    here, there = op.attributes.get(MODULE_ATTRIBUTE), second.attributes.get(MODULE_ATTRIBUTE)
    if not isinstance(here, StringAttr) or not isinstance(there, StringAttr):
        return
    parts, others = here.data.split("."), there.data.split(".")
    if len(parts) == len(others):
        path = ".".join(a if a == b else "*" for a, b in zip(parts, others, strict=True))
        op.attributes[MODULE_ATTRIBUTE] = StringAttr(path)
