"""Experts that are found by their ids at run time: right, with the bytes of the chosen alone, picked where faster."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from xdsl.parser import Parser

import plena
from plena.api.compile import program_of
from plena.api.program import Program
from plena.checking.per_op import check_per_op
from plena.checking.reference import as_tensors
from plena.compiler.search import search
from plena.dialects.plena import ChosenExpertsOp
from plena.driver import context, run_pipeline
from plena.frontend import import_module
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.passes.pick_experts import ExpertSchedule, PickExperts
from tests.covering import pairwise
from tests.kernels.checking import MACHINES, Function, check
from tests.passes.tensor_pipeline import close, references
from tests.poison import check_reads_what_is_defined

HIDDEN, INNER = 24, 40


class Experts(nn.Module):
    """Gated experts with biases, as gpt-oss has them."""

    def __init__(self, experts: int, chosen: int) -> None:
        super().__init__()
        self.chosen = chosen
        self.router = nn.Linear(HIDDEN, experts)
        self.up = nn.Parameter(torch.randn(experts, HIDDEN, 2 * INNER) / 5)
        self.up_bias = nn.Parameter(torch.randn(experts, 2 * INNER))
        self.down = nn.Parameter(torch.randn(experts, INNER, HIDDEN) / 6)
        self.down_bias = nn.Parameter(torch.randn(experts, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        weights, ids = self.router(x).topk(self.chosen)
        rows, flat = x.repeat_interleave(self.chosen, 0), ids.reshape(-1)
        both = torch.bmm(rows.unsqueeze(1), self.up[flat]).squeeze(1) + self.up_bias[flat]
        gate, up = both.chunk(2, -1)
        found = torch.bmm((F.silu(gate) * up).unsqueeze(1), self.down[flat]).squeeze(1)
        found = (found + self.down_bias[flat]) * weights.softmax(-1).reshape(-1, 1)
        return found.view(len(x), self.chosen, HIDDEN).sum(1)


class OneEach(Experts):
    """One expert for each token, whose weight is what it was chosen by, or a softmax of that alone."""

    def __init__(self, weights: str) -> None:
        super().__init__(32, 1)
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        scores = self.router(x)
        if self.weights == "behind":
            weights, ids = scores.topk(1)
            weights = weights.softmax(-1)
        elif self.weights == "maximum":
            weights, ids = scores.softmax(-1).max(-1, keepdim=True)
        else:
            weights, ids = (scores.softmax(-1) if self.weights == "before" else scores.sigmoid()).topk(1)
        flat = ids.reshape(-1)
        both = torch.bmm(x.unsqueeze(1), self.up[flat]).squeeze(1) + self.up_bias[flat]
        gate, up = both.chunk(2, -1)
        found = torch.bmm((F.silu(gate) * up).unsqueeze(1), self.down[flat]).squeeze(1)
        return (found + self.down_bias[flat]) * weights


class Layers(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


def experts(count: int, chosen: int) -> Experts:
    torch.manual_seed(0)
    return Experts(count, chosen).eval()


def tokens(count: int) -> Tensor:
    return torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(1))


@cache
def one_token() -> Program:
    return check(experts(32, 4), tokens(1), target=MACHINES[64], error=0.02)


def test_one_token_moves_the_chosen_experts_alone(tmp_path: Path) -> None:
    """Three tiles and the rows of the biases of both products each; the class is saved with the program."""
    program = one_token()
    check_reads_what_is_defined(program, tokens(1))
    rows, width = program.target.hbm_v_prefetch_amount, program.target.vlen
    moved = 4 * (3 * width * width + 2 * rows * width) * 9 // 8
    assert program.stats().hbm_traffic["experts"] == moved
    program.save(tmp_path / "experts")
    assert plena.Program.load(tmp_path / "experts").stats().hbm_traffic["experts"] == moved


@pytest.mark.parametrize("weights", ["before", "behind", "maximum", "sigmoid"])
def test_one_expert_each(weights: str) -> None:
    """A token moves the bytes of one expert; nothing but its rows tells its row from numbers that experts share."""
    torch.manual_seed(0)
    module = OneEach(weights).eval()
    program = check(module, tokens(1), target=MACHINES[64], error=0.02)
    assert program.stats().hbm_traffic["experts"] * 4 == one_token().stats().hbm_traffic["experts"]
    check_reads_what_is_defined(program, tokens(1))


@pytest.mark.parametrize(
    ("mlen", "count", "layer"), [(16, 3, (64, 2)), (64, 1, (140, 3))], ids=["some", "more than V_TOPK"]
)
def test_some_tokens(mlen: int, count: int, layer: tuple[int, int]) -> None:
    x = tokens(count)
    program = check(experts(*layer), x, target=MACHINES[mlen], error=0.02)
    check_reads_what_is_defined(program, x)


def test_layers_are_a_loop() -> None:
    torch.manual_seed(0)
    layers = Layers(*(Experts(8, 2) for _ in range(3))).eval()
    program = check(layers, tokens(1), target=MACHINES[16], error=0.02)
    assert len(program.words) < 600


class Step(nn.Module):
    """A step of a decoder: what has been seen is kept, and its mean chooses experts."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.experts = experts(8, 2)
        self.register_buffer("seen", torch.zeros(6, HIDDEN))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        self.seen.index_copy_(0, position, x)
        return self.experts(self.seen.sum(0, keepdim=True))


