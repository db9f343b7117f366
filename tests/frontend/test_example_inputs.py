"""Inputs and modules that nobody should give: refused by name, with what to give instead, before torch sees them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

import plena
from plena.checking.reference import as_tensors
from plena.errors import CompileError
from plena.frontend import import_module
from tests.hunt.odd_modules import M
from tests.hunt.verdict import compare_with_torch

X = torch.arange(8.0).reshape(2, 4) / 7


@pytest.mark.parametrize(
    ("inputs", "where", "what", "hint"),
    [
        (None, "inputs", "not None", r"plena\.compile\(model, \(x,\)\)"),
        (X, "inputs", "not one tensor", r"\(x,\)"),
        ({"input": X}, "inputs", "not a dictionary", "third argument"),
        (iter([X]), "inputs", "not a list_iterator", r"\(x,\)"),
        ((X.to_sparse(),), "input 0", "sparse_coo", "to_dense"),
        ((X.to("meta"),), "input 0", "no values", "CPU"),
        ((X.numpy(),), "input 0", "numpy.ndarray", "torch.as_tensor"),
        ((np.float32(1),), "input 0", "numpy.float32", "torch.as_tensor"),
        ((torch.nested.nested_tensor([X[0], X[1, :2]]),), "input 0", "nested", "to_padded_tensor"),
        ((X.to(torch.complex64),), "input 0", "complex64", "view_as_real"),
        ((X.double(),), "input 0", "float64", "float32"),
        ((torch.quantize_per_tensor(X, 0.1, 0, torch.qint8),), "input 0", "quantised", "dequantize"),
        (([X, object()],), r"input 0\[1\]", "object", "tensor"),
        ((X[:0],), "input 0", r"\[0, 4\] is empty", "elements"),
    ],
)
def test_inputs(inputs: Any, where: str, what: str, hint: str) -> None:
    with pytest.raises(CompileError, match=what) as caught:
        plena.compile(nn.Linear(4, 4), inputs)
    assert caught.value.where is not None and caught.value.hint is not None
    assert re.fullmatch(where, caught.value.where)
    assert re.search(hint, caught.value.hint)


class Scaled(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * 10 + y


def test_a_program_exported_with_one_tensor_for_two_inputs_is_refused() -> None:
    """torch.export makes x * 10 + y to y * 10 + y; saved and loaded it is the same."""
    program = torch.export.export(Scaled(), (X, X))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    for merged in (program, torch.export.load(file), program.run_decompositions()):
        with pytest.raises(CompileError, match="one tensor for x and y, and reads y for both") as caught:
            import_module(merged)
        assert caught.value.hint is not None and "x.clone()" in caught.value.hint
    import_module(torch.export.export(Scaled(), (X, X.clone())))
    import_module(torch.export.export(Scaled(), (X,), {"y": X.clone()}))


@pytest.mark.parametrize("kwargs", [[X], "x", {1: X}])
def test_named_inputs(kwargs: Any) -> None:
    with pytest.raises(CompileError, match="must be a dictionary by their names"):
        import_module(nn.Linear(4, 4), (X,), kwargs)


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (lambda: nn.LazyLinear(4), "parameter weight of LazyLinear: it has no shape yet"),
        (lambda: nn.Linear(4, 4, device="meta"), "parameter weight of Linear: it is on the meta device"),
        (lambda: nn.DataParallel(nn.Linear(4, 4)), "model is a DataParallel.*model.module"),
        (lambda: torch.jit.script(nn.Linear(4, 4)), "ScriptModule"),
        (lambda: nn.Linear, "not Linear.*Make an object"),
    ],
)
def test_modules(module: Callable[[], Any], what: str) -> None:
    with pytest.raises(CompileError, match=what):
        plena.compile(module(), (X,))


def _count(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    return x * self.calls


def _remember(self: Any, x: Tensor) -> Tensor:
    self.length = x.shape[0]
    self.seen = x * 2
    return self.seen + self.length


def _write(self: Any, x: Tensor) -> Tensor:
    self.state[:, :2].add_(x[:, :2])
    return self.state + x


def test_numbers_that_every_call_changes() -> None:
    module = M(_count, calls=0)
    with pytest.raises(CompileError, match="attribute calls in every call, 1 became 2"):
        plena.compile(module, (X,))
    assert module.calls == 0


def test_what_a_first_call_remembers_is_fine_and_leaves_nothing_behind() -> None:
    module = M(_remember, length=0)
    program = plena.compile(module, (X,))
    assert module.length == 0 and "seen" not in module.__dict__
    assert torch.allclose(program.run(X), X * 2 + 2, atol=0.1)


def test_what_is_changed_in_place_is_named_with_its_line() -> None:
    plain = M(_write)
    plain.__dict__["state"] = torch.zeros(2, 4)
    for module, kind in (
        (plain, "attribute"),
        (M(_write, state=nn.Parameter(torch.zeros(2, 4))), "parameter"),
    ):
        match = rf"\w+\.py:\d+: aten\.add_\.Tensor changes the {kind} state in place"
        with pytest.raises(CompileError, match=match):
            plena.compile(module, (X,))
    with pytest.raises(
        CompileError, match=r"embedding_renorm_.* changes the parameter weight.*max_norm to None"
    ):
        plena.compile(nn.Embedding(4, 8, max_norm=1.0), (torch.tensor([1, 2]),))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (lambda: M(lambda s, x: linear(x, s.w), w=torch.randn(4)), (2, 4)),
        (lambda: M(lambda s, x: linear(x, s.w, s.b), w=torch.randn(4), b=torch.tensor(0.5)), (2, 3, 4)),
        (lambda: M(lambda s, x: linear(x, s.w, s.b), w=torch.randn(3, 4), b=torch.randn(1)), (2, 4)),
        (lambda: M(lambda s, x: linear(x, s.w, s.b), w=torch.randn(3, 4), b=torch.randn(2, 3)), (2, 4)),
        (lambda: nn.Conv2d(3, 4, 2, stride=2), (3, 8, 8)),
        (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 6, 6)),
        (lambda: nn.Conv1d(3, 4, 2), (3, 8)),
    ],
)
def test_shapes_that_torch_takes(module: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model, x = module(), torch.randn(shape)
    program = plena.compile(model, (x,))
    results = as_tensors(program.run(x))
    assert results[0].shape == model(x).shape
    compare_with_torch(program, model, (x,), results)


def test_operands_of_two_dtypes() -> None:
    for given in (X.bfloat16(), X.long()):
        with pytest.raises(CompileError, match=r"aten\.linear\.default on .*operands differ in dtype"):
            plena.compile(nn.Linear(4, 4), (given,))


def test_parts_without_elements() -> None:
    for function in (
        lambda _, x: torch.cat(x.split([0, 4], 1)[::-1], 1) + 1,
        lambda _, x: x.slice_scatter(x[:, :0], 1, 0, 0) * 2,
    ):
        module = M(function)
        torch.testing.assert_close(plena.compile(module, (X,)).run(X), module(X), atol=0.1, rtol=0.1)


def test_empty_results() -> None:
    with pytest.raises(CompileError, match=r"a result of shape \[0, 4\] is empty"):
        plena.compile(M(lambda _, x: x[5:]), (X,))
    with pytest.raises(CompileError, match=r"aten\.sum.* of shape \[2, 0\] has no elements"):
        plena.compile(M(lambda _, x: x[:, :0].sum(1)), (X,))


class _Shared(nn.Module):
    """A state by two names, of the whole memory or a part of it."""

    n: Tensor
    m: Tensor

    def __init__(self, way: str) -> None:
        super().__init__()
        whole = torch.zeros(8, 8)
        self.register_buffer("n", whole)
        if way == "attribute":
            self.m = self.n
        else:
            self.register_buffer("m", whole if way == "buffer" else whole[4:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.n[:, 2:4] = x
        return self.m * 2


@pytest.mark.parametrize("way", ["attribute", "buffer", "part"])
def test_a_state_that_lies_in_the_memory_of_another_tensor(way: str) -> None:
    with pytest.raises(
        CompileError, match=r"\.py:\d+: aten\.\w+_\.\w+ changes \w+, which lies in the same memory as"
    ):
        plena.compile(_Shared(way), (torch.randn(8, 2),))


class _Exchange(nn.Module):
    n: Tensor
    m: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n", torch.zeros(4, 8))
        self.register_buffer("m", torch.ones(4, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.n.copy_(self.m)
        self.m.copy_(self.n)
        return x + self.n


def test_states_that_are_written_from_each_other() -> None:
    x = torch.ones(4, 8)
    program = plena.compile(_Exchange(), (x,))
    for _ in range(2):
        assert torch.equal(program.run(x), x + 1)
