"""Formats by class of tensors: what they are called, what the machine cannot hold, and that programs keep them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import plena
from plena.errors import PlenaError, SettingsError
from plena.machine.formats import BLOCKS, PRESETS, Formats, bytes_per_element, format_named, format_text
from plena.machine.number_formats import MX_E4M3, PLAIN_BF16, Fp, Int, Mx, Plain
from tests.levels import SMALL


def test_presets_and_texts() -> None:
    assert Formats.of("shipped") == Formats() == plena.Target().formats
    mixed = Formats.of("mixed")
    assert (mixed.weights, mixed.keys_values, mixed.activations) == (
        Mx(8, Fp(True, 3, 4), MX_E4M3.scale),
        PLAIN_BF16,
        PLAIN_BF16,
    )
    assert Formats.of(str(mixed)) == mixed == eval(repr(mixed))
    assert Formats.of("weights=e3m4, keys_values=bf16,activations=bf16") == mixed
    for text in ("bf16", "e3m4", "e4m3/16", "e5m10/32", "e2m5:e5m3"):
        assert format_text(format_named(text)) == text
    assert [bytes_per_element(format_named(t)) for t in ("bf16", "e4m3", "e3m4/32", "e5m10")] == [
        2.0,
        1.125,
        1.03125,
        2.125,
    ]


def test_settings_keys() -> None:
    target = SMALL.with_settings({"FORMATS": "mixed"})
    assert target.formats == Formats.of("mixed")
    assert target.mlen == 16
    uneven = SMALL.with_settings({"FORMATS": "mixed", "HBM_V_KV_TYPE": MX_E4M3.table()})
    with pytest.raises(SettingsError, match="HBM_M_KV_TYPE and HBM_V_KV_TYPE differ"):
        _ = uneven.formats
    with pytest.raises(SettingsError, match="must be text, not 3"):
        SMALL.with_settings({"FORMATS": 3})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("e2m1", "elements of 4 bits: the machine aborts when it loads them"),
        ("e4m2", "elements of 7 bits"),
        ("e1m6", "elements of 1 bits of exponent"),
        ("e4m3/4", "blocks of 4"),
        ("e4m3:e4m3", "scales e4m3"),
        ("fp8", "'fp8' is no number format"),
        (Plain(Fp(True, 5, 10)), "Plain e5m10: of Plain types the machine stores bf16 alone"),
        (Plain(Int(8)), "Plain int8"),
        (8, "a int is no number format"),
    ],
)
def test_formats_that_the_machine_cannot_hold(given: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        Formats(keys_values=given)
    assert refused.value.where == "formats, keys_values" and refused.value.hint


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ("fast", "there are no formats 'fast'"),
        ("weight=e3m4", "there is no class 'weight'"),
        (3, "there are no formats 3"),
        ("weights=e3m4/32", "block must divide MLEN"),
    ],
)
def test_wrong_formats_of_a_program(formats: Any, message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        plena.compile(torch.nn.Linear(16, 16), (torch.randn(4, 16),), target=SMALL, formats=formats)


class Block(torch.nn.Module):
    """Every class of tensors: a staged weight, keys and values that are computed, an input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = (torch.nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (f(x).reshape(1, 16, 1, 16).transpose(1, 2) for f in (self.q, self.k, self.v))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)[0, 0]


@pytest.fixture(scope="module")
def programs() -> dict[str, plena.Program]:
    x = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(1))
    formats = ("shipped", "mixed", "bf16", "weights=e5m10/16:e8m8,keys_values=e5m2/16,activations=e2m5:e5m3")
    return {f: plena.compile(Block(), (x,), target=SMALL, formats=f, matmul="broadcast") for f in formats}


def test_programs_keep_their_formats(programs: dict[str, plena.Program]) -> None:
    for name, program in programs.items():
        assert program.target.formats == Formats.of(name)
        report = program.check(quiet=True)
        assert report.passed, str(report)
    errors = {name: program.check(quiet=True).float32 for name, program in programs.items()}
    shipped, mixed, exact = (errors[name] for name in ("shipped", "mixed", "bf16"))
    assert shipped and mixed and exact
    assert exact.relative_rms < mixed.relative_rms / 2 and mixed.relative_rms < shipped.relative_rms / 1.5


def test_bytes_by_class(programs: dict[str, plena.Program]) -> None:
    """The same transfers in every format: bytes go with those of an element."""
    shipped, exact = (programs[name].stats().hbm_bytes for name in ("shipped", "bf16"))
    assert set(shipped) == set(exact) == {"weights", "keys_values", "activations"}
    for name in ("weights", "keys_values"):
        assert exact[name] * 1.125 == shipped[name] * 2
    assert "bytes of HBM, keys and values" in str(programs["bf16"].stats())


def test_every_block_and_preset_is_legal() -> None:
    assert [Formats(weights=f"e3m4/{block}").weights.ratio for block in BLOCKS] == list(BLOCKS)
    for formats in PRESETS.values():
        plena.Target().with_formats(formats).validate()
