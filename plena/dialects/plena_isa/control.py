"""Control instructions: sticky state, hardware loops (plena_isa.md sections 3.7 and 4), and register declarations."""

from __future__ import annotations

from xdsl.irdl import IRDLOperation, irdl_op_definition, result_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.plena_isa.demands import Caution, requires
from plena.dialects.plena_isa.instruction import Instruction, instruction
from plena.dialects.plena_isa.on_rtl import VERIFIED, hangs
from plena.dialects.plena_isa.registers import PlenaRegister
from plena.dialects.plena_isa.spec import Cost, Field, Integer, Memory, Mode, a, gp, immediate
from plena.dialects.plena_isa.touches import Touch, sets

_REGISTERS_ONLY: tuple[Touch, ...] = ()


@irdl_op_definition
class RegisterOp(IRDLOperation):
    """Declares a register cell: `!plena_isa.gp` virtual, `!plena_isa.gp<gp3>` a machine register. Prints nothing."""

    name = "plena_isa.register"
    cell = result_def()

    def __init__(self, register: PlenaRegister) -> None:
        super().__init__(result_types=[register])

    def verify_(self) -> None:
        if not isinstance(self.cell.type, PlenaRegister):
            raise VerifyException(f"a register cell has a register type, got {self.cell.type}")

    def print(self, printer: Printer) -> None:
        printer.print_string(" : ")
        printer.print_attribute(self.cell.type)
        printer.print_op_attributes(self.attributes, print_keyword=True)

    @classmethod
    def parse(cls, parser: Parser) -> RegisterOp:
        parser.parse_punctuation(":")
        register = parser.parse_type()
        attributes = parser.parse_optional_attr_dict_with_keyword()
        return cls.create(result_types=[register], attributes=dict(attributes.data) if attributes else {})


@instruction(
    "C_SET_ADDR_REG",
    0x2B,
    Cost.ONE,
    a("dst", Field.RD, Mode.WRITE),
    gp("hi", Field.RS1),
    gp("lo", Field.RS2),
    touches=_REGISTERS_ONLY,
    integer=Integer.SET_BASE,
    rtl=VERIFIED,
)
class CSetAddrRegOp(Instruction):
    """a[dst] = hi << 32 | lo."""


@instruction(
    "C_SET_SCALE_REG",
    0x2C,
    Cost.ONE,
    gp("src", Field.RD),
    touches=(sets(Memory.SCALE),),
    integer=Integer.SET_STICKY,
    rtl=VERIFIED,
)
class CSetScaleRegOp(Instruction):
    """SCALE = gp[src]: bytes from a tensor's first element byte to its first scale byte."""


@instruction(
    "C_SET_STRIDE_REG",
    0x2D,
    Cost.ONE,
    gp("src", Field.RD),
    touches=(sets(Memory.STRIDE),),
    integer=Integer.SET_STICKY,
    rtl=VERIFIED,
)
class CSetStrideRegOp(Instruction):
    """STRIDE = gp[src]: HBM row pitch in bytes for transfers with rstride = 1."""


@instruction(
    "C_SET_V_MASK_REG",
    0x2E,
    Cost.ONE,
    gp("src", Field.RD),
    touches=(sets(Memory.V_MASK),),
    integer=Integer.SET_STICKY,
)
class CSetVMaskRegOp(Instruction):
    """V_MASK = gp[src]: bit h enables lanes h*HLEN .. (h+1)*HLEN of masked vector instructions."""


@instruction(
    "C_LOOP_START",
    0x2F,
    Cost.ONE,
    gp("counter", Field.RD, Mode.WRITE),
    immediate(Field.IMM22, name="count"),
    touches=_REGISTERS_ONLY,
    requirements=(requires("count-zero", "count > 0", lambda _, fields: fields["count"] != 0),),
    integer=Integer.LOOP_START,
    rtl=VERIFIED,
)
class CLoopStartOp(Instruction):
    """gp[counter] = count; opens a loop. Only in code read from assembly: the compiler's own loops are `loop.for`."""


@instruction(
    "C_LOOP_END",
    0x30,
    Cost.ONE,
    gp("counter", Field.RD, Mode.UPDATE),
    touches=_REGISTERS_ONLY,
    integer=Integer.LOOP_END,
    rtl=VERIFIED,
)
class CLoopEndOp(Instruction):
    """Repeats the innermost open loop on this counter while it exceeds 1."""


@instruction(
    "C_HADAMARD_TRANSFORM",
    0x33,
    Cost.NEVER,
    gp("dst", Field.RD),
    gp("a", Field.RS1),
    gp("b", Field.RS2),
    executable=False,
    rtl=hangs("the unit is not compiled in"),
)
class CHadamardTransformOp(Instruction):
    """Hadamard transform: assembles, but no emulator executes it."""


@instruction(
    "C_BREAK",
    0x34,
    Cost.ONE,
    touches=_REGISTERS_ONLY,
    cautions=(
        Caution("break", "C_BREAK pops a loop and goes on with the next instruction; it ends nothing"),
    ),
    integer=Integer.BREAK,
    rtl=VERIFIED,
)
class CBreakOp(Instruction):
    """Pops the innermost open loop and goes on with the next instruction; never emitted."""
