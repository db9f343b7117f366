"""Which operator of a module makes most of roundings: two runs of its graph side by side, one in bf16."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from plena.checking.bf16_arithmetic import GRIDS, MOVES, Bf16Arithmetic
from plena.checking.module_graph import GraphRun, ModuleGraph, Replacement
from plena.checking.rounding_sites import packet
from plena.frontend.refusals import name_of, place_of
from plena.program.growth import Growth

OWN = 2.0**-9
"""What the rounding of one result makes at least; less before an operator is no reason for more behind it."""


class SideBySide(GraphRun):
    """A run of a graph in float32, and one with the results of operators in bf16, node by node.

    Attributes:
        growth: where they part most, as far as the run has come.
    """

    def __init__(self, graph: ModuleGraph, replacement: Replacement, lanes: int) -> None:
        super().__init__(graph, replacement)
        self._lanes = lanes
        self.growth: Growth | None = None
        self._rounded = GraphRun(graph, replacement)
        self._errors: dict[Node, float] = {}

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self._rounded.args_iter = iter(args)
        return super().run(*args, **kwargs)

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        with Bf16Arithmetic(GRIDS[0], self._lanes):
            rounded = self._rounded.env[n] = self._rounded.run_node(n)
        for done in self.user_to_last_uses.get(n, ()):
            del self._rounded.env[done]
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
            self._errors[n] = _apart(rounded, value)
            if n.op == "call_function" and packet(n) not in MOVES:
                self._judge(n)
        elif isinstance(value, tuple | list):
            pairs = [(x, y) for x, y in zip(rounded, value, strict=True) if isinstance(y, torch.Tensor)]
            self._errors[n] = max((_apart(x, y) for x, y in pairs if y.is_floating_point()), default=0.0)
        return value

    def _judge(self, node: Node) -> None:
        before = max((self._errors.get(source, 0.0) for source in node.all_input_nodes), default=0.0)
        after = self._errors[node]
        known = self.growth
        if known is None or after / max(before, OWN) > known.after / max(known.before, OWN):
            self.growth = Growth(f"{name_of(node)} at {place_of(node) or node.name}", before, after)


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative RMS difference where both are finite."""
    kept = found.isfinite() & wanted.isfinite()
    difference = torch.where(kept, found - wanted, 0.0).double().square().sum()
    size = torch.where(kept, wanted, 0.0).double().square().sum()
    return float((difference / size).sqrt()) if float(size) else 0.0
