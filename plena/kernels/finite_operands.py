"""What kernels that multiply by 0 what they leave out must not be given."""

from __future__ import annotations

from xdsl.ir import Operation

from plena.dialects.refusals import refusal
from plena.tensor.infinities import holds_infinity


def require_finite(op: Operation, doing: str) -> None:
    """Refuses operands into which the model puts infinities, for kernels that multiply by 0 what they leave out.

    Raises:
        CompileError: there is one.
    """
    if any(holds_infinity(operand) for operand in op.operands):
        raise refusal(
            op,
            f"{doing} of a tensor with infinities has no kernel",
            "Fill in a finite number such as -1e9, or do it after this operation.",
        )
