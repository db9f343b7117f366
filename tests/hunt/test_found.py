"""What `python -m tests.hunt` has found, as small as it can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from plena.api.compile import compile
from plena.verification import verify
from tests.covering import pairwise
from tests.hunt.case import BlockCase, Case
from tests.hunt.machines import FORMATS
from tests.hunt.verdict import REFUSALS, examine
from tests.hunt.writer import Kind, Shape, Source

SMALL = {
    "MLEN": 16,
    "VLEN": 16,
    "HLEN": 4,
    "MATRIX_SRAM_SIZE": 256,
    "VECTOR_SRAM_SIZE": 4096,
    "HBM_SIZE": 1 << 24,
    "HBM_M_Prefetch_Amount": 16,
}


def case(result: str, *inputs: Shape, init: str = "pass", limit: Kind = 0, **settings: Any) -> Case:
    """A module with one line; inputs are x0, x1 ..., the last one of another kind if there is one."""
    ports: list[tuple[str, Shape, Kind]] = [(f"x{n}", shape, 0) for n, shape in enumerate(inputs)]
    if limit:
        ports[-1] = (*ports[-1][:2], limit)
    text = f"""
class Random(nn.Module):
    def __init__(self):
        super().__init__()
        {init}

    def forward(self, {", ".join(name for name, _, _ in ports)}):
        return {result}
