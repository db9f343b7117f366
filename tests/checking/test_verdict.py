"""`check` passes right programs of many kinds and fails each of them when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import plena
from plena.api.program import Program
from plena.checking.reference import as_tensors
from plena.cli import plena_cli
from plena.errors import PlenaError
from plena.host.staged_data import StagedData
from plena.program.comparison import CheckReport
from plena.program.thresholds import Comparison, Thresholds
from tests.checking.modules import MODULES, Biased, Scaled, Tied, WrittenAttention, nested

LIMITS = (0.002, 0.015)
"""Of the machine and the quantised reference."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def break_weight(program: Program) -> None:
    """Change half of the last weight matrix in the image."""
    assert isinstance(program.data, StagedData)
    known = program.data.expressions
    *_, placement = (
        p
        for p in program.placements_of("data")
        if p.format == "HBM_M_WEIGHT_TYPE" and p.source.symbol in known
    )
    start, stop = placement.hbm_range(program.target)
    hbm = program.image.hbm.copy()
    hbm[start : start + (stop - start) // 2] ^= 0x80
    program.image = replace(program.image, hbm=hbm)


@pytest.mark.parametrize("kind", MODULES)
def test_right_programs_pass_and_broken_ones_fail(kind: str) -> None:
    module, args, kwargs = MODULES[kind]()
    program = plena.compile(module, args, kwargs)
    report = program.check(quiet=True)
    assert report.passed, str(report)
    assert report.machine is not None and report.machine.relative_rms == 0
    assert report.quantized is not None and report.formats is not None and report.added is not None
    assert report.quantized.relative_rms < report.formats.relative_rms / 3, (
        "the reference rounds what is staged"
    )
    break_weight(program)
    broken = program.check(quiet=True)
    assert not broken.passed and any(failure.startswith("machine") for failure in broken.failures)
    program.machine_reference = None
    broken = program.check(quiet=True)
    assert any(failure.startswith("quantized") for failure in broken.failures), str(broken)
    program.thresholds = Thresholds(quantized=None)
    broken = program.check(quiet=True)
    assert broken.failures and all(failure.startswith("float32") for failure in broken.failures), str(broken)


def test_one_wrong_row_of_many_fails() -> None:
    wanted = np.random.default_rng(0).normal(size=(4096, 64))
    found = wanted.copy()
    found[17] = wanted[18]
    comparison = Comparison.of([found], [wanted], Thresholds())
    assert comparison.relative_rms > 0.015, "a row that belongs elsewhere is far off"
    found = wanted.copy()
    found[17] *= 1.1
    small = Comparison.of([found], [wanted], Thresholds())
    assert small.relative_rms < LIMITS[0] and small.worst_row > LIMITS[1]
    report = CheckReport.of([found], [wanted], [wanted], [wanted], Thresholds())
    assert [failure.split(":")[0] for failure in report.failures] == ["machine", "quantized", "float32"]


def test_the_worst_tensor_counts() -> None:
    large, small = np.full((4, 64), 100.0), np.full((4, 64), 1.0)
    report = CheckReport.of([large, small * 1.1], None, [large, small], [large, small], Thresholds())
    assert len(report.failures) == 2, "a small output is judged by its own size"


@pytest.mark.parametrize(("added", "passes"), [(0.01, True), (0.02, True), (0.05, False)])
def test_a_program_adds_at_most_half_of_what_the_formats_cost(added: float, passes: bool) -> None:
    rng = np.random.default_rng(0)
    exact, noise, error = rng.normal(size=(3, 64, 64))
    quantized = exact + 0.03 * noise
    report = CheckReport.of(
        [quantized + added * error], None, [quantized], [exact], Thresholds(quantized=None)
    )
    assert report.added is not None
    assert report.added.formats == pytest.approx(0.03, rel=0.05)
    assert report.added.found == pytest.approx(added, rel=0.05)
    assert report.added.allowed == pytest.approx(0.5 * 0.03 + 2 * 2**-8, rel=0.05), (
        "a step at sizes below 1 is 2^-8"
    )
    assert (not any("float32" in failure for failure in report.failures)) == passes
    assert "formats cost" in str(report) and "the program adds" in str(report)


def test_nothing_judged_is_no_pass() -> None:
    x = np.ones((2, 2))
    assert not CheckReport.of([x], None, None, [x], Thresholds()).passed


# What the references are.


def test_a_graph_that_is_not_the_module_is_refused() -> None:
    factors = [1.0]

    class Outside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(16, 16)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) * factors[0]

    program = plena.compile(Outside(), (torch.randn(4, 16),))
    assert program.check(quiet=True).passed, "as when it was captured"
    factors[0] = 2.0
    with pytest.raises(PlenaError, match="computes something else than the module"):
        program.check(quiet=True)