def test_steps_with_a_state() -> None:
    module, x = Step(), tokens(3)
    program = plena.compile(Step(), (x[:1], torch.tensor([0])), target=MACHINES[16])
    for n in range(3):
        row, position = x[n : n + 1], torch.tensor([n])
        found = as_tensors(program.run(row, position, progress=False))[0]
        with torch.no_grad():
            wanted = module(row, position)
        assert (found - wanted).norm() <= 0.13 * wanted.norm()


@pytest.mark.parametrize(
    ("count", "choice", "is_picked"),
    [(1, "auto", True), (1, "all", False), (64, "auto", False), (2, "chosen", True)],
)
def test_they_are_picked_where_that_is_faster(count: int, choice: ExpertSchedule, is_picked: bool) -> None:
    module, x = experts(8, 2), tokens(count)
    program = import_module(module, (x,))
    MACHINES[64].attach(program.module)
    run_pipeline(program.module, (PickExperts(choice),))
    program.module.verify()
    close(program, (x,), references(module, (x,)))
    assert any(isinstance(op, ChosenExpertsOp) for op in program.module.walk()) == is_picked


def test_each_operation_is_right() -> None:
    report = check_per_op(experts(8, 2), (tokens(1),), target=MACHINES[16])
    assert report.passed, str(report)