"""
    return Case(Source(text, tuple(ports)), {**SMALL, **settings}, {})


def test_scales_of_blocks_of_different_sizes_lie_apart() -> None:
    settings: dict[str, Any] = {
        "MLEN": 64,
        "VLEN": 64,
        "HLEN": 16,
        "HBM_M_Prefetch_Amount": 64,
        "PRECISION.HBM_M_WEIGHT_TYPE.block": 16,
        "PRECISION.HBM_V_ACT_TYPE.block": 32,
    }
    assert examine(case("x0[:, 0:2:2]", (5, 24), **settings)) == "compiled"
    settings["PRECISION.HBM_V_ACT_TYPE.ELEM"] = FORMATS["e5m2"]
    assert examine(
        case("x0 @ self.w.T", (5, 24), init="self.w = nn.Parameter(torch.randn(9, 24))", **settings)
    )


@pytest.mark.parametrize(
    ("result", "shape"),
    [
        ("x0.transpose(2, 3)", (1, 2, 20, 17)),
        ("x0.reshape(124)", (4, 31)),
        ("x0.transpose(1, 3), x0 * 1.5", (3, 3, 8, 5)),
    ],
)
def test_rearranged_arguments_are_results(result: str, shape: tuple[int, ...]) -> None:
    assert examine(case(result, shape)) == "compiled"


@pytest.mark.parametrize("shape", [(2, 2, 2, 1), (2, 3, 4, 3)])
def test_axes_of_rows_are_exchanged_though_the_last_one_stays(shape: tuple[int, ...]) -> None:
    moved = (shape[1], shape[0], *shape[2:])
    assert examine(case("(x0 + 1).transpose(0, 1) + x1", shape, moved)) == "compiled"


def test_a_reshape_of_a_reshape_that_a_kernel_reads() -> None:
    for shape in ((1, 1, 1), (2, 3, 4)):
        assert examine(case("F.relu(F.relu(x0).repeat_interleave(2, -1))", shape)) != "failed"


def test_ids_are_staged_as_multiples_of_a_row() -> None:
    embedding = case("self.m(x0) / 3", (5,), init="self.m = nn.Embedding(4, 8)", limit=4)
    program = compile(embedding.module(), embedding.inputs(), target=embedding.target)
    assert not [
        f
        for f in verify(program.words, program.target, program.preloaded_spans())
        if f.code == "offset-in-block"
    ]


FORMS: dict[str, dict[str, Any]] = {"auto": {}, "online": {"matmul": "mm", "attention": "online"}}


@pytest.mark.parametrize(("size", "amount", "form"), pairwise([2, 16], [1, 4], FORMS))
def test_rows_behind_the_last_one_do_not_matter_to_attention(size: int, amount: int, form: str) -> None:
    """Norms leave them as they were; products carry them into queries, keys and values."""
    configuration = {
        **{"batch": 3, "length": 9, "width": 6, "kv_heads": 2, "heads": 4, "size": size, "mask": "none"},
        **{"repeat": "expand", "activation": "silu", "bias": True, "head_norm": False, "written": False},
        **{"rms": False, "gated": True, "norm_first": True},
    }
    settings = {**SMALL, "BLEN": 2, "HBM_V_Prefetch_Amount": amount, "HBM_V_Writeback_Amount": amount}
    assert examine(BlockCase(configuration, settings, FORMS[form])) == "compiled"


@pytest.mark.parametrize(
    "result",
    [
        "x0 ** 3",
        "(x0 * x0) * (x0 * x0) * x0",
        "x0.square() ** 3",
        "self.a(self.a(self.a(x0) + x0) + self.a(x0))",
        "x0 + x0 + x0",
        "self.a(self.a(x0) + x0) + x0",
        "self.a(self.b(x0) + x0) + x0",
        "self.b(self.a(x0) + self.a(x0).tanh()) + self.a(self.a(x0))",
    ],
)
def test_what_the_first_of_equal_steps_reads_is_not_what_they_carry(result: str) -> None:
    init = "self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)"
    assert examine(case(result, (3, 8), init=init)) == "compiled"


INFINITE = "(x0 / x1.abs())"


@pytest.mark.parametrize(
    "result",
    [
        f"{INFINITE}.abs()",
        f"F.leaky_relu({INFINITE}, 0.1)",
        f"F.elu({INFINITE})",
        f"F.celu({INFINITE})",
        f"F.selu({INFINITE})",
        f"{INFINITE}.exp()",
        f"{INFINITE}.abs().rsqrt()",
        f"torch.maximum({INFINITE}, x0)",
        f"torch.minimum({INFINITE}, x0)",
        f"F.silu({INFINITE})",
    ],
)
def test_infinities_that_arise_on_the_machine_stay(result: str) -> None:
    assert examine(case(result, (3, 8), (3, 8), limit="signs")) == "compiled"


@pytest.mark.parametrize(
    "result", [f"F.relu({INFINITE})", f"torch.tanh({INFINITE})", f"{INFINITE}.softmax(-1)"]
)
def test_infinities_that_arise_on_the_machine_vanish(result: str) -> None:
    assert examine(case(result, (3, 8), (3, 8), limit="signs")) == "compiled"


COARSE: dict[str, Any] = {
    **{"BLEN": 2, "HLEN": 1, "BROADCAST_AMOUNT": 16, "MATRIX_SRAM_SIZE": 1024, "VECTOR_SRAM_SIZE": 65536},
    **{"PRECISION.HBM_V_ACT_TYPE.block": 8, "PRECISION.HBM_V_ACT_TYPE.ELEM": FORMATS["e5m2"]},
}


@pytest.mark.parametrize(
    "result",
    [
        "F.scaled_dot_product_attention(x0, x0, x0)",
        "F.scaled_dot_product_attention(x0, x0 * 0.3, x0[:, :5])",
        "(x0 @ x0.transpose(-2, -1) * 0.3).softmax(-1) @ x0",
        "x0 @ x0.reshape(7, 3)",
    ],
)
def test_an_input_is_staged_in_one_format_for_products_and_in_another_beside(result: str) -> None:
    assert examine(case(f"{result}, x0 * 1.5", (3, 7), **COARSE)) == "compiled"


def test_a_result_of_one_element_is_as_coarse_as_its_format() -> None:
    assert examine(case("x0.amax(-1, keepdim=True)", (1, 3), **COARSE)) == "compiled"


@pytest.mark.parametrize("options", [{}, {"matmul": "vector"}])
def test_a_reduction_of_less_than_a_tile_that_nothing_is_left_to_hold(options: dict[str, str]) -> None:
    """A prefetch brings three of the four tiles of matrix SRAM, one of them that packs."""
    settings = {
        "BLEN": 2,
        "HLEN": 2,
        "BROADCAST_AMOUNT": 8,
        "MATRIX_SRAM_SIZE": 64,
        "HBM_M_Prefetch_Amount": 48,
    }
    for width in (1, 17):
        small = case("self.m(x0)", (1, width), init=f"self.m = nn.Linear({width}, 1)", **settings)
        assert examine(replace(small, options=options)) == "compiled"


def test_products_by_a_unit_that_the_target_lacks_are_refused() -> None:
    """By name, also in a module without products."""
    settings: dict[str, Any] = {**COARSE, "BROADCAST_AMOUNT": 1}
    lacking = case("F.relu(x0)", (1, 1), **settings)
    for unit in ("broadcast", "vector"):
        outcome = examine(replace(lacking, options={"matmul": unit}))
        assert outcome.startswith(f"refused: matmul {unit}") and any(part in outcome for part in REFUSALS)


@pytest.mark.parametrize("options", [{}, {"attention": "online"}])
def test_a_query_that_is_nan_reaches_no_row_of_another_head_or_sample(options: dict[str, Any]) -> None:
    """The softmax leaves NaN in scores that no product of the next block writes: five keys are no whole tile."""
    shape = (2, 2, 5, 16)
    written = case("(x0.sqrt() @ x1.transpose(-2, -1)).softmax(-1) @ x1", shape, shape, BLEN=4)
    module, (query, key) = written.module(), written.inputs()
    query = query.abs()
    query[0, 1, 2, 3] = -1.0
    program = compile(module, (query, key), target=written.target, **options)
    result = program.run(query, key, progress=False)
    assert torch.equal(result.isnan(), module(query, key).isnan()) and result.isnan().sum() == 16


@pytest.mark.parametrize("result", ["1 / (x0 + 0.0)", "1 / (0 - x0)", "1 / (0.0 - x0 * 2)", "1 / (x0 - 0.0)"])
def test_sums_with_zero_make_zero_of_minus_zero(result: str) -> None:
    signs = case(result, (1, 8))
    zeros = torch.tensor([[0.0, -0.0, 1.0, -2.0, -0.0, 0.0, -0.0, 3.0]])
    program = compile(signs.module(), signs.inputs(), target=signs.target)
    torch.testing.assert_close(program.run(zeros, progress=False), signs.module()(zeros), rtol=0.01, atol=0)


WIDE: dict[str, Any] = {
    **{"MLEN": 128, "VLEN": 128, "BLEN": 2, "HLEN": 1, "BROADCAST_AMOUNT": 128},
    **{"MATRIX_SRAM_SIZE": 8192, "VECTOR_SRAM_SIZE": 8192, "HBM_M_Prefetch_Amount": 128},
}


@pytest.mark.parametrize("side", ["x0 * float('inf')", "x0 / 0.0"])
def test_a_side_made_infinite_by_a_number_is_not_read_where_the_other_is_selected(side: str) -> None:
    """It has no finite form there: refused by name."""
    outcome = examine(case(f"torch.where(x1 >= 3, {side}, 1.5)", (3, 8), (3, 8), limit="integers"))
    assert outcome.startswith("refused: no kernel for aten.where")
    assert examine(case(f"torch.where(x1 >= 3, 1.5 * x0, 1.5), {side}", (3, 8), (3, 8), limit="integers"))


def test_few_elements_of_a_sum_that_cancels() -> None:
    init = "self.m = nn.RMSNorm(24, eps=1e-6, elementwise_affine=False)"
    result = "self.m(x0), (self.m(x0).mean(-1, keepdim=True) * 0.5).sum()"
    assert examine(case(result, (1, 9, 24), init=init, **WIDE)) == "compiled"


def test_inputs_that_staging_refuses_are_refused() -> None:
    """Rows without a key are NaN, which no transposition stores."""
    masked = case(
        "((x0 @ x1.transpose(-2, -1)).masked_fill(~x2, float('-inf')).softmax(-1) @ x1).transpose(1, 2)",
        (2, 16, 8),
        (2, 17, 8),
        (2, 16, 17),
        limit="flags",
    )
    assert examine(masked).startswith("refused")


def test_a_step_over_an_axis_of_one_element_leaves_the_tensor_as_it_is() -> None:
    """The result was the argument's own rows, which the norm then took for its own."""
    settings = {**SMALL, "BLEN": 4, "BROADCAST_AMOUNT": 4}
    text = """
class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(5, eps=0.001, elementwise_affine=False)

    def forward(self, x0):
        t0 = x0[:, :, 0:1:2]
        return {"r0": self.norm(x0[:, :, 0:1:1]), "r1": t0}
"""
    examine(Case(Source(text, (("x0", (1, 3, 1, 5), 0),), 0), settings, {}))