def test_rows_without_keys_are_nan_in_both_references() -> None:
    module, x = WrittenAttention().eval(), torch.randn(1, 16, 64)
    program = plena.compile(module, (x,))
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[3] = True
    exported = plena.compile(Masked(module, mask), (x,)).source
    assert program.source is not None and exported is not None
    (rounded,), (exact,) = exported.quantized(x), exported.float32(x)
    assert exact.isnan().any() and torch.equal(rounded.isnan(), exact.isnan())
    others = [n for n in range(16) if n != 3]
    (unmasked,) = program.source.quantized(x)
    torch.testing.assert_close(rounded[:, others], unmasked[:, others])
    same = Comparison.of([exact], [exact], Thresholds())
    assert same.finite and same.relative_rms == 0


class Masked(nn.Module):
    """Attention with a constant mask."""

    def __init__(self, inner: nn.Module, mask: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, self.mask)


def test_exported_programs_and_half_precision() -> None:
    module, x = WrittenAttention().eval(), torch.randn(2, 16, 64)
    whole = plena.compile(module, (x,)).check(quiet=True)
    exported = plena.compile(torch.export.export(module, (x,))).check(quiet=True)
    assert exported.passed and exported == whole
    half, h = module.bfloat16(), x.bfloat16()
    of_module = plena.compile(half, (h,)).check(quiet=True)
    of_program = plena.compile(torch.export.export(half, (h,))).check(quiet=True)
    assert of_module.passed and of_program == of_module


def test_constants_of_a_half_precision_module_are_staged_as_it_computes_them() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(64, 64), nn.RMSNorm(64)
            nn.init.normal_(self.norm.weight)

        def forward(self, x: Tensor) -> Tensor:
            table = torch.arange(1, 65, dtype=torch.bfloat16) / 64
            return self.linear(
                self.norm((x * table).to(torch.bfloat16) + torch.ones(64, dtype=torch.bfloat16))
            )

    report = plena.compile(Half().bfloat16(), (torch.randn(16, 64).bfloat16(),)).check(quiet=True)
    assert report.passed and report.changed == ()


# What torch's shortcuts compute is no reference.

PLACES = torch.arange(8)
EMPTY = (PLACES == 3)[:, None].expand(8, 8)
"""The fourth query sees nothing."""
ALIBI = -0.5 * (PLACES[:, None] - PLACES[None, :]).abs().float()

SHORTCUTS: dict[str, Callable[[], nn.Module]] = {
    "layer, empty row": lambda: Biased(nn.TransformerEncoderLayer(64, 2, 64, batch_first=True), EMPTY),
    "layer, ALiBi": lambda: Biased(nn.TransformerEncoderLayer(64, 2, 64, batch_first=True), ALIBI),
    "attention, empty row": lambda: Biased(nn.MultiheadAttention(64, 2, batch_first=True), EMPTY),
    "attention, ALiBi": lambda: Biased(nn.MultiheadAttention(64, 2, batch_first=True), ALIBI),
    "scale of -1": lambda: Scaled(-1.0),
    "scale of 0": lambda: Scaled(0.0),
}


@pytest.mark.parametrize(
    ("kind", "enabled"), [*((kind, True) for kind in SHORTCUTS), ("layer, ALiBi", False)]
)
def test_shortcuts_of_torch_are_no_reference(kind: str, enabled: bool) -> None:
    x = torch.randn(1, 8, 64)
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        program = plena.compile(SHORTCUTS[kind]().eval(), (x,))
        report = program.check(quiet=True)
        assert report.passed and report.float32 is not None, str(report)
        assert torch.backends.mha.get_fastpath_enabled() is enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    break_weight(program)
    program.machine_reference = None
    failures = program.check(quiet=True).failures
    assert any(failure.startswith("quantized") for failure in failures), failures


# Weights that change.


def test_weights_changed_after_the_image_was_written() -> None:
    module = nn.Linear(64, 64)
    program = plena.compile(module, (torch.randn(16, 64),))
    assert program.check(quiet=True).passed
    module.weight.data[0, 0] += 1e-3
    report = program.check(quiet=True)
    assert report.changed == ("weight",) and "weight changed after" in str(report) and not report.passed


