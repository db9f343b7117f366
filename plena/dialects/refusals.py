"""Refusals of tensor operations: the one place that adds operator, shapes and line of the model.

Passes and kernels say why and what to write instead; `refusal` adds the rest. What goes wrong unforeseen while an
operation is imported, converted or lowered is a bug of the compiler, but the user still has to learn at which
operation: `BlamedOn` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from xdsl.dialects.builtin import StringAttr, TensorType
from xdsl.ir import Operation, SSAValue

from plena.dialects.provenance import MODULE_ATTRIBUTE, SOURCE_ATTRIBUTE
from plena.errors import CompileError, PlenaError

UNSUPPORTED = "Replace it in the model by supported operators (docs/tensor_level.md), or compute it outside."
"""What to do about an operator of which no form is supported."""

ONES_OF_CHOSEN = (
    "1 for every chosen expert is `torch.zeros_like(scores).scatter(-1, ids, 1.0)`; other numbers are chosen by "
    "`torch.where(x > c, a, b)`, whose sides must agree at c."
)
"""What to write instead of comparing computed numbers, as the weights of experts with 0."""


class OperatorError(CompileError):
    """An operator of the model, or a form of it, that cannot be compiled.

    Args:
        operator: its name with the types of what it takes and gives, ``aten.mm on ([2, 3] f32) -> ([2, 2] f32)``.
        why: what about it, None if no form of it is supported.
        where: line of the model and module path, None if nothing is known.
        hint: what to write instead.
    """

    operator: str

    def __init__(self, operator: str, why: str | None, where: str | None, hint: str) -> None:
        what = f"no kernel for {operator}" + (f": {why}" if why else "")
        super().__init__(what, where or "the forward of the model", hint)
        self.operator = operator


class CompilerBug(OperatorError):
    """The compiler failed at an operator in a way that nobody foresaw."""


def refusal(op: Operation, why: str | None, hint: str) -> OperatorError:
    """The error for a tensor operation that cannot be compiled.

    Args:
        op: an operation of `aten` or `plena`.
        why: what about it, without its name and shapes; None if no form of it is supported.
        hint: what to write instead.
    """
    return OperatorError(signature(name_of(op), op.operands, op.results), why, place_of(op), hint)


def bug(error: Exception, operator: str, where: str | None) -> CompilerBug:
    """The error for what nobody foresaw at an operator."""
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
    hint = (
        "This is a bug of the compiler, please report it; writing this operator in another way may avoid it."
    )
    return CompilerBug(operator, f"the compiler failed ({text})", where, hint)


class BlamedOn:
    """What is raised inside says at which operation.

    Raises:
        OperatorError: from a CompileError that does not name it.
        CompilerBug: from any exception that is no PlenaError.
    """

    __slots__ = ("op", "operands", "results")

    def __init__(self, op: Operation) -> None:
        self.op = op
        # Taken now: a rewrite that fails half-way may have erased the operation.
        self.operands, self.results = tuple(op.operands), tuple(op.results)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, OperatorError):
            return
        if isinstance(error, PlenaError) and not isinstance(error, CompileError):
            return
        operator, where = signature(name_of(self.op), self.operands, self.results), place_of(self.op)
        if isinstance(error, CompileError):
            hint = error.hint or UNSUPPORTED
            raise OperatorError(operator, error.what, where or error.where, hint) from error
        raise bug(error, operator, where) from error


def name_of(op: Operation) -> str:
    """The operator as torch spells it, where the operation is one of torch's."""
    operator = op.properties.get("operator")
    if isinstance(operator, StringAttr):
        return operator.data
    return getattr(op, "OVERLOAD", "") or op.name


def signature(name: str, operands: Sequence[SSAValue], results: Sequence[SSAValue]) -> str:
    """An operator with the types of what it takes and gives."""
    return operator_text(name, map(type_text, operands), map(type_text, results))


def operator_text(name: str, taken: Sequence[str] | map[str], given: Sequence[str] | map[str]) -> str:
    """`name on ([2, 3] f32, [3] f32) -> ([2, 3] f32)`."""
    return f"{name} on ({', '.join(taken)}) -> ({', '.join(given)})"


def type_text(value: SSAValue) -> str:
    """`[2, 3] f32`."""
    if not isinstance(value.type, TensorType):
        return str(value.type)
    return f"{list(value.type.get_shape())} {value.type.get_element_type()}"


def place_of(op: Operation) -> str | None:
    """`file:line (module.path)` of an op, whichever of it is known; of constants that of their first reader."""
    source, module = op.attributes.get(SOURCE_ATTRIBUTE), op.attributes.get(MODULE_ATTRIBUTE)
    if source is None and module is None and not op.operands:
        places = (
            place_of(use.operation) for result in op.results for use in result.uses if use.operation.operands
        )
        return next((place for place in places if place is not None), None)
    parts = [source.data] if isinstance(source, StringAttr) else []
    if isinstance(module, StringAttr):
        parts.append(f"({module.data})" if parts else module.data)
    return " ".join(parts) or None


def origin_of(op: Operation) -> str:
    """The name of an op, and its place where that is known, as refusals say where numbers come from."""
    place = place_of(op)
    return name_of(op) + (f" at {place}" if place else "")
