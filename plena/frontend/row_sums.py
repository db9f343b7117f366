"""torch.einsum of rows and of what belongs to each of them, for models that choose experts.

torch decomposes every einsum into permuted operands of one batched product. Where an operand hangs on the choice of
experts its axes of tokens and slots have to stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch.export import ExportedProgram

_CHOOSE = (
    "aten.topk.default",
    "aten.sort.default",
    "aten.sort.stable",
    "aten.argmax.default",
    "aten.max.dim",
)


_EINSUM = torch.ops.aten.einsum.default


def chooses(program: ExportedProgram) -> bool:
    """Whether a graph has an operator that may choose experts."""
    return any(str(node.target) in _CHOOSE for node in program.graph.nodes if node.op == "call_function")


def einsum(equation: str, tensors: Sequence[Tensor], path: Sequence[int] | None = None) -> Tensor:
    """aten.einsum, of rows as `row_sum` has it, of others by torch's own steps."""
    found = row_sum(equation, tensors)
    if found is not NotImplemented:
        return found
    # `decompose` would come back here: while a graph is decomposed this function is the operator's kernel.
    return _EINSUM._op_dk(  # pyright: ignore[reportPrivateUsage]
        DispatchKey.CompositeImplicitAutograd, equation, tensors, path=path
    )


def row_sum(equation: str, tensors: Sequence[Tensor]) -> Tensor:
    """aten.einsum of a matrix or a vector for each row and a vector or a number for it; NotImplemented of others.

    `tkh,tk->th` is a product by element and its sum; `tki,tkih->tkh` a product of a row and a matrix for each (t, k),
    also where all k have one row, as in `th,tkhi->tki`.
    """
    given, arrow, result = equation.replace(" ", "").partition("->")
    labels = given.split(",")
    if (
        not arrow
        or len(labels) != 2
        or any(len(set(axes)) != len(axes) or "." in axes for axes in (*labels, result))
    ):
        return NotImplemented
    pairs = sorted(zip(labels, tensors, strict=True), key=lambda pair: len(pair[0]), reverse=True)
    (many, large), (few, small) = pairs
    if len(many) < 3 or len(few) < 2:
        return NotImplemented
    if set(few) < set(many):
        return _weighted(many, large, few, small, result)
    return NotImplemented


def _weighted(many: str, large: Tensor, few: str, small: Tensor, result: str) -> Tensor:
    """A product with numbers of some axes, summed up along axes of theirs; or one with a vector along the last axes."""
    summed = [axis for axis, label in enumerate(many) if label not in result]
    kept = "".join(label for label in many if label in result)
    ordered = few == "".join(label for label in many if label in few)
    if len(summed) > 1 or kept != result or not ordered or any(many[axis] not in few for axis in summed):
        return NotImplemented
    inner = few[-1]
    # Of three axes they are rows of each token and numbers for them, of all experts or of the chosen ones.
    if (
        (len(many) > 3 or many[-1] == inner)
        and summed == [many.index(inner)]
        and many.index(inner) >= len(many) - 2
    ):
        return _of_matrices(many, large, few, small)
    for axis, label in enumerate(many):
        if label not in few:
            small = small.unsqueeze(axis)
    product = large * small
    return product.sum(summed) if summed else product


def _of_matrices(many: str, large: Tensor, few: str, small: Tensor) -> Tensor:
    """The product of a matrix with the row of its place, or of the places that share one."""
    rows = few[:-1]
    for axis, label in enumerate(many[:-2]):
        if label not in rows:
            small = small.unsqueeze(axis)
    if many[-1] == few[-1]:
        return torch.matmul(large, small.unsqueeze(-1)).squeeze(-1)
    return torch.matmul(small.unsqueeze(-2), large).squeeze(-2)
