"""NaN and infinity stay with their element, as in PyTorch, or are refused where the machine would lose them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from plena.api.compile import compile
from plena.errors import CompileError, PlenaError
from tests.kernels.against_torch import against_torch, exact
from tests.kernels.checking import MACHINES, Function

INF = float("inf")
ATTENTION_ERROR = 0.05
EDGES = torch.tensor(
    [[4.0, -1.0, 9.0, 16.0, 0.0, 2.0, -0.0, 1.0], [1.0, 2.0, 3.0, -5.0, 7.0, -8.0, 0.5, -0.0]]
)

ROOTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "power": lambda x: x**0.5,
    "reciprocal": torch.reciprocal,
    "quotient": lambda x: (x - 4.0) / x,
    "root of infinity": lambda x: (2.0 / x).sqrt(),
    "reciprocal root of infinity": lambda x: (1.0 / x).rsqrt(),
}


@pytest.mark.parametrize("columns", [1, 4, 8])
@pytest.mark.parametrize("name", ROOTS)
def test_edges_stay_with_their_element(name: str, columns: int) -> None:
    """Negative numbers and both zeros, on the scalar unit and the vector unit."""
    pieces = EDGES.reshape(-1, columns)
    against_torch(ROOTS[name], (pieces,), error=0.008)


def test_one_part_of_a_row_divided_by_zero() -> None:
    """Numbers for parts of rows are spread over the lanes of their part."""
    x = exact(3, 4, 8)
    x[1, 2] = 0.0
    against_torch(lambda x: x / x.abs().sum(-1, keepdim=True), (x,), error=0.02)
    against_torch(lambda x: 1.0 / x.abs().sum(-1), (x,), error=0.02)


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_similarities_with_a_row_of_zeros(rows: int) -> None:
    """Vectors divided by their norms are stored for a product; one without a direction is NaN in its column alone."""

    def similarities(x: Tensor, y: Tensor) -> Tensor:
        return (x / x.norm(dim=-1, keepdim=True)) @ (y / y.norm(dim=-1, keepdim=True)).T

    # Their norms are 4, so that storing costs nothing.
    x, y = exact(2, 16).sign(), exact(rows, 16, seed=3).sign()
    zeros = y.clone()
    zeros[rows // 2] = 0.0
    against_torch(similarities, (x, y), (x, zeros), target=MACHINES[16])


AT_INFINITY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "leaky_relu": lambda y: functional.leaky_relu(y, 0.1),
    "elu": functional.elu,
    "selu": functional.selu,
    "exp": torch.exp,
    "silu": functional.silu,
    "gelu": lambda y: functional.gelu(y, approximate="tanh"),
    "relu": torch.relu,
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("name", AT_INFINITY)
def test_functions_of_infinity(name: str) -> None:
    s = torch.tensor([[1.0, -1.0, 2.0, -2.0, 1.0, 0.0, 3.0, 4.0], [0.0, 1.0, -1.0, 2.0, 0.0, 1.0, 4.0, -5.0]])
    x = torch.tensor([[0.0, 0.0, 1.0, 2.0, -1.0, 0.0, -4.0, 2.0], [1.0, 1.0, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0]])
    function = AT_INFINITY[name]
    against_torch(lambda s, x: function(s / x.abs()), (s, x), error=0.03)


def test_the_larger_of_infinity_and_a_number() -> None:
    s, x = exact(2, 8), exact(2, 8, seed=5)
    x[0, ::2] = 0.0
    for function in (torch.maximum, torch.minimum):
        against_torch(lambda s, x, f=function: f(s / x.abs(), x), (s, x), error=0.008)
        against_torch(lambda s, x, f=function: f(x, s / x.abs()), (s, x), error=0.008)
        against_torch(lambda s, x, f=function: f(s / x, x / s), (s, x), error=0.008)


def test_choice_between_quotients_of_both_zeros() -> None:
    mask = torch.tensor([[True, False, True, False, True, True, False, False]]).repeat(2, 1)
    x, y = EDGES, EDGES.roll(3, 1) * EDGES.roll(2, 1)
    against_torch(lambda m, x, y: torch.where(m, y / x, x / (y * ~m)), (mask, x, y), error=0.008)


def test_integers_that_are_numbers() -> None:
    """To bf16, not to the format of activations."""
    i = torch.tensor([[70, 69, 1, 2, 3, 66, 100, 5], [500, 999, 1000, 300, 17, 19, 21, 23]])
    x = torch.zeros(2, 8)
    for function in (lambda x, i: x + i * 1.0, lambda x, i: x + i / 4):
        against_torch(function, (x, i), error=2**-8)
    for part in (i[1], i[:, 1:2]):
        against_torch(lambda x, i: x + i.float(), (x, part), error=2**-8)


class TwoAttentions(nn.Module):
    """The rows of the first are keys of the second."""

    def __init__(self, need_weights: bool, causal: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.MultiheadAttention(16, 2, batch_first=True)
        self.second = nn.MultiheadAttention(16, 2, batch_first=True)
        self.need_weights, self.causal = need_weights, causal

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        triangle = torch.ones(6, 6, dtype=torch.bool).triu(1) if self.causal else None
        options = {"key_padding_mask": hidden, "need_weights": self.need_weights, "attn_mask": triangle}
        y = self.first(x, x, x, **options)[0]
        return self.second(y, y, y, need_weights=False)[0]


@pytest.mark.parametrize("causal", [False, True])
def test_a_nan_row_among_keys_is_refused_when_the_mask_is_staged(causal: bool) -> None:
    x, mask = exact(2, 6, 16) / 8, torch.zeros(2, 6, dtype=torch.bool)
    mask[0, 4:] = True
    program = against_torch(TwoAttentions(True, causal), (x, mask), error=2 * ATTENTION_ERROR)
    mask[1] = True
    with pytest.raises(PlenaError, match="query 0 of sample 1 sees no key"):
        program.run(x, mask)
    if causal:
        mask[1, 1:] = False
        with pytest.raises(PlenaError, match="query 0 of sample 1 sees no key"):
            program.run(x, mask)


def test_rows_of_zeros_may_be_keys() -> None:
    """Without weights torch makes zeros of a query that sees nothing, also in a padded encoder."""
    x, mask = exact(2, 6, 16) / 8, torch.zeros(2, 6, dtype=torch.bool)
    mask[1] = True
    program = compile(TwoAttentions(False).eval(), (x, mask))
    assert program.run(x, mask).isfinite().all()
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    padded = Function(lambda x, m: encoder(x, src_key_padding_mask=m))
    assert compile(padded.eval(), (x, mask)).run(x, mask).isfinite().all()


class DividedKeys(nn.Module):
    """Attention behind a linear layer of a quotient."""

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.floor = floor

    def forward(self, x: Tensor, d: Tensor) -> Tensor:
        y = self.linear(x / (d.clamp(min=self.floor) if self.floor else d))
        return self.attention(y, y, y, need_weights=False)[0]


def test_keys_that_may_be_infinite_are_refused() -> None:
    x, d = exact(1, 6, 8), torch.ones(1, 6, 1)
    with pytest.raises(CompileError, match=r"keys or values that may hold infinity or NaN, of plena\.div"):
        compile(DividedKeys(0.0).eval(), (x, d))
    compile(DividedKeys(1e-6).eval(), (x, d))


class DividedBy(nn.Module):
    """Keys are quotients."""

    def __init__(self, divisor: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.divisor = nn.Linear(64, 64), divisor
        self.far, self.near = nn.Parameter(torch.rand(64) + 0.5), nn.Parameter(torch.rand(64))
        with torch.no_grad():
            self.near[5] = 1e-9

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        h = h / self.divisor(h)
        return functional.scaled_dot_product_attention(h, h, h)


@pytest.mark.parametrize(
    "divisor",
    [
        lambda h: 1 + torch.relu(h),
        lambda h: torch.sqrt(h.var(-1, keepdim=True) + 1e-5),
        lambda h: h.norm(dim=-1, keepdim=True) + 1e-6,
        lambda h: 2 - torch.sigmoid(h),
        lambda h: 1.5 - torch.tanh(h),
        lambda h: functional.elu(h) + 2,
        lambda h: -(h.abs() + 1),
        lambda h: 1 + h.exp().sum(-1, keepdim=True),
        lambda h: h.clamp(min=70).exp(),
        lambda h: functional.silu(h) + 1,
    ],
)
def test_divisors_are_proven_by_the_range_of_their_numbers(divisor: Callable[[Tensor], Tensor]) -> None:
    compile(DividedBy(divisor).eval(), (torch.randn(1, 1, 8, 64),))


def test_divisors_that_are_parameters_are_proven_by_their_numbers() -> None:
    """Unless one is 0, or staged as 0 beside the others."""
    x, module = torch.randn(1, 1, 8, 64), DividedBy(lambda h: h)
    for parameter in (module.far, module.far * 2, module.far[None, :32].repeat(1, 2)):
        module.divisor = lambda h, p=parameter: p
        compile(module.eval(), (x,))
    module.divisor = lambda h: h.exp()  # A product with e^-h.
    compile(module.eval(), (x,))
    for divisor in (
        lambda h: module.near,
        lambda h: 1 + torch.tanh(h),
        lambda h: h.exp() - 1,
        lambda h: h - 0.999,
    ):
        module.divisor = divisor
        with pytest.raises(CompileError, match="keys or values that may hold infinity or NaN"):
            compile(module.eval(), (x,))


def test_linear_layers_behind_infinity_keep_rows_apart() -> None:
    linear, d = nn.Linear(8, 200), torch.ones(200, 1)
    d[2] = 0.0
    against_torch(lambda x, d: linear(x / d), (exact(200, 8), d), error=0.1)


def test_real_masks_of_attention_are_used_for_nothing_else() -> None:
    q = exact(1, 2, 6, 8) / 8
    mask = torch.tensor([0.49, 0.51, 1.0, 0.5, 0.52, 0.0]).repeat(6, 1)

    def attention(q: Tensor, m: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, q, q, attn_mask=m > 0.5)

    against_torch(attention, (q, mask), error=ATTENTION_ERROR)
    with pytest.raises(CompileError, match="compared and used for something else"):
        compile(Function(lambda q, m: attention(q, m) + m.sum()), (q, mask))


def test_safe_softmax() -> None:
    """A row of minus infinity alone is 0."""
    q, bias = exact(1, 2, 6, 8) / 8, torch.zeros(6, 6)
    bias[3] = -INF
    bias[4, 2:] = -INF

    def attention(q: Tensor, bias: Tensor) -> Tensor:
        return torch.ops.aten._safe_softmax(q @ q.transpose(-1, -2) + bias, -1) @ q

    against_torch(attention, (q, bias), error=ATTENTION_ERROR)
    with pytest.raises(CompileError, match="become 0 in attention only"):
        compile(
            Function(lambda x, m: torch.ops.aten._safe_softmax(x.masked_fill(m, -INF), -1)),
            (q[0, 0], q[0, 0] > 0),
        )


def test_run_time_biases_of_all_sizes_in_one_block() -> None:
    torch.manual_seed(0)
    q, bias = exact(1, 2, 9, 8) / 64, torch.randn(1, 1, 9, 9)
    bias[..., ::3] = -190.0
    bias[..., 4, :] = -190.0

    def attention(q: Tensor, bias: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, q, q, attn_mask=bias)

    program = against_torch(attention, (q, bias), error=ATTENTION_ERROR)
    assert program.check(q, bias).passed


def test_an_rms_norm_of_an_infinity_is_nan_there_alone() -> None:
    """So what moves its columns by products would spread it over the row."""
    mask = torch.zeros(7, 12).masked_fill(torch.arange(84).view(7, 12) % 5 == 0, -torch.inf)

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.cat([y, functional.rms_norm(x + self.mask, (12,))], 1)

    with pytest.raises(PlenaError, match="moving the columns of a tensor with infinities or NaN"):
        compile(Beside(), (torch.randn(7, 12), torch.randn(7, 5)))
    program = compile(Function(lambda x: functional.rms_norm(x + mask, (12,))), (torch.randn(7, 12),))
    assert torch.equal(program.run(torch.ones(7, 12), progress=False).isnan(), mask.isinf())
