"""Writes into buffers, made functions of them without torch's decomposition where they are simple ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind

from plena.frontend import import_module
from plena.frontend.functional import functional


class Buffers(nn.Module):
    """Two buffers of rows and a counter, of which a function makes something."""

    def __init__(self, step: Callable[[Buffers, Tensor], Tensor], shared: bool = False) -> None:
        super().__init__()
        self.step = step
        self.register_buffer("rows", torch.zeros(4, 8))
        self.register_buffer("other", self.rows.view(8, 4) if shared else torch.ones(4, 8))
        self.register_buffer("at", torch.zeros(1, dtype=torch.int64))

    def forward(self, input: Tensor) -> Tensor:
        return self.step(self, input)


def put(m: Buffers, x: Tensor) -> Tensor:
    """Rows by number, a counter that is read before and behind its change."""
    m.rows.index_copy_(0, m.at, x)
    before = m.rows.sum() + m.at
    m.at += 1
    m.rows[m.at] = 2 * x
    return m.rows * before + m.at


def mixed(m: Buffers, x: Tensor) -> Tensor:
    """Whole buffers, also what a write gives; a view that is made behind the last write."""
    total = m.other.mul_(2.0) + m.rows
    m.rows.copy_(total)
    return m.rows.view(8, 4).sum() + x


def early_view(m: Buffers, x: Tensor) -> Tensor:
    view = m.rows[1:3]
    m.rows.add_(1.0)
    return view + x


def through_view(m: Buffers, x: Tensor) -> Tensor:
    m.rows[1:3].add_(1.0)
    return m.rows + x


def of_input(m: Buffers, x: Tensor) -> Tensor:
    m.rows.add_(1.0)
    x.add_(1.0)
    return x


@pytest.mark.parametrize("step", [put, mixed])
def test_simple_writes(step: Callable[[Buffers, Tensor], Tensor]) -> None:
    """Step by step as the module itself, also at the tensor level of the compiler."""
    x = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    exported = torch.export.export(Buffers(step), (x,))
    program = functional(exported)
    assert program is not None
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    assert kinds.count(OutputKind.BUFFER_MUTATION) == 2 and kinds[-1] == OutputKind.USER_OUTPUT
    assert not any(str(node.target).split(".")[1].endswith("_") for node in _operators(program))
    assert any(str(node.target).split(".")[1].endswith("_") for node in _operators(exported)), "a copy"
    module, twin, imported = Buffers(step), program.module(), import_module(Buffers(step), (x,))
    states: dict[str, Tensor] = {}
    for scale in (1.0, -2.0):
        wanted = module(scale * x)
        assert torch.equal(twin(scale * x), wanted)
        (found,) = imported.evaluate(scale * x, states=states)
        assert torch.allclose(found, wanted)
        for name, buffer in twin.named_buffers():
            assert torch.equal(buffer, module.get_buffer(name)), name


def inverted(m: Buffers, x: Tensor) -> Tensor:
    m.at.logical_not_()
    return x * m.at


def squared(m: Buffers, x: Tensor) -> Tensor:
    m.at.add_(2).pow_(2)
    return x * m.at


def compared(m: Buffers, x: Tensor) -> Tensor:
    m.at.eq_(0)
    return x * (m.at + m.at)


def dropped(m: Buffers, x: Tensor) -> Tensor:
    """In evaluation mode dropout gives its argument itself."""
    early = nn.functional.dropout(m.other, 0.5, m.training)
    m.other.add_(1.0)
    m.rows[1:3].add_(1.0)
    return early + nn.functional.dropout(m.rows, 0.5, m.training) + x


@pytest.mark.parametrize("step", [inverted, squared, compared, dropped])
def test_writes_whose_twins_give_something_else(step: Callable[[Buffers, Tensor], Tensor]) -> None:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    module, imported = Buffers(step).eval(), import_module(Buffers(step), (x,))
    states: dict[str, Tensor] = {}
    for _ in range(3):
        (found,) = imported.evaluate(x, states=states)
        assert torch.allclose(found, module(x))
        assert states
        for name, value in states.items():
            assert torch.allclose(value, module.get_buffer(name)), name


@pytest.mark.parametrize(
    ("step", "shared"), [(early_view, False), (through_view, False), (of_input, False), (mixed, True)]
)
def test_what_only_torch_can_tell(step: Callable[[Buffers, Tensor], Tensor], shared: bool) -> None:
    x = torch.randn(2, 8) if step is early_view else torch.randn(4, 8)
    if shared:

        def step(m: Buffers, x: Tensor) -> Tensor:
            m.rows.add_(1.0)
            return m.other.view(4, 8) + x

    assert functional(torch.export.export(Buffers(step, shared), (x,))) is None


def by_rows(m: Buffers, x: Tensor) -> Tensor:
    """Each row of what is computed is a function of those before; a write into all of it, read by two names."""
    y = 2 * x
    for row in range(1, 4):
        before = y[:row, :row].clone()
        y[row, :row] = y[row, :row] + before.sum(0)
        y[..., row:][row].fill_(3)
    z = y.mul_(0.5)
    part = z[1]
    part[2:5] = z[3, 3:6]
    part[5] = 7.0
    y = torch.stack([part, part, 2 * part, x[0]])
    return torch.concatenate([y, y.max(m.other).tril(1)]) + nn.functional.pad(y, (0, 0, 1, 3), value=2.0)


def old_slice(m: Buffers, x: Tensor) -> Tensor:
    y = 2 * x
    first = y[0]
    y[0] = x[1]
    return first + y


def of_a_slice(m: Buffers, x: Tensor) -> Tensor:
    """A part by its own name, and the whole."""
    y = 2 * x
    return y[1:].copy_(x[:3]).add_(1.0) + y[1:]


def of_a_whole(m: Buffers, x: Tensor) -> Tensor:
    y = 2 * x
    part = y[1:]
    part[0] = x[0]
    y.add_(1.0)
    return part + y[1:]


def test_writes_into_parts_of_what_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not decomposed by torch, whose tracing takes longer than all else of an import."""
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", None)
    (found,) = import_module(Buffers(by_rows), (x,)).evaluate(x)
    assert torch.allclose(found, Buffers(by_rows)(x))


@pytest.mark.parametrize("step", [old_slice, of_a_slice, of_a_whole])
def test_parts_that_are_seen_again(step: Callable[[Buffers, Tensor], Tensor]) -> None:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    assert functional(torch.export.export(Buffers(step), (x,))) is None
    (found,) = import_module(Buffers(step), (x,)).evaluate(x)
    assert torch.allclose(found, Buffers(step)(x))


def test_operators_that_a_library_adds_later_are_taken_apart() -> None:
    """The table of torch's own operators is kept from one import to the next."""

    class Cubed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.plena_late.cubed(x.diff())

    x = torch.arange(4.0) + 1
    import_module(Differences(), (x,))
    with torch.library._scoped_library("plena_late", "DEF") as library:
        library.define("cubed(Tensor x) -> Tensor")
        library.impl("cubed", lambda x: x * x * x, "CompositeImplicitAutograd")
        program = import_module(Cubed(), (x.square(),))
    assert "cubed" not in str(program.module)
    assert torch.equal(program.evaluate(x.square())[0], x.square().diff() ** 3)


class Differences(nn.Module):
    """What torch takes apart."""

    def forward(self, x: Tensor) -> Tensor:
        return x.diff()


def _operators(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]