class OfMany(nn.Module):
    """Experts for all rows by one choice of four: the first ones, with the weights that the four have."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.slots = slots
        self.gate, self.up, self.down = (nn.Parameter(torch.randn(32, 128, 128) / 11) for _ in range(3))

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        weights, ids = scores.topk(4)
        total = torch.zeros_like(x)
        for e, weight in list(zip(ids[0].tolist(), weights.softmax(-1)[0], strict=True))[: self.slots]:
            total = total + weight * ((F.silu(x @ self.gate[e].T) * (x @ self.up[e].T)) @ self.down[e].T)
        return total


OF_MANY = """
builtin.module {
  func.func @main(%x: tensor<64x128xf32>, %s: tensor<1x32xf32>) -> tensor<64x128xf32> {
    %gate = plena.parameter @gate : tensor<32x128x128xf32>
    %up = plena.parameter @up : tensor<32x128x128xf32>
    %down = plena.parameter @down : tensor<32x128x128xf32>
    %mask = plena.route %s {k = 4 : i64} : (tensor<1x32xf32>) -> tensor<1x32xf32>
    %y = plena.chosen_experts %mask : tensor<1x32xf32> rows(%x : tensor<64x128xf32>)
        stacked(%gate, %up, %down : tensor<32x128x128xf32>, tensor<32x128x128xf32>, tensor<32x128x128xf32>)
        scores(%s : tensor<1x32xf32>) {k = 4 : i64} -> tensor<64x128xf32> {
    ^bb0(%rows: tensor<64x128xf32>, %weight: tensor<1x1xf32>):
      %a = plena.parameter @"expert 0" : tensor<128x128xf32>
      %b = plena.parameter @"expert 1" : tensor<128x128xf32>
      %c = plena.parameter @"expert 2" : tensor<128x128xf32>
      %g, %u = plena.projections %rows : tensor<64x128xf32> weights(%a, %b : tensor<128x128xf32>, tensor<128x128xf32>)
          -> tensor<64x128xf32>, tensor<64x128xf32>
      %h = plena.gate "silu" %g, %u : (tensor<64x128xf32>, tensor<64x128xf32>) -> tensor<64x128xf32>
      %o = plena.linear %h, %c : (tensor<64x128xf32>, tensor<128x128xf32>) -> tensor<64x128xf32>
      %one = plena.reshape %weight : (tensor<1x1xf32>) -> tensor<1xf32>
      %all = plena.expand %one : (tensor<1xf32>) -> tensor<128xf32>
      %p = plena.mul %o, %all : (tensor<64x128xf32>, tensor<128xf32>) -> tensor<64x128xf32>
      plena.yield %p : tensor<64x128xf32>
    }
    func.return %y : tensor<64x128xf32>
  }
}"""


def test_one_expert_a_token_is_added_to_nothing() -> None:
    x = tokens(3)
    program = check(experts(32, 1), x, target=MACHINES[64], error=0.02)
    assert "find expert" in program.asm and "place expert" in program.asm
    assert "clear sums" not in program.asm and "add expert" not in program.asm
    check_reads_what_is_defined(program, x)


@pytest.mark.parametrize(
    ("slots", "budget", "static", "cycles"),
    [(4, None, 165, 16_500), (1, None, 130, 3_800), (1, 100, 100, 4_200)],
)
def test_one_choice_for_many_rows(slots: int, budget: int | None, static: int, cycles: int) -> None:
    """The public compiler takes 1,104 instructions and 223,814 cycles for one such expert of 64 x 128 x 128."""
    model, target = OfMany(slots), Target()
    x = torch.randn(64, 128)
    scores = torch.zeros(1, 32)
    scores[0, [5, 17, 2, 30]] = torch.tensor([1.0, 2.0, 0.5, 1.5])
    module = Parser(
        context(), OF_MANY.replace("{k = 4 : i64} -> tensor<64", f"{{k = {slots} : i64}} -> tensor<64")
    ).parse_module()
    target.attach(module)
    run_pipeline(module, ("scale-before-products",))
    stands_for_it = import_module(Function(lambda x, s: x * s[:, :1]), (x, scores))
    imported = replace(stands_for_it, module=module, tensors=dict(model.named_parameters()))
    program = program_of(search(module, Schedule(), budget), imported, model, (x, scores))
    statistics = program.stats()
    assert statistics.static <= static and statistics.cycles["transactional"] <= cycles
    result = program.run(x, scores, progress=False)
    assert program.machine_reference is not None
    assert torch.equal(as_tensors(result)[0], as_tensors(program.machine_reference(x, scores))[0])
    exact = model(x, scores)
    assert (as_tensors(result)[0] - exact).norm() <= 0.13 * exact.norm()


@pytest.mark.parametrize(
    ("timing", "count", "allow_unsupported"), pairwise(["serialized", "rtl-v1"], [1, 40], [False, True])
)
def test_profiles_without_cycles_for_v_topk(timing: str, count: int, allow_unsupported: bool) -> None:
    """They choose no program of such a layer; among the figures of one that another profile chose theirs is None."""
    with pytest.raises(plena.PlenaError, match="no cycles are known for V_TOPK"):
        plena.compile(
            *(experts(8, 2), (tokens(count),)),
            target=MACHINES[64],
            timing=timing,
            allow_unsupported=allow_unsupported,
        )
    assert one_token().stats().cycles[timing] is None
