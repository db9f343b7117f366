"""How heads lie in the lanes of a panel: what attention wants of the kernels that compute its operands."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from plena.dialects.plena import (
    AttentionOp,
    GroupedRowsOp,
    MulScalarOp,
    PickSampleOp,
    RearrangeOp,
    ReshapeOp,
    RotariesOp,
    RotaryOp,
    WriteRowsOp,
)
from plena.host.view import Pad, Permute, Reshape
from plena.integers import round_up
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.tensors import HostTensor
from plena.machine.number_formats import Mx
from plena.machine.target import Target


@dataclass(frozen=True)
class HeadLayout:
    """`groups` heads, `pitch` lanes from one to the next: [rows, groups * size] with gaps of pitch - size lanes.

    With `members` above 1 so many query heads read each key head, and heads are interleaved: column block
    j * members + m has member m of the `lanes` key heads of their column block j.
    """

    groups: int
    pitch: int
    lanes: int = 1
    members: int = 1

    @property
    def moves(self) -> bool:
        """Whether heads lie in another order than in the tensor."""
        return self.members > 1 and self.lanes > 1

    def with_gaps(self, tensor: HostTensor) -> HostTensor:
        """A staged tensor [groups * size, ...] with zeros in the gaps: [groups * pitch, ...]."""
        size, rest = tensor.shape[0] // self.groups, tensor.shape[1:]
        if self.moves:
            order = (0, 2, 1, *range(3, 4 + len(rest)))
            shape = (self.groups // (self.lanes * self.members), self.lanes, self.members, size, *rest)
            tensor = tensor.through(Reshape(shape), Permute(order), Reshape((self.groups * size, *rest)))
        if self.pitch == size:
            return tensor
        return tensor.through(
            Reshape((self.groups, size, *rest)),
            Pad(1, 0, self.pitch - size),
            Reshape((self.groups * self.pitch, *rest)),
        )


def heads_per_block(shape: AttentionShape, target: Target) -> int:
    """How many heads share a column block of computed queries, keys and values.

    Narrow ones do when every head has its own keys, or query heads are interleaved, so that a head has the lanes of its
    keys, and when those are whole slices (broadcast products), write-out blocks and MX blocks.
    """
    size, vlen = shape.head_dim, target.vlen
    if size >= vlen or vlen % size or size != shape.value_dim:
        return 1
    if shape.group > 1 and not shape.interleaved:
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

    Kernels between that keep heads where they are pass the wish on; a norm of anything but heads wants its columns
    together.
    """
    for use in value.uses:
        op = use.operation
        if isinstance(op, AttentionOp) and use.index < 3:
            shape = AttentionShape.of(op)
            size = shape.value_dim if use.index == 2 else shape.head_dim
            groups = shape.heads if use.index == 0 else shape.kv_heads
            members = shape.group if use.index == 0 and shape.interleaved else 1
            return HeadLayout(
                groups, head_pitch(shape, size, target), heads_per_block(shape, target), members
            )
        passes_on = isinstance(op, RotaryOp | GroupedRowsOp | MulScalarOp) and use.index == 0
        passes_on = passes_on or (isinstance(op, RotariesOp) and use.index < len(op.outputs))
        passes_on = passes_on or (isinstance(op, PickSampleOp) and use.index == 0)
        if passes_on or (isinstance(op, WriteRowsOp) and use.index < 2):
            found = wanted_layout(op.results[use.index if isinstance(op, RotariesOp) else 0], target)
            parts = op.groups.value.data if isinstance(op, GroupedRowsOp) else 0
            if found is not None and parts in (0, found.groups):
                return found
    return None


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
