"""What routed experts cost: all of them for all tokens, or those that each token chose, transfers counted."""

from __future__ import annotations

from dataclasses import dataclass

from plena.dialects.plena_isa import INSTRUCTIONS
from plena.integers import ceil_div
from plena.kernels.product_cost import CYCLES, ProductShape, units
from plena.machine.target import Target
from plena.timing.dma_model import transfer_picoseconds
from plena.timing.registry import DEFAULT_TIMING, profile_named

SHORTEST_ADVANTAGE = 1.1
"""Picking takes code and time of its own beside the products: that much faster it must be by them."""


@dataclass(frozen=True)
class ExpertProducts:
    """`tokens` tokens choose `chosen` of `experts` each; `layers` are (outputs, inputs) of an expert's products."""

    tokens: int
    experts: int
    chosen: int
    layers: tuple[tuple[int, int], ...]


def cycles_of_all(products: ExpertProducts, target: Target, timing: str) -> float:
    """Every expert for all tokens: each matrix once."""
    return _cycles(products, products.tokens, products.experts, target, timing)


def cycles_of_chosen(products: ExpertProducts, target: Target, timing: str) -> float:
    """A row for each token and slot: the matrices of its expert each time."""
    pairs = products.tokens * products.chosen
    found = _cycles(products, 1, pairs, target, timing) + pairs * _finding(products, target, timing)
    return found * SHORTEST_ADVANTAGE


def _cycles(products: ExpertProducts, rows: int, times: int, target: Target, timing: str) -> float:
    """So many experts' matrices, each brought in and multiplied by so many rows."""
    mlen = target.mlen
    transfer = transfer_picoseconds("H_PREFETCH_M", 0, 0, None, target) / 1000
    total = 0.0
    for outputs, inputs in products.layers:
        k_tiles, n_tiles = ceil_div(inputs, mlen), ceil_div(outputs, mlen)
        shape = ProductShape(rows, k_tiles, n_tiles, k_tiles, k_tiles, ceil_div(inputs, target.hlen))
        fastest = min(CYCLES[unit](shape, target, timing) for unit in units(shape, target))
        total += fastest + k_tiles * n_tiles / target.m_prefetch_tiles * transfer
    return total * times


def is_cheaper_in_parts(tokens: int, experts: int, columns: int, target: Target) -> bool:
    """Whether a number of each token and expert is better spread over `columns` lanes by way of FP SRAM than by a
    product with zeros and ones, which are brought in too."""
    if columns % target.vlen:
        return False
    k_tiles, n_tiles = ceil_div(experts, target.mlen), ceil_div(experts * columns, target.mlen)
    shape = ProductShape(tokens, k_tiles, n_tiles, k_tiles, k_tiles, ceil_div(experts, target.hlen))
    product = min(CYCLES[unit](shape, target, DEFAULT_TIMING) for unit in units(shape, target))
    transfer = transfer_picoseconds("H_PREFETCH_M", 0, 0, None, target) / 1000
    return tokens * experts * _SPREAD < product + k_tiles * n_tiles / target.m_prefetch_tiles * transfer


_SPREAD = 17
"""About how many instructions of one cycle bring a number from vector SRAM to FP SRAM and into all lanes of a row."""


def _finding(products: ExpertProducts, target: Target, timing: str) -> int:
    """The number of an expert for a token: rows written down in FP SRAM."""
    cost = profile_named(timing).cycles
    return ceil_div(products.experts, target.vlen) * cost(INSTRUCTIONS["S_MAP_V_FP"], target)
