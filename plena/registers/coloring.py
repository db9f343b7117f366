"""Graph colouring of register cells, with a choice of what to give up when colours run out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from plena.registers.live_cells import bits


@dataclass(frozen=True)
class Coloring:
    """Colours by node, and the nodes that got none."""

    colors: dict[int, int]
    uncolored: list[int]


def color(
    nodes: Sequence[int],
    neighbours: Mapping[int, int],
    fixed: Mapping[int, int],
    colors: Sequence[int],
    spill_cost: Mapping[int, float],
) -> Coloring:
    """Colours nodes so that neighbours (bit masks) differ; `fixed` nodes have their colour already.

    Simplification in the manner of Chaitin and Briggs: nodes with fewer neighbours than colours are put aside first,
    then the cheapest per neighbour, optimistically; colours are given in reverse.
    """
    among = sum(1 << n for n in nodes)
    remaining = {n: neighbours.get(n, 0) & among for n in nodes}
    degree = {n: remaining[n].bit_count() for n in nodes}
    present = among
    low = [n for n in nodes if degree[n] < len(colors)]
    heap = [(spill_cost.get(n, 0.0) / (1 + degree[n]), n) for n in nodes]
    heapify(heap)
    heapify(low)
    order: list[int] = []
    while present:
        node = -1
        while low:
            candidate = heappop(low)
            if present >> candidate & 1:
                node = candidate
                break
        while node < 0:
            _, candidate = heappop(heap)
            if present >> candidate & 1:
                node = candidate
        present &= ~(1 << node)
        order.append(node)
        for other in bits(remaining[node] & present):
            degree[other] -= 1
            if degree[other] == len(colors) - 1:
                heappush(low, other)
    return _assign(order, neighbours, fixed, colors)


def _assign(
    order: Sequence[int], neighbours: Mapping[int, int], fixed: Mapping[int, int], colors: Sequence[int]
) -> Coloring:
    chosen = dict(fixed)
    uncolored: list[int] = []
    colored = sum(1 << n for n in fixed)
    for node in reversed(order):
        taken = {chosen[n] for n in bits(neighbours.get(node, 0) & colored)}
        free = next((c for c in colors if c not in taken), None)
        if free is None:
            uncolored.append(node)
            continue
        chosen[node] = free
        colored |= 1 << node
    return Coloring({n: c for n, c in chosen.items() if n not in fixed}, uncolored)
