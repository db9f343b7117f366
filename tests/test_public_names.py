"""The public API: lazy, and its functions are not shadowed by packages of the same name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import plena


def test_importing_plena_imports_nothing_heavy() -> None:
    program = (
        "import sys, plena; sys.exit(bool({'torch', 'xdsl', 'numpy', 'numba', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_names() -> None:
    assert set(plena.__all__) <= set(dir(plena))
    assert issubclass(plena.EmulatorError, plena.PlenaError)
    assert plena.Target().mlen == 64
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = plena.nothing  # type: ignore[attr-defined]


def test_packages_do_not_shadow_functions() -> None:
    import plena.lifting.flat_program
    import plena.verification.findings

    assert callable(plena.lift) and callable(plena.verify)


def test_stats_of_text_and_words() -> None:
    text = "C_LOOP_START gp1, 5\nS_ADDI_INT gp2, gp2, 1\nC_LOOP_END gp1\n"
    from plena.assembly import encode, parse_asm

    statistics = plena.stats(text)
    assert (statistics.static, statistics.dynamic, statistics.cycles["transactional"]) == (3, 11, 11)
    assert plena.stats(encode(parse_asm(text))).dynamic == 11
    slow = plena.Target().with_settings({"SCALAR_INT_BASIC_CYCLES": 3})
    assert plena.stats(text, target=slow).cycles["transactional"] == 21


def test_lift_gives_a_loop() -> None:
    text = "C_LOOP_START gp1, 5\nV_EXP_V gp2, gp2, 0\nS_ADDI_INT gp2, gp2, 64\nC_LOOP_END gp1\n"
    assert "loop.for" in str(plena.lift(text))
