"""Sizes in the declarations: numbers that a target and the flags of an instruction decide, with a name to print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from plena.machine.target import Target

Fields: TypeAlias = Mapping[str, int]
"""Numbers in slots by name: flags and immediates, register numbers where a word is at hand."""

NO_FIELDS: Fields = MappingProxyType({})


@dataclass(frozen=True)
class Size:
    """A number of elements, rows or words; `text` is what it is called in the reference and in messages."""

    text: str
    value: Callable[[Target, Fields], int]

    def __call__(self, target: Target, fields: Fields = NO_FIELDS) -> int:
        return self.value(target, fields)

    def __mul__(self, other: Size) -> Size:
        if self is ONE:
            return other
        return Size(f"{self.text} * {other.text}", lambda t, f: self.value(t, f) * other.value(t, f))


def of_target(text: str, value: Callable[[Target], int]) -> Size:
    """A size that the flags have no part in."""
    return Size(text, lambda target, _: value(target))


ONE = of_target("1", lambda _: 1)
MLEN = of_target("MLEN", lambda t: t.mlen)
VLEN = of_target("VLEN", lambda t: t.vlen)
BLEN = of_target("BLEN", lambda t: t.blen)
HLEN = of_target("HLEN", lambda t: t.hlen)
BROADCAST = of_target("BROADCAST", lambda t: t.broadcast_amount)
TILE = of_target("MLEN * MLEN", lambda t: t.tile)
M_PREFETCH_TILES = of_target("HBM_M_Prefetch_Amount / MLEN", lambda t: t.m_prefetch_tiles)
V_PREFETCH_ROWS = of_target("HBM_V_Prefetch_Amount", lambda t: t.hbm_v_prefetch_amount)
V_WRITEBACK_ROWS = of_target("HBM_V_Writeback_Amount", lambda t: t.hbm_v_writeback_amount)