def test_a_mask_before_a_softmax_along_rows() -> None:
    assert examine(case("(x0 + x1).softmax(-2)", (2, 4, 4), (4, 4), limit="-inf")) == "compiled"


def test_a_number_chosen_in_a_format_of_three_bits() -> None:
    """A tensor of one number was staged in two parts, which hold six bits: 1.6 % of the largest number were lost."""
    settings: dict[str, Any] = {"PRECISION.HBM_V_ACT_TYPE.ELEM": FORMATS["e5m2"]}
    result = "torch.where(x1.bool(), torch.finfo(torch.float32).max, x0)"
    assert examine(case(result, (2, 5), (2, 5), limit="integers", **settings)) == "compiled"


def test_an_infinite_number_a_row_is_in_no_sum_twice() -> None:
    """It fills the lanes behind the last column, which a sum leaves out whatever they hold."""
    result = "(x0 + (x0.masked_fill(x1, float('inf'))).sum(-1, keepdim=True)).sum(-1)"
    assert examine(case(result, (3, 24), (3, 24), limit="flags")) == "compiled"
    assert examine(case(result, (3, 32), (3, 32), limit="flags")) == "compiled"


def test_the_mean_of_a_norm_is_what_its_rounded_mean_leaves() -> None:
    init = "self.m = nn.LayerNorm(80, elementwise_affine=False)"
    settings = {**WIDE, "MLEN": 128, "VLEN": 128, "MATRIX_SRAM_SIZE": 1 << 14}
    assert examine(case("self.m(x0).mean(-1, keepdim=True)", (18, 80), init=init, **settings)) == "compiled"


