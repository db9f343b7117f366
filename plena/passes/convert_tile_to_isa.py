"""`convert-tile-to-isa`: every tile operation becomes a loop nest of instructions in the affine form."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import IntAttr, ModuleOp, StringAttr
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp, YieldOp
from plena.dialects.provenance import LENGTH_ATTRIBUTE, MODULE_ATTRIBUTE, STEP_ATTRIBUTE
from plena.dialects.tile import BufferOp, ConstantOp, DataOp, HostOp, TileOp, ViewOp
from plena.errors import CompileError
from plena.instructions import elementwise, norms, products, reductions, routing, rows, scalars, transfers
from plena.instructions.context import LOWERINGS, Lowering
from plena.instructions.instruction_builder import InstructionBuilder
from plena.machine.target import Target

SCALE_PLANE = "plena.scale_plane"
"""Module attribute: byte address of the plane of MX scales in HBM, from the beginning of a segment."""

HBM_SEGMENT = "plena.hbm_segment"
"""Module attribute: bytes from one segment of HBM to the next, where there are several (plena.buffers.segments)."""

_REGISTERED = (elementwise, norms, products, reductions, routing, rows, scalars, transfers)

_PROVENANCE = (STEP_ATTRIBUTE, MODULE_ATTRIBUTE, LENGTH_ATTRIBUTE)


@dataclass(frozen=True)
class ConvertTileToISA(ModulePass):
    """Lowers tile operations on allocated buffers; tile-level loops stay the loops they are.

    Before::

        builtin.module {
          %x = tile.buffer @x [1024] : !tile.buffer<vector> at 4096
          tile.elementwise rows = 16 blocks = 1 out(%x[64, 1024]) in(%x[64, 1024]) {
          ^bb0(%a: !tile.lanes):
            %r = tile.lanewise "exp" %a
            tile.yield %r
          }
        }

    After::

        builtin.module {
          loop.for %0 = 0 to 16 {
            %1 = loop.affine 4096 + 64 * %0
            plena_isa.v_exp_v dst(%1) a(%1) attributes {plena.step = "elementwise"}
          } attributes {plena.step = "elementwise"}
        }
    """

    name = "convert-tile-to-isa"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        builder = InstructionBuilder(Target.from_module(op))
        plane, segment = (_number(op, name) for name in (SCALE_PLANE, HBM_SEGMENT))
        lowering = Lowering(builder, plane, segment)
        _lower_block(op.body.block, lowering)
        lowered = builder.finish()
        for old in reversed(list(op.body.block.ops)):
            old.detach()
            old.erase(safe_erase=False)
        for new in list(lowered.body.block.ops):
            new.detach()
            op.body.block.add_op(new)


def _number(module: ModuleOp, name: str) -> int:
    attribute = module.attributes.get(name)
    return attribute.data if isinstance(attribute, IntAttr) else 0


def _lower_block(block: Block, lowering: Lowering) -> None:
    for op in block.ops:
        _lower(op, lowering)


def _lower(op: Operation, lowering: Lowering) -> None:
    builder = lowering.builder
    if isinstance(op, TileOp):
        builder.provenance = {name: op.attributes[name] for name in _PROVENANCE if name in op.attributes}
        builder.provenance.setdefault(STEP_ATTRIBUTE, StringAttr(op.name.removeprefix("tile.")))
        LOWERINGS[type(op)](op, lowering)
        builder.provenance = {}
    elif isinstance(op, ForOp):
        with builder.loop(op.trips, dict(op.attributes)) as index:
            lowering.indices[op.index] = index
            _lower_block(op.body.block, lowering)
    elif not isinstance(op, BufferOp | ConstantOp | DataOp | HostOp | ViewOp | AffineOp | YieldOp):
        raise CompileError(
            f"{op.name} is not a tile-level operation", hint="lower it to tile operations first"
        )


__all__ = ["HBM_SEGMENT", "SCALE_PLANE", "ConvertTileToISA"]
