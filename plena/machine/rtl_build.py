"""The public RTL as a machine: its memories and limits (PLENA_RTL df23fe5; plena_rtl.md sections 1 and 7.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from plena.errors import SettingsError
from plena.machine.number_formats import Mx
from plena.machine.target import Target

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

    def fitted(self, target: Target) -> Target:
        """The machine with no more matrix and vector memory than the build.

        Raises:
            SettingsError: settings that the build has otherwise, in one message.
        """
        problems = list(self._problems(target))
        if problems:
            hint = "Change these settings; number formats in HBM are those that the emulator has."
            raise SettingsError(f"the RTL ({self.name}): {'; '.join(problems)}", "target", hint)
        return replace(
            target,
            matrix_sram_size=min(target.matrix_sram_size, self.matrix_rows),
            vector_sram_size=min(target.vector_sram_size, self.vector_rows),
        )

    def _problems(self, target: Target) -> Iterator[str]:
        if target.hbm_v_prefetch_amount != self.prefetch_v_rows:
            yield (
                f"an H_PREFETCH_V takes {self.prefetch_v_rows} rows "
                f"(HBM_V_Prefetch_Amount = {target.hbm_v_prefetch_amount})"
            )
        if target.m_prefetch_tiles != 1:
            yield (
                f"an H_PREFETCH_M takes MLEN rows (HBM_M_Prefetch_Amount = {target.hbm_m_prefetch_amount}, "
                f"MLEN = {target.mlen})"
            )
        if target.matrix_tiles < 2:
            yield f"a tile and the one behind it that is waited with take {2 * target.mlen} rows of matrix memory"
        for key in ("HBM_M_WEIGHT_TYPE", "HBM_V_ACT_TYPE"):
            number_format = target.precision[key]
            is_mx = isinstance(number_format, Mx) and number_format.block == self.block
            if not is_mx or number_format.element_bits != 8:
                yield f"{key} must have 8-bit elements with a scale for {self.block} of them"


@cache
def rtl_build() -> RtlBuild:
    """The one build that the rules are about."""
    return RtlBuild(**json.loads(_DATA.read_text(encoding="utf-8")))
