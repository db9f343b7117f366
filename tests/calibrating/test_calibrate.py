"""Calibration: better than the nearest on inputs that were not seen, the program the same, bad samples refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import plena
from plena.calibrating import solving
from plena.calibrating.error_feedback import Feedback, Moments, round_with_feedback
from plena.calibrating.grid import Grid
from plena.checking.reference import ModuleReferences
from plena.errors import PlenaError
from plena.machine.formats import format_named
from plena.machine.number_formats import Mx
from tests.levels import SMALL


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Gated(nn.Module):
    """RMS norm with a gain, gate and up of one input, no biases."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(32)
        self.norm.weight.data = 0.5 + torch.rand(32)
        self.gate, self.up, self.down = (nn.Linear(*s, bias=False) for s in ((32, 48), (32, 48), (48, 32)))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p.reshape(1, 16, 2, 16).transpose(1, 2) for p in self.qkv(x).split(32, -1))
        found = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(found.transpose(1, 2).reshape(16, 32))


MODELS = (Mlp, Gated, Attends)
FORMATS = "keys_values=bf16,activations=bf16"


def samples(count: int, seed: int) -> list[Tensor]:
    """Inputs of which a few directions say most, as those of real layers."""
    generator = torch.Generator().manual_seed(7)
    mix = torch.randn(6, 32, generator=generator)
    generator.manual_seed(seed)

    def one() -> Tensor:
        return torch.randn(16, 6, generator=generator) @ mix + 0.2 * torch.randn(16, 32, generator=generator)

    return [one() for _ in range(count)]


@pytest.fixture(scope="module")
def compiled() -> dict[str, tuple[nn.Module, plena.Calibration, plena.Program]]:
    found: dict[str, Any] = {}
    for kind in MODELS:
        torch.manual_seed(0)
        module = kind().eval()
        calibration = plena.calibrate(module, samples(12, 1), FORMATS)
        program = plena.compile(
            module,
            (samples(1, 1)[0],),
            target=SMALL,
            formats=FORMATS,
            staging="calibrated",
            calibration=calibration,
        )
        found[kind.__name__] = module, calibration, program
    return found


def nearest_of(program: Any) -> Any:
    """The quantised reference of the program that stages the nearest codes."""
    placements = tuple(replace(p, staging="nearest") for p in program.placements)
    other = replace(program, placements=placements, data=replace(program.data, calibrated={}))
    source = program.source
    return ModuleReferences(other, source.imported, source.module, source.signature).simulated()


@pytest.mark.parametrize("name", [kind.__name__ for kind in MODELS])
def test_better_than_the_nearest_on_inputs_that_were_not_seen(compiled: Any, name: str) -> None:
    module, calibration, program = compiled[name]
    assert all(layer.kept for layer in calibration.layers) and len(calibration.layers) >= 2
    calibrated, nearest = (
        sum(float((reference(x)[0] - module(x)).detach().square().sum()) for x in samples(6, 2))
        for reference in (program.source.simulated(), nearest_of(program))
    )
    assert calibrated < 0.6 * nearest


@pytest.mark.parametrize("name", [kind.__name__ for kind in MODELS])
def test_the_program_is_right(compiled: Any, name: str) -> None:
    report = compiled[name][2].check(quiet=True)
    assert report.passed, str(report)
    assert report.machine and report.machine.relative_rms == 0


def test_the_program_is_the_same(compiled: Any) -> None:
    module, _, best = compiled["Mlp"]
    nearest = plena.compile(module, (samples(1, 1)[0],), staging="nearest", target=SMALL, formats=FORMATS)
    assert np.array_equal(nearest.words, best.words)
    assert nearest.stats().as_dict() == best.stats().as_dict()
    assert not np.array_equal(nearest.image.hbm, best.image.hbm)


def test_equal_samples_give_equal_weights(compiled: Any) -> None:
    module, calibration, _ = compiled["Mlp"]
    again = plena.calibrate(module, samples(12, 1), FORMATS)
    assert {k: b.tobytes() for k, b in again.weights.items()} == {
        k: b.tobytes() for k, b in calibration.weights.items()
    }


