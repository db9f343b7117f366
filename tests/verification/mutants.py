"""Random flat programs with a few lines changed: most abort somehow, many in ways that cannot be lifted."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from tests.lifting.flat_programs import flat_programs

INSERTED = (
    "C_BREAK",
    "C_LOOP_END gp8",
    "C_LOOP_END gp9",
    "C_LOOP_START gp9, 2",
    "C_LOOP_START gp8, 3",
    "S_ADDI_INT gp8, gp8, 1",
    "S_ADDI_INT gp8, gp0, 1",
    "S_ADD_INT gp1, gp1, gp13",
    "C_SET_ADDR_REG a1, gp13, gp12",
    "C_SET_ADDR_REG a1, gp0, gp3",
    "C_SET_STRIDE_REG gp12",
    "C_SET_SCALE_REG gp3",
    "V_TOPK gp4, gp1, gp5, 0",
    "V_TOPK gp4, gp1, gp5, 1",
    "M_BTMM 0, gp14, gp1",
    "M_BTMV gp14, gp0, gp1",
    "M_BMM_WO gp1, 0",
    "M_BMV_WO gp2, 0",
    "M_MV 0, gp14, gp1",
    "M_MV_WO gp2, 4",
    "M_MM_WO gp1, gp12, 0",
    "M_TMM 0, gp1, gp14",
    "M_TMV 0, gp14, gp2",
    "H_PREFETCH_M gp14, gp4, a1, 1, 0",
    "H_STORE_V gp1, gp1, a1, 1, 0",
    "V_SHFT_V gp1, gp2, gp4",
    "S_ST_INT gp1, gp1, 0",
)
NUMBERS = ("0", "1", "2", "3", "4", "5", "7", "8", "60", "100", "1023", "1024", "16640", "262143")


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Assembly text that can be parsed."""
    lines = draw(flat_programs()).splitlines()
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                number = draw(st.integers(0, 15))
                lines[place] = re.sub(r"gp\d+", f"gp{number}", lines[place], count=1)
            case 1 if "INT" in lines[place] or "LOOP_START" in lines[place]:
                lines[place] = re.sub(r", \d+$", f", {draw(st.sampled_from(NUMBERS))}", lines[place])
            case 2 if len(lines) > 1:
                del lines[place]
            case 3:
                lines.insert(place, draw(st.sampled_from(INSERTED)))
            case _:
                lines.insert(place, lines[draw(st.integers(0, len(lines) - 1))])
    return "\n".join(lines) + "\n"
