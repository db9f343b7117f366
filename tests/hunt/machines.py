"""Random machines and ways to compile for them: all legal, most unlike the shipped one."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

FORMATS: dict[str, dict[str, Any]] = {
    "e4m3": {"type": "Fp", "sign": True, "exponent": 4, "mantissa": 3},
    "e5m2": {"type": "Fp", "sign": True, "exponent": 5, "mantissa": 2},
}
SCALE = {"type": "Fp", "sign": False, "exponent": 8, "mantissa": 0}


@st.composite
def settings(draw: st.DrawFn, roomy: bool = False) -> dict[str, Any]:
    """What differs from the shipped settings; `roomy` machines serve most small modules."""
    mlen = draw(st.sampled_from([16, 16, 32, 64, 128]))
    hlen = draw(st.sampled_from([n for n in (1, 2, 4, 8, 16, 32) if n <= mlen]))
    fits = draw(st.integers(0, 3)) > 0
    found: dict[str, Any] = {
        "MLEN": mlen,
        "VLEN": mlen,
        "BLEN": draw(st.sampled_from([n for n in (2, 4, 8, 16) if mlen % n == 0])),
        "HLEN": hlen,
        "BROADCAST_AMOUNT": mlen // hlen if fits else draw(st.integers(1, 8)),
        "MATRIX_SRAM_SIZE": mlen * (64 if roomy else draw(st.sampled_from([4, 8, 16, 64]))),
        "VECTOR_SRAM_SIZE": (16384 if roomy else draw(st.sampled_from([1024, 2048, 8192]))) * 64 // mlen,
        "HBM_SIZE": 1 << 24,
        "HBM_M_Prefetch_Amount": mlen * draw(st.sampled_from([1, 1, 1, 2, 3])),
        "HBM_V_Prefetch_Amount": draw(st.sampled_from([1, 2, 3, 4, 4, 8])),
        "HBM_V_Writeback_Amount": draw(st.sampled_from([1, 2, 3, 4, 4, 8])),
        "DC_EN": draw(st.integers(0, 1)),
        "MAX_LOOP_INSTRUCTIONS": draw(st.sampled_from([2000, 100_000])),
    }
    if roomy and draw(st.integers(0, 3)):
        return found
    for name in ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE"):
        block = draw(st.sampled_from([8, 8, 8, 16, 32]))
        element = draw(st.sampled_from(["e4m3", "e4m3", "e5m2"]))
        if mlen % block == 0 and (block, element) != (8, "e4m3"):
            found[f"PRECISION.{name}.block"] = block
            found[f"PRECISION.{name}.ELEM"] = FORMATS[element]
    return found


options = st.fixed_dictionaries(
    {},
    optional={
        "objective": st.sampled_from(["size", "cycles"]),
        "timing": st.sampled_from(["pipelined", "transactional"]),
        "matmul": st.sampled_from(["mm", "broadcast", "vector"]),
        "attention": st.sampled_from(["online", "rows"]),
    },
)
"""What plena.compile takes."""
