"""Targets: settings, overrides, module attribute."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, IntegerAttr, ModuleOp, StringAttr, i64
from xdsl.parser import Parser

from plena.errors import SettingsError
from plena.machine.number_formats import BF16, E8M0, Fp, Int, Mx, Plain
from plena.machine.target import CONFIG_FIELDS, SHIPPED_LATENCY, SHIPPED_PRECISION, Target

SHIPPED = Path(__file__).parents[1] / "conformance" / "plena_settings.toml"

scalars = st.one_of(
    st.builds(Int, st.sampled_from([8, 16, 32])),
    st.builds(Fp, st.booleans(), st.integers(1, 8), st.integers(0, 10)),
)
elements = st.builds(Fp, st.booleans(), st.integers(1, 8), st.integers(0, 10))
number_formats = st.one_of(
    st.builds(Plain, scalars), st.builds(Mx, st.sampled_from([8, 16, 32]), elements, st.just(E8M0))
)
latencies = st.fixed_dictionaries({"dc_lib_en": st.integers(0, 99), "dc_lib_dis": st.integers(0, 99)})
overrides = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.integers(1, 1 << 29) for key in CONFIG_FIELDS if key != "HBM_GEN"},
        "HBM_GEN": st.sampled_from(["HBM2", "HBM3"]),
        **{key: latencies for key in SHIPPED_LATENCY},
        **{key: number_formats.map(lambda f: f.table()) for key in SHIPPED_PRECISION if key != "SCALAR_FP"},
    },
)


def test_defaults_are_the_shipped_settings() -> None:
    assert Target.from_toml(SHIPPED) == Target()
    assert Target().settings() == {}
    assert Target().tile == 4096
    assert Target().matrix_tiles == 64
    assert Target().has_broadcast
    Target().validate()


@given(overrides)
def test_settings_describe_the_target(settings: dict[str, object]) -> None:
    target = Target().with_settings(settings)
    assert Target().with_settings(target.settings()) == target
    assert pickle.loads(pickle.dumps(target)) == target
    assert hash(target) and b"_hash" not in pickle.dumps(target), "another process has other hashes"
    assert hash(Target().with_settings(settings)) == hash(target)


@given(overrides)
def test_module_attribute_survives_text(settings: dict[str, object]) -> None:
    target = Target().with_settings(settings)
    module = ModuleOp([])
    target.attach(module)
    context = Context()
    context.load_dialect(Builtin)
    parsed = Parser(context, str(module)).parse_module()
    assert Target.from_module(parsed) == target


def test_the_shipped_target_leaves_no_attribute() -> None:
    module = ModuleOp([])
    Target(mlen=16).attach(module)
    Target().attach(module)
    assert not module.attributes
    assert Target.from_module(module) == Target()


def test_keys_reach_inside() -> None:
    target = Target().with_settings(
        {
            "MLEN": 16,
            "VECTOR_ADD_CYCLES": 7,
            "PRECISION.HBM_M_WEIGHT_TYPE.block": 16,
            "HBM_M_KV_TYPE.ELEM.mantissa": 2,
            "LATENCY.VECTOR_MUL_CYCLES.dc_lib_dis": 9,
            "TRANSACTIONAL.CONFIG.BLEN": 8,
            "SCALAR_FP": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7},
        }
    )
    assert (target.mlen, target.vlen, target.blen) == (16, 64, 8)
    assert target.cycles("VECTOR_ADD_CYCLES") == 7
    assert target.latency["VECTOR_MUL_CYCLES"] == (1, 9)
    assert target.with_settings({"DC_EN": 0}).cycles("VECTOR_MUL_CYCLES") == 9
    weight, kv = target.precision["HBM_M_WEIGHT_TYPE"], target.precision["HBM_M_KV_TYPE"]
    assert isinstance(weight, Mx) and weight.block == 16
    assert isinstance(kv, Mx) and kv.elem.mantissa == 2
    assert target.precision["SCALAR_FP"] == Plain(BF16)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"MLENN": 3}, "MLEN"),
        ({"mlen": 3}, "Did you mean MLEN"),
        ({"VECTOR_ADD": 3}, "VECTOR_ADD_CYCLES"),
        ({"LATENCY.MLEN": 3}, "LATENCY.MLEN"),
        ({"": 3}, "unknown setting"),
        ({"MLEN": 0}, "at least 1"),
        ({"MLEN": "64"}, "must be an integer"),
        ({"MLEN": True}, "must be an integer"),
        ({"HBM_SIZE": 1 << 63}, "HBM_SIZE"),
        ({"VECTOR_ADD_CYCLES": -1}, "number of cycles"),
        ({"VECTOR_ADD_CYCLES": {"fast": 1}}, "dc_lib_en"),
        ({"HBM_M_WEIGHT_TYPE": 3}, "must be a table"),
        ({"HBM_M_WEIGHT_TYPE": {"format": "Mx"}}, "DATA_TYPE"),
        ({"HBM_M_WEIGHT_TYPE.blok": 3}, "block"),
        ({"HBM_M_WEIGHT_TYPE.block.x": 3}, "no parts"),
        ({"HBM_M_WEIGHT_TYPE.block": "8"}, "must be an integer"),
        ({"HBM_M_WEIGHT_TYPE.ELEM.exponent": 9}, "1..8"),
        ({"HBM_M_WEIGHT_TYPE.ELEM": {"type": "Int", "width": 8}}, 'type = "Fp"'),
        ({"HBM_M_WEIGHT_TYPE.ELEM.type": "Posit"}, '"Fp" or "Int"'),
    ],
)
def test_malformed_settings(settings: dict[str, object], text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Target().with_settings(settings)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("[TRANSACTIONAL.CONFIG]", "[TRANSACTIONAL.CONFIGURATION]", "`CONFIG` is missing"),
        ("VECTOR_SRAM_SIZE = { value = 4194304 }\n", "", "`VECTOR_SRAM_SIZE` is missing"),
        ("MLEN = { value = 64 }", "MLEN = 64", "`MLEN` must be a table"),
        ("BLEN = { value = 4 }", "BLEN = { values = 4 }", "TRANSACTIONAL.CONFIG.BLEN: `value` is missing"),
        ("VECTOR_SUM_CYCLES = { dc_lib_en = 8, ", "VECTOR_SUM_CYCLES = { ", "`dc_lib_en` is missing"),
        ("HBM_V_KV_TYPE = ", "HBM_V_KV = ", "`HBM_V_KV_TYPE` is missing"),
        ("[MODE]", "[MODE", "not a TOML file"),
        ("MLEN = { value = 64 }", "MLEN = { value = -1 }", "MLEN: must be at least 1"),
    ],
)
def test_malformed_files(tmp_path: Path, old: str, new: str, text: str) -> None:
    shipped = SHIPPED.read_text(encoding="utf-8")
    assert old in shipped
    head, mark, tail = shipped.partition("[TRANSACTIONAL.CONFIG]")
    broken = shipped.replace(old, new) if old.startswith("[") else head + mark + tail.replace(old, new)
    file = tmp_path / "settings.toml"
    file.write_text(broken, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        Target.from_toml(file)
    assert text in str(caught.value)
    assert str(file) in str(caught.value)


def test_files_may_say_more_and_leave_out_what_nobody_reads(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8").replace("HBM_WIDTH = { value = 512 }\n", "")
    text = text.replace("VECTOR_BASIC_CYCLES = { dc_lib_en = 1, dc_lib_dis = 2 }\n", "")
    text = text.replace("[TRANSACTIONAL.LATENCY]", '[TRANSACTIONAL.LATENCY]\nLATENCY_PROFILE = "x"')
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    assert Target.from_toml(file) == Target()


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        Target.from_toml(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not a TOML file"):
        Target.from_toml(tmp_path / "binary.toml")


def test_malformed_module_attributes() -> None:
    for attribute in (StringAttr("shipped"), IntegerAttr(3, i64)):
        module = ModuleOp([], attributes={"plena.target": attribute})
        with pytest.raises(SettingsError, match=r"plena\.target"):
            Target.from_module(module)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"MLEN": 32}, "VLEN must equal MLEN"),
        ({"BLEN": 5}, "BLEN must divide MLEN"),
        ({"HLEN": 7}, "HLEN must divide VLEN"),
        ({"MATRIX_SRAM_SIZE": 63}, "one prefetch"),
        ({"HBM_M_Prefetch_Amount": 8192}, "one prefetch of 128 tiles"),
        ({"HBM_SIZE": 100}, "multiple of 64"),
        ({"HBM_V_Prefetch_Amount": 0}, "HBM_V_Prefetch_Amount"),
        ({"HBM_V_KV_TYPE.ELEM.exponent": 2, "HBM_V_KV_TYPE.ELEM.mantissa": 1}, "8 or 16 bits"),
        ({"HBM_V_ACT_TYPE.block": 24}, "block must divide"),
        ({"MLEN": 1024, "VLEN": 1024}, "64 bytes"),
    ],
)
def test_validate_names_what_does_not_fit(settings: dict[str, object], text: str) -> None:
    target = Target().with_settings(settings)
    with pytest.raises(SettingsError) as caught:
        target.validate()
    assert text in str(caught.value)


def test_prefetch_amounts_round_up_to_tiles() -> None:
    amounts = {1: 1, 64: 1, 65: 2, 128: 2, 0: 1}
    for rows, tiles in amounts.items():
        assert Target(hbm_m_prefetch_amount=rows).m_prefetch_tiles == tiles


def test_importing_targets_is_light() -> None:
    code = (
        "import sys, plena.machine.target; print([m for m in ('numba', 'torch', 'xdsl') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
