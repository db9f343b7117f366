"""The public RTL as a machine: its memories and limits (PLENA_RTL df23fe5; plena_rtl.md sections 1 and 7.2)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DATA = Path(__file__).with_name("rtl_df23fe5.json")


@dataclass(frozen=True)
class RtlBuild:
    """What a build of the RTL has besides the widths, which a `Target` gives.

    Attributes:
        name: the build, by commit.
        matrix_rows, vector_rows: rows of MLEN and VLEN elements.
        fp_words, int_words: words of the scalar memories.
        f_registers, a_registers: registers that instructions can name; higher numbers alias lower ones.
        loop_depth: loops inside each other; deeper ones are ignored.
        proven_loop_depth: the depth that passing workloads reach.
        most_trips: the largest trip count.
        program_bytes: what the program counter reaches.
        prefetch_v_rows: rows of one H_PREFETCH_V.
        block: elements that share a scale.
        settle_scalars: scalar instructions that may follow a product before its write-out.
    """

    name: str
    matrix_rows: int
    vector_rows: int
    fp_words: int
    int_words: int
    f_registers: int
    a_registers: int
    loop_depth: int
    proven_loop_depth: int
    most_trips: int
    program_bytes: int
    prefetch_v_rows: int
    block: int
    settle_scalars: int


@cache
def rtl_build() -> RtlBuild:
    """The one build that the rules are about."""
    return RtlBuild(**json.loads(_DATA.read_text(encoding="utf-8")))
