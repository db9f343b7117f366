"""A whole layer in the public compiler's style: read as it is, made short, with the same memories."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import plena
from plena.cli import plena_cli
from tests import public_layer

MEMORIES = ("vram_bits", "mram_bits", "hbm", "fp_sram_bits", "int_sram")


def test_a_layer_of_thousands_of_lines_is_optimised_as_it_is() -> None:
    text, memories = public_layer.text(), public_layer.memories()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = plena.stats(text, public_layer.TARGET)
        program = plena.optimize(text, public_layer.TARGET)
        expected = plena.emulate(text, target=public_layer.TARGET, **memories)
        found = plena.emulate(program.words, target=public_layer.TARGET, **memories)
        assert not [f for f in plena.verify(text, public_layer.TARGET) if f.is_error]
    for name in MEMORIES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    gated = expected.vram_bits[public_layer.GATED // public_layer.MLEN :][: public_layer.ROWS]
    assert np.unique(gated).size > 1000 and ((gated & 0x7F80) != 0x7F80).all(), "computes something finite"
    assert before.static > 9000
    assert program.stats().static < before.static // 50
    assert found.cycles <= expected.cycles


def test_the_layer_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "layer.asm").write_text(public_layer.text())
    options = ["--set", "HBM_SIZE=65536", "--set", "VECTOR_SRAM_SIZE=1024"]
    code = plena_cli.main(
        ["optimize", str(tmp_path / "layer.asm"), *options, "-o", str(tmp_path / "short.asm")]
    )
    assert (code, capsys.readouterr().err) == (0, "")
    short = plena.optimize(public_layer.text(), public_layer.TARGET)
    assert (tmp_path / "short.asm").read_text() == short.asm
