"""What the importer makes of a graph: names, constants, tied weights, folded subgraphs, unknown operators."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plena.dialects import aten
from plena.dialects.plena import BandAttr
from plena.errors import PlenaError
from plena.frontend import ImportedProgram, import_module
from tests.passes.tensor_pipeline import close, operations, references


def checked(module: nn.Module, *inputs: Tensor) -> ImportedProgram:
    """The imported module, verified and computing what PyTorch computes."""
    program = import_module(module, inputs)
    program.module.verify()
    close(program, inputs, references(module, inputs))
    return program


def kinds(program: ImportedProgram) -> list[str]:
    return [op.name.removeprefix("aten.") for op in operations(program)][:-1]


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any, **parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, tensor in parameters.items():
            self.register_parameter(name, nn.Parameter(tensor))

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*self.parameters(), *inputs)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8, bias=False)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_parameters_keep_their_names_and_storage() -> None:
    module = Nested()
    program = checked(module, torch.randn(3, 8))
    assert set(program.tensors) == {"layers.0.weight", "layers.0.bias", "layers.1.weight"}
    for name, tensor in program.tensors.items():
        assert tensor.data_ptr() == module.state_dict()[name].data_ptr()


def test_ops_carry_where_they_come_from() -> None:
    program = checked(Nested(), torch.randn(3, 8))
    linear = [op for op in operations(program) if isinstance(op, aten.LinearOp)][1]
    assert linear.attributes["plena.module"].data == "layers.1"
    assert linear.attributes["plena.node"].data == "linear_1"
    file, _, line = linear.attributes["plena.source"].data.rpartition(":")
    assert (
        file.endswith("test_import.py") and "layer(x)" in Path(file).read_text().splitlines()[int(line) - 1]
    )


def test_inputs_and_outputs_are_named_and_typed() -> None:
    class Two(nn.Module):
        def forward(self, ids: Tensor, hidden: Tensor) -> dict[str, Tensor]:
            return {"sum": hidden + 1, "ids": ids}

    program = import_module(Two(), (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3).bfloat16()))
    assert [(s.name, s.shape, s.dtype) for s in program.inputs] == [
        ("ids", (2, 3), torch.int64),
        ("hidden", (2, 3), torch.bfloat16),
    ]
    assert [(s.name, s.dtype) for s in program.outputs] == [("sum", torch.bfloat16), ("ids", torch.int64)]
    assert "tensor<2x3xbf16>" not in str(program.module), "the tensor level computes with f32"


def test_an_exported_program_and_keyword_arguments() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, *, y: Tensor, factor: float = 2.0) -> Tensor:
            return x * factor + y

    x, y = torch.randn(2, 2), torch.randn(2, 2)
    for program in (
        import_module(Scaled(), (x,), {"y": y}),
        import_module(torch.export.export(Scaled(), (x,), {"y": y}, strict=False)),
    ):
        torch.testing.assert_close(program.evaluate(x, y)[0], x * 2 + y)


def test_one_tensor_given_twice_stays_two_inputs() -> None:
    x, y = torch.randn(2, 3), torch.randn(2, 3)
    program = import_module(Apply(lambda a, b: a - 2 * b), (x, x))
    torch.testing.assert_close(program.evaluate(x, y)[0], x - 2 * y)


def test_tied_weights_are_one_symbol() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embed(ids))

    program = checked(Tied(), torch.tensor([[1, 2, 10]]))
    assert len(program.tensors) == 1 and kinds(program).count("parameter") == 1


def test_what_does_not_depend_on_inputs_is_folded() -> None:
    class Tables(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("frequencies", 1.0 / 10 ** torch.arange(4.0), persistent=False)
            self.gain = nn.Parameter(torch.randn(4))

        def forward(self, x: Tensor) -> Tensor:
            angles = torch.arange(x.shape[0])[:, None] * self.frequencies[None]
            return x * angles.cos() * (1.0 + self.gain)

    program = checked(Tables(), torch.randn(6, 4))
    assert sorted(kinds(program)) == ["constant", "constant", "mul", "mul"]


def test_a_buffer_assigned_to_itself_is_a_constant() -> None:
    """`self.table = self.table.to(...)` is exported as a change of the buffer, to what it was."""

    class Positions(nn.Module):
        table: Tensor
        count: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.randn(6, 4))
            self.register_buffer("count", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            self.table = self.table.to(x.device, x.dtype)
            self.count = self.count + x[0]
            return x + self.table[torch.arange(3)] + self.count

    program = checked(Positions(), torch.randn(3, 4))
    assert [state.name for state in program.states] == ["count"]


def test_masks_are_recognised() -> None:
    def masks(x: Tensor) -> Tensor:
        return x + torch.triu(torch.full((5, 5), float("-inf")), 1)

    program = checked(Apply(masks), torch.zeros(5, 5))
    (constant,) = (op for op in operations(program) if isinstance(op, aten.ConstantOp))
    assert constant.band == BandAttr(None, 0)


def test_moved_parameters_are_not_copied() -> None:
    weight = torch.randn(8, 12)
    program = checked(Apply(lambda w, x: x @ w[:, :6], w=weight), torch.randn(3, 8))
    assert list(program.tensors) == ["w"]
    assert kinds(program) == ["parameter", "slice", "matmul"]


def test_a_parameter_moved_and_then_computed_with_is_folded() -> None:
    program = checked(Apply(lambda w, x: x @ (w.t() * 2).exp(), w=torch.randn(6, 8)), torch.randn(3, 8))
    assert kinds(program) == ["constant", "matmul"]


def test_uniform_tensors_are_numbers() -> None:
    program = checked(Apply(lambda x: x + torch.ones(3, 4) * 0.5), torch.randn(3, 4))
    assert kinds(program) == ["full", "add"]


def test_training_mode_and_dropout() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    program = import_module(module, (torch.randn(2, 4),))
    assert "operator" not in kinds(program)
    assert module.training and module[1].training, "the user's module keeps its mode"


def test_unknown_operators_are_kept_with_their_arguments() -> None:
    def function(x: Tensor) -> Tensor:
        values, _ = torch.sort(x, dim=-1, descending=True)
        return torch.logcumsumexp(values, dim=0) + torch.erfc(x)

    program = checked(Apply(function), torch.randn(4, 5))
    operators = [op.operator.data for op in operations(program) if isinstance(op, aten.OperatorOp)]
    assert operators == ["aten.sort.default", "aten.logcumsumexp.default", "aten.erfc.default"]


def test_graphs_changed_in_place_are_made_functional() -> None:
    def function(x: Tensor) -> Tensor:
        y = x.clone()
        y.mul_(2).add_(1)
        return y.relu_()

    assert "operator" not in kinds(checked(Apply(function), torch.randn(4, 5)))


OPERATORS: dict[str, Any] = {
    "add a number": lambda x: x + 3,
    "subtract from a number": lambda x: 1 - x,
    "subtract with alpha": lambda x: torch.sub(x, x * x, alpha=2),
    "divide a number": lambda x: 2 / (x * x + 1),
    "powers": lambda x: x**2 + x**3 + (x * x + 1) ** -0.5 + (x * x) ** 0.5 + (x * x + 1) ** -1,
    "powers by tensors": lambda x: x ** torch.tensor(3) + x**0 + x ** torch.full((3, 1), 2.0),
    "power of a power": lambda x: (x * x + 1).pow(1.7),
    "square, abs, neg": lambda x: x.square() + x.abs() - (-x),
    "roots": lambda x: torch.sqrt(x * x + 1) * torch.rsqrt(x * x + 1) + torch.reciprocal(x * x + 1),
    "activations": lambda x: F.silu(x) + F.gelu(x) + F.gelu(x, approximate="tanh") + torch.tanh(x),
    "more activations": lambda x: F.relu(x) + F.relu6(x) + F.leaky_relu(x, 0.1) + F.elu(x) + x.sigmoid(),
    "scaled exponential activations": lambda x: F.selu(x) + F.celu(x, 0.5) + F.celu(x) + F.elu(x, 0.7),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3])) + F.prelu(x, torch.tensor([0.1, 0.2, 0.3])),
    "hard activations": lambda x: F.hardswish(x) + F.hardsigmoid(x) + F.hardtanh(x),
    "clamps": lambda x: x.clamp(-0.5, 0.5) + x.clamp_min(0) + x.clamp(max=1),
    "maximum": lambda x: torch.maximum(x, -x) + torch.minimum(x, x * 2),
    "means and sums": lambda x: (
        x.mean(-1, keepdim=True) + x.sum(1, keepdim=True) + x.amax((0, 2), keepdim=True)
    ),
    "everything": lambda x: x - x.mean() - x.sum() - x.max(),
    "maximum of an axis": lambda x: x - x.max(dim=-1, keepdim=True).values,
    "variance": lambda x: (
        x.var(-1, keepdim=True) + x.var(1, unbiased=False, keepdim=True) + x.std((1, 2), keepdim=True)
    ),
    "norm": lambda x: F.normalize(x, dim=-1) + torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "softmax": lambda x: x.softmax(1) + F.softmax(x, -1, dtype=torch.float32),
    "layer norm": lambda x: F.layer_norm(x, (4,)) + F.layer_norm(x, (3, 4)),
    "rms norm": lambda x: F.rms_norm(x, (4,)) + F.rms_norm(x, (4,), eps=1e-3),
    "views": lambda x: (
        x.reshape(6, 4).unsqueeze(0).squeeze().view(2, -1).unflatten(1, (3, 4)).flatten(1).view_as(x)
    ),
    "permutations": lambda x: x.transpose(0, 2).permute(2, 0, 1).movedim(0, 1).swapaxes(0, 1).mT,
    "expansion": lambda x: x[:1].expand(5, -1, -1) + x[0].expand_as(x[:1]),
    "repetition": lambda x: torch.cat([x.repeat(2, 1, 3)[:, :, :4], x.repeat_interleave(2, dim=0)]),
    "slices": lambda x: x[:, 1:] + x[:, :-1] + x[:, ::2] + x[..., 0, None, :],
    "splits": lambda x: sum(x.split([1, 3], -1)[0].chunk(2, 0)) + x.split(2, -1)[1][:1, :, :1],
    "unbinding": lambda x: x.unbind(1)[2] + x.select(1, -1),
    "joining": lambda x: torch.stack([x, -x], dim=1).flatten(0, 1) + torch.cat([x, x], dim=0),
    "joining with nothing": lambda x: torch.cat([x[..., :0], x], dim=-1),
    "indexing": lambda x: x[:, torch.tensor([2, 0])] + x.index_select(1, torch.tensor([1, 1])),
    "indexing several axes": lambda x: (
        x[:, torch.tensor([[2], [0]]), torch.tensor([1, 3])].sum()
        + x[torch.tensor([0, 1]), :, torch.tensor([1, -1])]
        + x[torch.arange(2)[:, None], torch.tensor([[0, 2, 1], [1, 1, 0]]), torch.tensor(-1)]
        + F.interpolate(x[None], (4, 3), mode="nearest-exact")[0, :, 3]
    ),
    "padding": lambda x: F.pad(x, (1, 2)) + F.pad(x, (3, 0), value=1.5),
    "where": lambda x: torch.where(x > 0, x, x * 0.1) + torch.where(torch.eye(3, 4) > 0, 0.0, x),
    "filling": lambda x: x.masked_fill(x < 0, 0.0) + x.masked_fill(torch.eye(3, 4, dtype=torch.bool), 2.0),
    "comparisons": lambda x: ((x > 0) & ~(x == 1)).float() + torch.logical_and(x >= 0, x <= 1).to(x.dtype),
    "products": lambda x: x @ x.mT + torch.bmm(x, x.transpose(1, 2)) + torch.einsum("bik,bjk->bij", x, x),
    "product with a vector": lambda x: x @ x[0, 0] + (x[0, 0] @ x.mT),
    "convolution": lambda x: F.conv2d(x[None], torch.ones(2, 2, 2, 2), stride=2, padding=1),
    "zeros like": lambda x: torch.zeros_like(x) + x.new_ones(4) * x,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name: str) -> None:
    torch.manual_seed(0)
    assert "operator" not in kinds(checked(Apply(OPERATORS[name]), torch.randn(2, 3, 4)))


def test_addmm_and_its_relatives() -> None:
    def function(w: Tensor, b: Tensor, x: Tensor) -> Tensor:
        return (
            torch.addmm(b, x, w, beta=0.5, alpha=2)
            + torch.mm(x, w)
            + torch.baddbmm(b[None], x[None], w[None])[0]
        )

    program = checked(Apply(function, w=torch.randn(4, 5), b=torch.randn(5)), torch.randn(3, 4))
    assert "operator" not in kinds(program)


def test_embedding_by_run_time_ids() -> None:
    table = torch.randn(10, 4)
    ids = torch.tensor([[1, 9], [0, 3]])
    assert kinds(checked(Apply(lambda w, i: F.embedding(i, w), w=table), ids)) == ["parameter", "embedding"]
    assert "index_select" in kinds(checked(Apply(lambda w, i: w[i], w=table), ids))


def test_an_argument_that_an_op_cannot_express_is_not_dropped() -> None:
    """Attention with dropout has an op, but the op has no dropout."""

    def attention(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)

    with pytest.raises(
        PlenaError, match=r"aten\.scaled_dot_product_attention\.default .*draws no random numbers"
    ):
        import_module(Apply(attention), (torch.randn(1, 2, 4, 8),))


def test_threads_take_turns() -> None:
    """torch traces with modes of the whole process: two at once fail, or leave logging switched off."""
    failed: list[BaseException] = []

    def importing(layers: int) -> None:
        try:
            for _ in range(3):
                import_module(nn.Sequential(*(nn.Linear(8, 8) for _ in range(layers))), (torch.ones(2, 8),))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=importing, args=(layers,)) for layers in (4, 5, 6, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and logging.root.manager.disable == logging.NOTSET