def test_inputs_that_were_held_back_say_something_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few samples weights made of all of them are better on others than those of four fifths."""
    lost: dict[bool, float] = {}
    for every in (True, False):
        if not every:
            monkeypatch.setattr(solving.Solver, "_of_all", lambda *given: given[-1].bits)
        lost[every] = 0.0
        for kind in MODELS:
            torch.manual_seed(0)
            module = kind().eval()
            calibration = plena.calibrate(module, samples(5, 1), FORMATS)
            program = plena.compile(
                module,
                (samples(1, 1)[0],),
                formats=FORMATS,
                staging="calibrated",
                calibration=calibration,
                target=SMALL,
            )
            assert program.source is not None
            reference = program.source.simulated()
            wanted = [module(x).detach() for x in samples(12, 2)]
            errors = [
                (reference(x)[0] - y).square().sum() for x, y in zip(samples(12, 2), wanted, strict=True)
            ]
            size = sum(float(y.square().sum()) for y in wanted)
            lost[every] += float(torch.stack(errors).sum()) / size
    assert lost[True] < 0.97 * lost[False]


def test_files(compiled: Any, tmp_path: Path) -> None:
    module, calibration, compiled_here = compiled["Gated"]
    calibration.save(tmp_path / "c.npz")
    loaded = plena.Calibration.load(tmp_path / "c.npz")
    assert loaded.layers == calibration.layers and loaded.formats == calibration.formats
    assert all(np.array_equal(loaded.weights[key], bits) for key, bits in calibration.weights.items())
    compiled_here.save(tmp_path / "program")
    program = plena.Program.load(tmp_path / "program")
    x = samples(1, 3)[0]
    report = program.check(x, module=module, quiet=True)
    assert report.passed, str(report)
    wanted = compiled_here.source.simulated()(x)[0]
    assert report.quantized and report.quantized.relative_rms == pytest.approx(
        float((program.run(x) - wanted).norm() / wanted.norm()), rel=1e-4
    )


@pytest.mark.parametrize("damage", [b"", b"nothing", "cut", "head"])
def test_damaged_files(compiled: Any, tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "c.npz"
    if damage == "head":
        np.savez(path, calibration=np.array('{"version": 1, "formats": "shipped", "layers": 3}'))
    elif damage == "cut":
        compiled["Mlp"][1].save(path)
        path.write_bytes(path.read_bytes()[:-90])
    else:
        path.write_bytes(damage)
    with pytest.raises(PlenaError, match="is no calibration, or damaged"):
        plena.Calibration.load(path)
    with pytest.raises(PlenaError, match="cannot be read"):
        plena.Calibration.load(tmp_path / "absent")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "samples must be a list"),
        (torch.zeros(16, 32), "samples must be a list"),
        ([torch.zeros(16, 32), torch.zeros(8, 32)], r"sample 1.*float32\[8, 32\], in the first sample"),
        ([torch.zeros(16, 32), torch.full((16, 32), float("nan"))], "sample 1.*contains NaN or infinity"),
        ([torch.zeros(16, 32), (torch.zeros(16, 32), torch.zeros(1))], "sample 1.*no call like the first"),
        ([3], "a sample is a int"),
    ],
)
def test_bad_samples(compiled: Any, given: Any, message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        plena.calibrate(compiled["Mlp"][0], given)


def test_too_few_samples_warn_with_the_rank(compiled: Any) -> None:
    with pytest.warns(solving.CalibrationWarning, match="have rank 13 at most, it has 64 features"):
        plena.calibrate(compiled["Mlp"][0], [samples(1, 1)[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plena.calibrate(compiled["Gated"][0], samples(12, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"staging": "calibrated"}, 'staging="calibrated" needs a calibration'),
        ({"calibration": "c.npz", "staging": "calibrated"}, "must be what plena.calibrate gives, not str"),
        ({"calibration": True, "staging": "nearest"}, "of no use with staging='nearest'"),
        ({"calibration": True, "staging": "calibrated"}, "were calibrated for e4m3, the program has e3m4"),
    ],
)
def test_wrong_options(compiled: Any, options: dict[str, Any], message: str) -> None:
    module, calibration, _ = compiled["Mlp"]
    if options.get("calibration") is True:
        options = {**options, "calibration": calibration}
    with pytest.raises(PlenaError, match=message):
        plena.compile(module, (samples(1, 1)[0],), target=SMALL, formats="e3m4", **options)


def test_a_calibration_of_other_weights(compiled: Any) -> None:
    _, calibration, _ = compiled["Mlp"]
    torch.manual_seed(5)
    with pytest.raises(PlenaError, match="none of the program's weights has the values"):
        plena.compile(
            Mlp().eval(), (samples(1, 1)[0],), target=SMALL, staging="calibrated", calibration=calibration
        )


def test_goes_on_where_it_was_interrupted(
    compiled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, calibration, _ = compiled["Gated"]
    solved: list[tuple[int, int]] = []

    def stopping(weight: Any, *rest: Any) -> Any:
        if weight.shape == (32, 48):
            raise KeyboardInterrupt
        return round_with_feedback(weight, *rest)

    def going_on(weight: Any, *rest: Any) -> Any:
        solved.append(weight.shape)
        return round_with_feedback(weight, *rest)

    monkeypatch.setattr(solving, "round_with_feedback", stopping)
    with pytest.raises(KeyboardInterrupt):
        plena.calibrate(module, samples(12, 1), FORMATS, checkpoint=tmp_path / "parts")
    monkeypatch.setattr(solving, "round_with_feedback", going_on)
    found = plena.calibrate(module, samples(12, 1), FORMATS, checkpoint=tmp_path / "parts")
    assert set(solved) == {(32, 48)} and len(calibration.layers) == 3
    assert {k: b.tobytes() for k, b in found.weights.items()} == {
        k: b.tobytes() for k, b in calibration.weights.items()
    }
    with pytest.raises(PlenaError, match="for other samples or formats"):
        plena.calibrate(module, samples(12, 4), FORMATS, checkpoint=tmp_path / "parts")


@pytest.mark.parametrize("text", ["e4m3", "e3m4/16", "e2m5", "e5m2:e5m3"])
def test_rounded_weights_are_numbers_of_the_format(text: str) -> None:
    """Staging finds them again, whatever the scales they were rounded with; the error is less than the nearest's."""
    number_format = format_named(text)
    assert isinstance(number_format, Mx)
    generator = np.random.default_rng(0)
    weight = (generator.normal(size=(24, 48)) * np.exp(generator.normal(size=(24, 48)))).astype(np.float32)
    weight[3, 8:16] = 0
    x = generator.normal(size=(200, 5)) @ generator.normal(size=(5, 48)) + 0.1 * generator.normal(
        size=(200, 48)
    )
    moments = Moments.of(torch.from_numpy(x), torch.from_numpy(x))
    rounded = round_with_feedback(weight, Feedback.of(moments.inputs, 0.01), Grid(number_format))
    assert np.array_equal(number_format.staged(rounded, "calibrated"), rounded)
    nearest = number_format.staged(weight, "nearest")
    assert moments.error(weight, rounded - weight) < 0.5 * moments.error(weight, nearest - weight)


