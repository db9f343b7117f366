"""Every way a program can end in an error on the machine (plena_isa.md section 3.8)."""

from __future__ import annotations

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.errors import EmulatorError

OK = 0
BAD_OPCODE = 1
TOPK_POLICY = 2
FP_INDEX = 3
UNALIGNED_VRAM = 4
VRAM_RANGE = 5
MRAM_UNALIGNED = 6
MRAM_RANGE = 7
MRAM_OFFSET = 8
BROADCAST_SHAPE = 9
BROADCAST_HLEN_ONE = 10
M_BMV = 11
WO_LANE = 12
FP_SRAM_RANGE = 13
INT_SRAM_RANGE = 14
COUNT_ZERO = 15
LOOP_END_UNMATCHED = 16
BREAK_NO_LOOP = 17
LOOP_WATCHDOG = 18
HBM_WRITE_RANGE = 19
ELEM_WIDTH = 20
PREFETCH_AMOUNT_ZERO = 21
STORE_TYPE = 22

_POLICIES = " nor ".join(
    f"{p} ({experts} experts, {kept} kept)" for p, (experts, kept) in TOPK_SHAPES.items()
)

_CLASSES: dict[int, tuple[str, str]] = {
    BAD_OPCODE: ("bad-opcode", "opcode {0:#04x} is not implemented"),
    TOPK_POLICY: ("topk-policy", f"V_TOPK policy {{0}} is neither {_POLICIES}"),
    FP_INDEX: ("fp-index", "register f{0} does not exist, the last one is f7"),
    UNALIGNED_VRAM: ("unaligned-vram", "vector address {0} is not a multiple of VLEN = {1}"),
    VRAM_RANGE: ("vram-range", "vector address {0} is behind the end of the memory, {1} elements"),
    MRAM_UNALIGNED: ("mram-unaligned", "matrix address {0} is not a multiple of MLEN*MLEN = {1}"),
    MRAM_RANGE: ("mram-range", "matrix address {0} is behind the end of the memory, {1} elements"),
    MRAM_OFFSET: ("mram-offset", "offset {0} inside the matrix tile must be a multiple of {1} below {2}"),
    BROADCAST_SHAPE: ("broadcast-shape", "BROADCAST_AMOUNT * HLEN = {0} is not MLEN = {1}"),
    BROADCAST_HLEN_ONE: ("broadcast-hlen-one", "the broadcast products cannot work with HLEN = 1"),
    M_BMV: ("m-bmv", "M_BMV always aborts on this machine"),
    WO_LANE: ("wo-lane", "write-out lane {0} is not a multiple of {1}"),
    FP_SRAM_RANGE: ("fp-sram-range", "FP SRAM word {0} does not exist, there are {1}"),
    INT_SRAM_RANGE: ("int-sram-range", "INT SRAM word {0} does not exist, there are {1}"),
    COUNT_ZERO: ("count-zero", "a loop of 0 iterations cannot be started"),
    LOOP_END_UNMATCHED: ("loop-end-unmatched", "no open loop counts in gp{0}"),
    BREAK_NO_LOOP: ("break-no-loop", "no loop is open"),
    LOOP_WATCHDOG: (
        "loop-watchdog",
        "one iteration of the loop at instruction {0} runs more than MAX_LOOP_INSTRUCTIONS = {1} instructions",
    ),
    HBM_WRITE_RANGE: ("hbm-write-range", "{1} bytes at HBM address {0:#x} reach past HBM_SIZE = {2:#x}"),
    ELEM_WIDTH: ("elem-width", "codes of {0} bits cannot be transferred, only of 8 and 16"),
    PREFETCH_AMOUNT_ZERO: ("prefetch-amount-zero", "HBM_V_Prefetch_Amount is 0"),
    STORE_TYPE: ("store-type", "the machine writes garbage to Plain floats other than bf16"),
}

CODES: dict[str, int] = {name: code for code, (name, _) in _CLASSES.items()}
"""The number of every abort class."""

_HINTS: dict[int, str] = {
    LOOP_WATCHDOG: "Move work into an outer loop with more trips.",
    BREAK_NO_LOOP: "C_BREAK is not an end of program here: leave it out.",
    M_BMV: "Use M_BTMV.",
    ELEM_WIDTH: "Choose an HBM type with 8- or 16-bit elements.",
    STORE_TYPE: "Store to an Mx type or to Plain bf16.",
}


def abort_error(abort: int, facts: tuple[int, ...], index: int, mnemonic: str | None) -> EmulatorError:
    """The exception for an abort code, with the offending values that the kernel left behind."""
    name, text = _CLASSES[abort]
    return EmulatorError(name, text.format(*facts), index, mnemonic, _HINTS.get(abort))
