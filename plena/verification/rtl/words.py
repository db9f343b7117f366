"""Rules about single words, and about the program as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from plena.dialects.plena_isa import Field, InstructionSpec, Kind, Mode, Slot
from plena.dialects.plena_isa.matrix import MMMWOOp
from plena.dialects.plena_isa.on_rtl import Support
from plena.dialects.plena_isa.scalar import SAddFPOp, SExpFPOp, SLuiIntOp
from plena.dialects.plena_isa.transfer import HStoreVOp
from plena.dialects.plena_isa.vector import VExpVOp, VSubVFOp
from plena.verification.rtl.rules import Breach, Evidence, rule
from plena.verification.rtl.view import ADD_IMMEDIATE, BREAK, END, MAX_FP, RtlView, products, vector_ops

_UPPER, _STORE, _WRITE_OUT = SLuiIntOp.SPEC.opcode, HStoreVOp.SPEC.opcode, MMMWOOp.SPEC.opcode
_REVERSIBLE = VSubVFOp.SPEC.opcode
_ZERO_RESULTS = (MAX_FP, SAddFPOp.SPEC.opcode)
_WORD_BYTES = 4


@rule("R01", Evidence.CODE, "an instruction that the RTL executes")
def executes(view: RtlView) -> Iterator[Breach]:
    for pc in view.where(lambda spec: spec.rtl.support in (Support.WRONG, Support.HANGS, Support.NOTHING)):
        yield Breach(pc, str(view.spec(pc).rtl))


@rule("R02", Evidence.CODE, "the same meaning on the emulator and on the RTL")
def means_the_same(view: RtlView) -> Iterator[Breach]:
    for pc in view.where(lambda spec: spec.rtl.support is Support.OWN):
        yield Breach(pc, str(view.spec(pc).rtl))


@rule("R03", Evidence.CODE, "vector instructions without a lane mask")
def unmasked(view: RtlView) -> Iterator[Breach]:
    for pc in view.at(vector_ops()):
        if view.code.rs3[pc]:
            yield Breach(pc, "the mask field is ignored: all lanes are written", "mask")


@rule("R04", Evidence.CODE, "funct1 = 0, except 1 for a reversed V_SUB_VF")
def plain_function(view: RtlView) -> Iterator[Breach]:
    for pc in view.where(_has_function):
        function = view.funct1(pc)
        if function and not (view.code.op[pc] == _REVERSIBLE and function == 1):
            yield Breach(pc, f"funct1 is {function}")


def _has_function(spec: InstructionSpec) -> bool:
    """Whether the funct1 bits are neither part of an immediate nor the type of a transfer."""
    return spec.transfer is None and not any(s.field in (Field.IMM18, Field.IMM22) for s in spec.slots)


@rule("R05", Evidence.DERIVED, "transfers of the first type, contiguous or with the stride register")
def plain_transfer(view: RtlView) -> Iterator[Breach]:
    for pc in view.where(lambda spec: spec.transfer is not None):
        if view.funct1(pc):
            yield Breach(
                pc, "the second type does not arrive: it goes through a converter of 4 bits", "precision"
            )
        if view.code.rs3[pc] > 1:
            yield Breach(pc, "only 1 selects the stride register", "rstride")


@rule("R06", Evidence.CODE, "M_MM_WO to adjacent rows at the address in its register")
def plain_write_out(view: RtlView) -> Iterator[Breach]:
    for pc in view.at({_WRITE_OUT}):
        if view.unused_bits(pc, Field.IMM18.lsb):
            yield Breach(pc, "the immediate is ignored: the address must be in the register", "imm")
        if view.code.rs1[pc]:
            yield Breach(pc, "the stride register is ignored: rows are adjacent", "stride")


@rule("R07", Evidence.CODE, "f0 .. f7 and a0 .. a7")
def few_registers(view: RtlView) -> Iterator[Breach]:
    limits = {Kind.F: view.build.f_registers, Kind.A: view.build.a_registers}
    for pc in view.where(lambda spec: any(slot.kind in limits for slot in spec.slots)):
        for slot in view.spec(pc).slots:
            number = view.code.number(pc, slot.field)
            if slot.kind in limits and number >= limits[slot.kind]:
                name = slot.kind.value
                yield Breach(pc, f"{name}{number} is {name}{number % limits[slot.kind]} there", slot.name)


@rule("R08", Evidence.CODE, "no S_LUI_INT; immediates of 18 bits")
def small_constants(view: RtlView) -> Iterator[Breach]:
    for pc in view.at({_UPPER}):
        yield Breach(pc, "build the number from S_ADDI_INT and doublings, or load it from INT SRAM")


@rule("R09", Evidence.DERIVED, "nothing but zero is written to gp0 and f0")
def zeros_stay(view: RtlView) -> Iterator[Breach]:
    code = view.code
    for pc in view.where(_destination):
        spec = view.spec(pc)
        written = _destination(spec)
        if written is None or code.rd[pc]:
            continue
        if written.kind is Kind.GP and not (
            spec.opcode == ADD_IMMEDIATE and not (code.rs1[pc] or code.imm[pc])
        ):
            yield Breach(pc, "the number reaches a read of gp0 in the next two instructions", written.name)
        is_zero = spec.opcode in _ZERO_RESULTS and not (code.rs1[pc] or code.rs2[pc])
        if written.kind is Kind.F and not is_zero:
            yield Breach(pc, "the number reaches a read of f0 in the next instructions", written.name)


def _destination(spec: InstructionSpec) -> Slot | None:
    """The register that an instruction writes."""
    return next((s for s in spec.slots if Mode.WRITE in s.mode and s.field is Field.RD), None)


@rule("R13", Evidence.CODE, "C_BREAK at the end, behind two S_ADDI_INT gp0, gp0, 0, and nowhere else")
def ends(view: RtlView) -> Iterator[Breach]:
    ops, last = view.code.op, len(view.code) - 1
    for pc in view.at({BREAK}):
        if pc != last:
            yield Breach(pc, "the program ends here")
    if last < 0 or ops[last] != BREAK:
        yield Breach(None, "there is no C_BREAK at the end: instruction fetch goes on behind it")
        return
    if last and ops[last - 1] == END:
        yield Breach(last, "a C_LOOP_END stands directly before it")
    elif last < 2 or any(not is_nop(view, pc) for pc in (last - 1, last - 2)):
        yield Breach(
            last, "vector results may still be under way: write two S_ADDI_INT gp0, gp0, 0 before it"
        )


def is_nop(view: RtlView, pc: int) -> bool:
    """Whether an instruction is S_ADDI_INT gp0, gp0, 0."""
    code = view.code
    return code.op[pc] == ADD_IMMEDIATE and not (code.rd[pc] or code.rs1[pc] or code.imm[pc])


@rule("R14", Evidence.CODE, "a program that the program counter reaches")
def fits(view: RtlView) -> Iterator[Breach]:
    size = len(view.code) * _WORD_BYTES
    if size > view.build.program_bytes:
        yield Breach(None, f"it has {size} bytes, the program counter reaches {view.build.program_bytes}")


@rule("R34", Evidence.CODE, "arguments of the exponential within -22 .. 22", warns=True)
def exponentials(view: RtlView) -> Iterator[Breach]:
    for pc in view.at({VExpVOp.SPEC.opcode, SExpFPOp.SPEC.opcode}):
        yield Breach(pc, "nothing proves that: beyond it the result is garbage")


@rule("R35", Evidence.CODE, "sums of products below 32768", warns=True)
def accumulators(view: RtlView) -> Iterator[Breach]:
    first = next(iter(view.at(products())), None)
    if first is not None:
        yield Breach(first, "nothing proves that: a sum of 2^15 or more wraps")


@rule("R36", Evidence.DERIVED, "no H_STORE_V: results stay in vector SRAM")
def no_stores(view: RtlView) -> Iterator[Breach]:
    for pc in view.at({_STORE}):
        yield Breach(pc, "there is no usable path from vector SRAM to HBM")