def test_weights_replaced_after_compiling() -> None:
    module = nn.Linear(64, 64)
    program = plena.compile(module, (torch.randn(16, 64),))
    module.weight = nn.Parameter(module.weight.detach().clone())
    assert program.check(quiet=True).passed, "the same values"
    module.weight = nn.Parameter(torch.randn(64, 64))
    assert program.check(quiet=True).changed == ("weight",)


def test_what_was_computed_of_weights_at_import_is_compared_too() -> None:
    module, args, _ = MODULES["function of a parameter"]()
    program = plena.compile(module, args)
    with torch.no_grad():
        module.get_parameter("table").mul_(1.01)
    report = program.check(quiet=True)
    assert report.changed == ("gelu",) and not report.passed


# Inputs.


def test_calls_look_like_the_modules() -> None:
    module, args, kwargs = nested()
    program = plena.compile(module, args, kwargs)
    found = as_tensors(program.run(*args, **kwargs))
    batch, others, factor = args
    spelled = program.run(
        {"z": batch["z"], "x": batch["x"]}, others, factor=factor, flag=True, bias=kwargs["bias"]
    )
    flat = program.run(batch["x"], batch["z"], *others, kwargs["bias"])
    for other in (spelled, flat):
        assert all(torch.equal(a, b) for a, b in zip(found, as_tensors(other), strict=True))
    changed = {"bias": torch.zeros(8, 32), "flag": True}
    report = program.check(*args, **changed, quiet=True)
    assert report.passed
    assert not torch.equal(program.run(*args, **changed)[0], found[0])
    for call, message in (
        (lambda: program.run(batch, others, 0.5, **kwargs), "compiled for the argument 0.75, not 0.5"),
        (lambda: program.run(batch, others), "takes 5 inputs"),
        (lambda: program.run(batch["x"], nothing=1), "no inputs called nothing"),
        (lambda: program.run(batch, others, factor, bias=3, flag=True), "must be a tensor, not int"),
    ):
        with pytest.raises(PlenaError, match=message):
            call()


def test_the_third_argument_is_the_keyword_arguments() -> None:
    x = (torch.randn(4, 16),)
    with pytest.raises(PlenaError, match=r"keyword arguments, not the target[\s\S]*target=\.\.\."):
        plena.compile(nn.Linear(16, 16), x, plena.Target())  # type: ignore[arg-type]
    with pytest.raises(PlenaError, match="must be a dictionary, not list"):
        plena.compile(nn.Linear(16, 16), x, [1])  # type: ignore[arg-type]


def test_a_loaded_program_is_checked_with_its_module(tmp_path: Path) -> None:
    module, ids = Tied().eval(), torch.randint(96, (2, 8))
    program = plena.compile(module, (ids,))
    report = program.check(quiet=True)
    program.save(tmp_path / "p")
    loaded = Program.load(tmp_path / "p")
    again = loaded.check(ids, module=module, quiet=True)
    assert again.passed and again.quantized == report.quantized and again.float32 == report.float32
    with torch.no_grad():
        module.table.weight.mul_(1.05)
    assert not loaded.check(ids, module=module, quiet=True).passed


def test_a_loaded_program_takes_the_modules_arguments(tmp_path: Path) -> None:
    module, args, kwargs = nested()
    plena.compile(module, args, kwargs).save(tmp_path / "p")
    loaded = Program.load(tmp_path / "p")
    assert loaded.check(*args, **kwargs, module=module, quiet=True).passed
    named = {port.name: x for port, x in zip(loaded.inputs, as_tensors((args, kwargs)), strict=True)}
    assert torch.equal(loaded.run(**named)[0], loaded.run(*named.values())[0])


MODEL = """
import torch
from tests.checking.modules import nested

def factory():
    torch.manual_seed(0)
    return nested()
"""


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, folder = tmp_path / "model.py", tmp_path / "p"
    model.write_text(MODEL)
    source = f"{model}:factory"
    assert plena_cli.main(["check", source]) == 0
    assert "the program adds" in capsys.readouterr().out
    assert plena_cli.main(["check", source, "--inputs", "random"]) == 0
    assert plena_cli.main(["check", source, "--per-op"]) == 0
    assert plena_cli.main(["compile", source, "-o", str(folder)]) == 0
    for inputs in ("example", "random"):
        assert plena_cli.main(["check", str(folder), "--module", source, "--inputs", inputs]) == 0
