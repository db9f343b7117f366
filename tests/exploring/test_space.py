"""Spaces and objectives: what they take, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import plena
from plena.errors import PlenaError
from plena.exploring.figures import untimed
from plena.exploring.objectives import Objectives
from plena.exploring.settings_file import settings_text
from plena.exploring.space import Space, options_of, scaled, settings_of

FILE = """
MLEN = [32, 64]
HBM_CHANNELS = { low = 1, high = 16, factor = 2 }
max_instructions = [200, "none"]
[LATENCY]
VECTOR_ADD_CYCLES = { low = 1, high = 4 }
VECTOR_MUL_CYCLES.dc_lib_en = { low = 1, high = 6, step = 2 }
"""


def test_a_file_and_a_dictionary_are_the_same_space(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(FILE)
    space = Space.of(tmp_path / "space.toml")
    assert space == Space.of(
        {
            "MLEN": (32, 64),
            "HBM_CHANNELS": [1, 2, 4, 8, 16],
            "max_instructions": [200, None],
            "LATENCY.VECTOR_ADD_CYCLES": range(1, 5),
            "LATENCY.VECTOR_MUL_CYCLES.dc_lib_en": range(1, 7, 2),
        }
    )
    points = list(space.points())
    assert len(points) == len(space) == 2 * 5 * 2 * 4 * 3
    assert points[1] == points[0] | {"LATENCY.VECTOR_MUL_CYCLES.dc_lib_en": 3}
    assert options_of(points[0]) == {"max_instructions": 200}
    latency = scaled(plena.Target(), settings_of(points[-1])).latency
    assert (latency["VECTOR_MUL_CYCLES"].en, latency["VECTOR_ADD_CYCLES"].dis) == (5, 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to search"),
        ([], "a dictionary or a file, not list"),
        ({"MLENN": [1]}, "`MLENN` is neither a setting nor an option.*MLEN.*max_instructions"),
        ({"matmull": ["mm"]}, r"neither a setting nor an option. Did you mean matmul\?"),
        ({"MLEN": []}, "`MLEN` has no values"),
        ({"LATENCY": {}}, "`LATENCY` has no values"),
        ({"MLEN": {"low": 8, "high": 4}}, "no values from 8 to 4"),
        ({"MLEN": {"low": 8, "high": 64, "step": 8, "factor": 2}}, "low, high, and step or factor"),
        ({"MLEN": {"low": 8, "high": 64, "by": 8}}, "low, high, and step or factor"),
        ({"MLEN": {"low": 0, "high": 64, "factor": 2}}, "low of at least 1"),
        ({"MLEN": {"low": 8, "high": 64, "factor": 1}}, "factor of at least 2"),
        ({"MLEN": 32}, "needs a list or a range, not 32"),
        ({"MLEN": [32, 32]}, "has 32 twice"),
        ({"MLEN": ["wide"]}, "must be an integer"),
        ({"MLEN": [[32]]}, r"needs numbers or texts, not \[32\]"),
        ({"matmul": ["mm", "fast"]}, "matmul must be one of"),
        ({"max_instructions": [0]}, "must be positive"),
        ({"FORMATS": ["e9m9"]}, "e9m9"),
    ],
)
def test_what_is_no_space(given: Any, message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        Space.of(given)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(PlenaError, match="cannot be read"):
        Space.of(tmp_path / "none.toml")
    (tmp_path / "space.toml").write_text("MLEN = [")
    with pytest.raises(PlenaError, match=r"space.toml: not a TOML file"):
        Space.of(tmp_path / "space.toml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "must be a list of names"),
        ("area", "must be a list of names"),
        (["beauty"], "no objective 'beauty'.*latency:<profile>"),
        (["latency"], r"no objective 'latency'. Did you mean latency:transactional\?"),
        (["latencyy:transactional"], r"no objective '.*Did you mean latency:transactional\?"),
        (["latency:pipelind"], r"timing must be one of .*Did you mean pipelined\?"),
        (["cycles:none"], "timing must be one of"),
        (["area", "area"], "given twice"),
    ],
)
def test_what_is_no_objective(given: Any, message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        Objectives.of(given)


def test_the_first_profile_chooses_programs() -> None:
    objectives = Objectives.of(["area", "latency:pipelined", "cycles:serialized", "latency:rtl-v1"])
    assert objectives.timing == "pipelined"
    assert objectives.profiles("latency") == ("pipelined", "rtl-v1")
    assert Objectives.of(["area"]).timing == "transactional"


def test_what_must_fit_mlen_follows_it() -> None:
    wide = scaled(plena.Target(), {"MLEN": 128})
    assert (wide.vlen, wide.hlen, wide.hbm_m_prefetch_amount) == (128, 32, 128)
    assert wide.has_broadcast
    assert scaled(plena.Target(), {"MLEN": 128, "HLEN": 8}).hlen == 8
    assert scaled(plena.Target(), {"BROADCAST_AMOUNT": 8}).hlen == 8
    assert scaled(plena.Target(), {"BLEN": 8}) == plena.Target().with_settings({"BLEN": 8})


def test_machines_that_differ_in_timing_share_a_program() -> None:
    base = plena.Target().with_settings({"VECTOR_EXP_CYCLES": 3, "HBM_CHANNELS": 4})
    timing = {"VECTOR_ADD_CYCLES": 7, "HBM_CHANNELS": 2, "HBM_GEN": "HBM3", "DMA_LOAD_WORD_PS": 9, "DC_EN": 0}
    assert untimed(base.with_settings(timing), base) == base
    other = base.with_settings({"BLEN": 8, "FORMATS": "e3m4", **timing})
    assert untimed(other, base) == base.with_settings({"BLEN": 8, "FORMATS": "e3m4"})


def test_a_machine_as_a_settings_file(tmp_path: Path) -> None:
    target = plena.Target().with_settings(
        {"MLEN": 32, "VLEN": 32, "HBM_GEN": "HBM3", "FORMATS": "mixed", "VECTOR_ADD_CYCLES": 9, "DC_EN": 0}
    )
    text = settings_text(target, "a point\nof a study", {"matmul": "mm", "max_instructions": None})
    (tmp_path / "point.toml").write_text(text)
    assert plena.Target.from_toml(tmp_path / "point.toml") == target
    assert text.startswith('# a point of a study\n# matmul = "mm"\n# max_instructions = none\n')
