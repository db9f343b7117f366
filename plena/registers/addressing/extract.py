"""The abstract loop tree of a module in the affine form."""

from __future__ import annotations

from xdsl.dialects.builtin import IndexType, ModuleOp
from xdsl.ir import Block as IRBlock

from plena.dialects.loop import AffineOp, ForOp, Linear, YieldOp
from plena.dialects.plena_isa import Instruction, RegisterOp
from plena.errors import CompileError
from plena.machine.choices import Machine
from plena.machine.constants import INT_LIMIT
from plena.registers.addressing.program import Block, Loop, Node, Program, Read, Use, make_block
from plena.registers.addressing.shared_bases import bases_to_share, with_shared_bases
from plena.registers.addressing.values import CONSTANT, ClassTable, Value, number


def program_of(module: ModuleOp, machine: Machine = "emulator", *, share_bases: bool = False) -> Program:
    """Reads the address operands of a module in the affine form, sticky state already set by instructions.

    Immediates that the machine ignores are none. To `share_bases`: see plena.registers.addressing.shared_bases.

    Raises:
        CompileError: an operand that is neither a register cell nor an address slot (run set-state first), or an
            operation of a higher level.
    """
    classes = ClassTable()
    return Program(_block(module.body.block, classes, machine, share_bases), classes)


def has_bases_to_share(module: ModuleOp, machine: Machine = "emulator") -> bool:
    """Whether sharing bases makes another program of a module in the affine form."""
    return _has_bases_to_share(module.body.block, ClassTable(), machine)


def _has_bases_to_share(block: IRBlock, classes: ClassTable, machine: Machine) -> bool:
    adding = [
        _use(op, classes, machine)
        for op in block.ops
        if isinstance(op, Instruction) and any(slot.adds_to for slot in op.SPEC.slots)
    ]
    loops = (op.body.block for op in block.ops if isinstance(op, ForOp))
    return bool(bases_to_share(adding)) or any(_has_bases_to_share(b, classes, machine) for b in loops)


def value_of(address: Linear, classes: ClassTable) -> Value:
    """The interned value of an address."""
    if address.is_constant:
        return number(address.constant)
    return classes.of(address.terms), address.constant


def _block(block: IRBlock, classes: ClassTable, machine: Machine, share_bases: bool) -> Block:
    nodes: list[Node] = []
    for op in block.ops:
        if isinstance(op, Instruction):
            nodes.append(_use(op, classes, machine))
        elif isinstance(op, ForOp):
            nodes.append(Loop(op.index, op.trips, _block(op.body.block, classes, machine, share_bases), op))
        elif not isinstance(op, AffineOp | RegisterOp | YieldOp):
            raise CompileError(
                f"`{op.name}` is not an instruction", "materialize-addresses", "lower it to plena_isa first"
            )
    return make_block(with_shared_bases(nodes) if share_bases else nodes, classes)


def _use(op: Instruction, classes: ClassTable, machine: Machine) -> Use:
    adds = machine == "emulator" or op.SPEC.rtl.adds
    reads: list[Read] = []
    for slot, value in op.named_operands():
        if not isinstance(value.type, IndexType):
            continue
        declared = op.SPEC.by_name.get(slot.name)
        if declared is None or not declared.is_address:
            raise CompileError(
                f"{op.SPEC.mnemonic} still carries its state `{slot.name}`",
                "materialize-addresses",
                "run set-state first",
            )
        address = value_of(op.address(slot.name), classes)
        if declared.gp0_means is not None:
            address = _with_gp0(address, declared.gp0_means)
        has_immediate = adds and op.SPEC.immediate_for(slot.name) is not None
        reads.append(Read(slot.name, address, has_immediate, declared.adds_to))
    defines = None
    if op.HAS_VALUE and op.results:
        defines = (classes.of([(op.results[0], 1)]), 0)
    return Use(tuple(reads), defines, op)


def _with_gp0(value: Value, means: int) -> Value:
    """A number as a register value where gp0 means another number than 0: 0 needs a register of its own then."""
    return {(CONSTANT, means): (CONSTANT, 0), (CONSTANT, 0): (CONSTANT, INT_LIMIT)}.get(value, value)
