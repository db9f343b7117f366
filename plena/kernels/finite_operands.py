"""What kernels that multiply by 0 what they leave out must not be given."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import AttentionOp
from plena.dialects.refusals import origin_of, refusal
from plena.kernels.context import KernelContext


def require_finite(
    ctx: KernelContext,
    op: Operation,
    doing: str,
    *,
    between_rows: bool = False,
    behind_columns: bool = False,
    of: Sequence[SSAValue] = (),
) -> None:
    """Refuses operands that may hold NaN or infinity in some elements of a row, for kernels that multiply by 0 what
    they leave out; with `between_rows` in any element, for those that subtract rows from each other; with
    `behind_columns` in the lanes behind the last column alone.

    Only those named by `of`, if any are.

    Raises:
        CompileError: there is one.
    """
    for operand in of or op.operands:
        found = ctx.undefined.of(operand) if between_rows else ctx.undefined.in_rows_of(operand)
        if behind_columns:
            found = ctx.undefined.behind_columns_of(operand)
        for source in sorted(found, key=lambda source: source.name):
            if isinstance(source, AttentionOp):
                continue
            raise refusal(
                op,
                f"{doing} of a tensor with infinities or NaN, of {origin_of(source)}, has no kernel",
                "Do it before what makes them, or keep that finite: fill in a number such as -1e9, divide by "
                "x.abs().clamp(min=1e-6), take torch.sqrt(x.clamp(min=0)), torch.acos(x.clamp(-1, 1)).",
            )
