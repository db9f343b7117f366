"""How heads lie in the lanes of a panel: what attention wants of the kernels that compute its operands."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from plena.dialects.plena import (
    AttentionOp,
    GroupedRowsOp,
    MulScalarOp,
    RearrangeOp,
    ReshapeOp,
    RotaryOp,
    WriteRowsOp,
)
from plena.dialects.refusals import refusal
from plena.host.view import Pad, Reshape
from plena.integers import round_up
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.tensors import HostTensor, Panel
from plena.machine.number_formats import Mx
from plena.machine.target import Target


@dataclass(frozen=True)
class HeadLayout:
    """`groups` heads, `pitch` lanes from one to the next: [rows, groups * size] with gaps of pitch - size lanes."""

    groups: int
    pitch: int

    def with_gaps(self, tensor: HostTensor) -> HostTensor:
        """A staged tensor [groups * size, ...] with zeros in the gaps: [groups * pitch, ...]."""
        size, rest = tensor.shape[0] // self.groups, tensor.shape[1:]
        return tensor.through(
            Reshape((self.groups, size, *rest)),
            Pad(1, 0, self.pitch - size),
            Reshape((self.groups * self.pitch, *rest)),
        )


def heads_per_block(shape: AttentionShape, target: Target) -> int:
    """How many heads share a column block of computed queries, keys and values.

    Narrow ones do when every head has its own keys, so that a head has the same lanes everywhere, and when those are
    whole slices (broadcast products), write-out blocks and MX blocks.
    """
    size, vlen = shape.head_dim, target.vlen
    if size >= vlen or vlen % size or size != shape.value_dim or shape.group > 1:
        return 1
    key_value = target.precision["HBM_M_KV_TYPE"]
    aligned = size % target.blen == 0 and size % (key_value.block if isinstance(key_value, Mx) else 1) == 0
    if target.has_broadcast:
        aligned = aligned and size % target.hlen == 0
    return vlen // size if aligned and shape.kv_heads % (vlen // size) == 0 else 1


def head_pitch(shape: AttentionShape, size: int, target: Target) -> int:
    """Lanes from one head to the next, `size` features each: heads that do not share blocks begin one each."""
    return size if heads_per_block(shape, target) > 1 else round_up(size, target.vlen)


def wanted_layout(value: SSAValue, target: Target) -> HeadLayout | None:
    """The layout that an attention wants a computed tensor to have, None if no attention reads it.

    Kernels between that keep heads where they are pass the wish on.
    """
    for use in value.uses:
        op = use.operation
        if isinstance(op, AttentionOp) and use.index < 3:
            shape = AttentionShape.of(op)
            size = shape.value_dim if use.index == 2 else shape.head_dim
            groups = shape.heads if use.index == 0 else shape.kv_heads
            return HeadLayout(groups, head_pitch(shape, size, target))
        passes_on = isinstance(op, RotaryOp | GroupedRowsOp | MulScalarOp) and use.index == 0
        if passes_on or (isinstance(op, WriteRowsOp) and use.index < 2):
            found = wanted_layout(op.results[0], target)
            if found is not None:
                return found
    return None


def require_layout(op: AttentionOp, panel: Panel, wanted: HeadLayout) -> None:
    """Raises CompileError unless a computed operand has its heads where the kernel needs them."""
    found = (panel.groups, panel.group_pitch)
    flat = panel.is_packed and wanted.pitch * wanted.groups == panel.columns
    if found != (wanted.groups, wanted.pitch) and not flat:
        raise refusal(
            op,
            f"the heads of a computed query, key or value lie {panel.columns // wanted.groups} lanes apart, "
            f"attention needs {wanted.pitch}",
            "Let a linear layer, a norm of each head or a rotary embedding be what computes it, or use a head size "
            f"of {wanted.pitch}.",
        )


def is_only_returned(value: SSAValue) -> bool:
    """Whether only the host reads a result: padding lanes and rows need not be defined then."""
    for use in value.uses:
        op = use.operation
        if isinstance(op, RearrangeOp | ReshapeOp):
            if not is_only_returned(op.result):
                return False
        elif not isinstance(op, ReturnOp):
            return False
    return True