def test_divisions_are_judged_as_products_with_a_reciprocal() -> None:
    """One divisor for all: what rounding its reciprocal costs does not average out."""
    settings = {**WIDE, "MLEN": 64, "VLEN": 64, "BLEN": 16, "HLEN": 2, "BROADCAST_AMOUNT": 7}
    text = """
class Random(nn.Module):
    def forward(self, x0, x1):
        t0 = x0 / (x1.abs() + 0.5)
        t1 = t0 - x0
        return t0, x0 * 1.5, t1.mean()
"""
    inputs = (("x0", (5, 48), 0), ("x1", (), 0))
    assert examine(Case(Source(text, inputs), settings, {})) == "compiled"


def test_heads_lie_in_the_references_as_in_the_exported_graph() -> None:
    """Its view of them side by side failed where queries are infinite, which torch's products compute."""
    settings = {**WIDE, "MLEN": 128, "VLEN": 128, "BLEN": 2, "HLEN": 8, "MATRIX_SRAM_SIZE": 8192}
    text = """
class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(66, n, bias=False) for n in (64, 32, 32))

    def forward(self, x0, x1):
        x = torch.cat([x0, torch.full((3, 16, 2), float("-inf"))], -1)
        q = self.q(x).unflatten(-1, (4, 16)).transpose(-3, -2)
        k, v = (y.unflatten(-1, (2, 16)).transpose(-3, -2) for y in (self.k(x1), self.v(x1)))
        x = F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(-3, -2).flatten(-2)
        return F.pad(x, (0, 0), value=float("-inf"))
"""
    inputs = (("x0", (3, 16, 64), 0), ("x1", (3, 2, 66), 0))
    assert examine(Case(Source(text, inputs), settings, {})) == "compiled"


def test_a_row_in_a_hundred_has_what_one_rounding_in_ten_has() -> None:
    settings = {**WIDE, "MLEN": 64, "VLEN": 64, "BLEN": 4, "HLEN": 2, "BROADCAST_AMOUNT": 32}
    settings |= {"MATRIX_SRAM_SIZE": 4096, "VECTOR_SRAM_SIZE": 16384, "HBM_M_Prefetch_Amount": 64}
    text = """
class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.m0 = nn.RMSNorm(12, eps=1e-05, elementwise_affine=False)

    def forward(self, x0):
        t0 = self.m0(x0)
        return (t0 @ t0.transpose(-2, -1) * 0.3).softmax(-1) @ t0
"""
    assert examine(Case(Source(text, (("x0", (2, 3, 17, 12), 0),)), settings, {})) == "compiled"