def test_errors_and_what_makes_the_best_of_inputs_that_are_off() -> None:
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(400, 12, generator=generator)
    x = exact @ (torch.eye(12) + 0.1 * torch.randn(12, 12, generator=generator))
    weight = torch.randn(5, 12, generator=generator)
    changed = weight + 0.1 * torch.randn(5, 12, generator=generator)
    moments = Moments.of(x, exact)
    wanted = float((x @ changed.T - exact @ weight.T).square().sum())
    assert moments.error(weight.numpy(), (changed - weight).numpy()) == pytest.approx(wanted, rel=1e-4)
    assert moments.size(weight.numpy()) == pytest.approx(float((x @ weight.T).square().sum()), rel=1e-4)
    adapted = moments.adapted(weight.numpy(), 1e-6) - weight.numpy()
    assert moments.error(weight.numpy(), adapted) < 1e-4 * moments.error(weight.numpy(), 0 * adapted)


def test_the_closest_codes_lose_no_more_than_the_nearest() -> None:
    generator = np.random.default_rng(1)
    x = (generator.normal(size=(64, 64)) * np.exp(2 * generator.normal(size=(64, 64)))).astype(np.float32)
    for text in ("e3m4", "e2m5", "e4m3/32"):
        number_format = format_named(text)
        lost = {
            s: np.square(number_format.staged(x, s) - x).reshape(-1, 32).sum(1)
            for s in ("nearest", "calibrated")
        }
        assert (lost["calibrated"] <= lost["nearest"]).all()
        assert lost["calibrated"].sum() < lost["nearest"].sum()


def test_formats_that_lose_nothing_need_no_calibration(compiled: Any) -> None:
    module = compiled["Mlp"][0]
    calibration = plena.calibrate(module, samples(2, 1), "bf16")
    assert calibration.layers == () and not calibration.weights
