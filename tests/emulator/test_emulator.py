"""The emulator's interface: inputs, results, counters, loops, single steps, errors."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from plena.assembly import encode, parse_asm
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.emulator import Machine, emulate
from plena.errors import AssemblyError, EmulatorError, PlenaError, SettingsError
from plena.machine.number_formats import MX_E4M3, bf16_bits, bf16_from_bits
from plena.machine.target import Target

SMALL = Target().with_settings(
    {
        "MLEN": 16,
        "VLEN": 16,
        "BLEN": 4,
        "HLEN": 4,
        "MATRIX_SRAM_SIZE": 32,
        "VECTOR_SRAM_SIZE": 8,
        "HBM_SIZE": 4096,
        "HBM_M_Prefetch_Amount": 16,
    }
)


def words(text: str) -> list[int]:
    return [int(word) for word in encode(parse_asm(text))]


# --- inputs and results -------------------------------------------------------------------------------


def test_an_empty_program() -> None:
    result = emulate([], target=SMALL)
    assert (result.cycles, result.executed, result.dma_cycles) == (0, 0, 0)
    assert result.counters == {}
    assert result.loops == {}
    assert result.vram_bits.shape == (8, 16)
    assert result.mram_bits.shape == (2, 16, 16)
    assert result.hbm.shape == (4096,)
    assert result.fp_sram_bits.shape == result.int_sram.shape == (1024,)
    assert not result.vram_bits.any()


@pytest.mark.parametrize("form", [list, np.array, lambda w: np.array(w, np.uint32), tuple])
def test_forms_of_a_program(form) -> None:
    result = emulate(form(words("S_ADDI_INT gp1, gp0, 7")), target=SMALL)
    assert result.gp[1] == 7


def test_assembly_text() -> None:
    result = emulate("; comment\nS_ADDI_INT gp1, gp0, 7 // seven\nS_MUL_INT gp2, gp1, gp1\n", target=SMALL)
    assert result.gp[2] == 49
    assert result.counters == {"S_ADDI_INT": 1, "S_MUL_INT": 1}


def test_malformed_text_and_words() -> None:
    with pytest.raises(AssemblyError) as caught:
        emulate("S_ADDI_INT gp1, gp0, 7\nS_FLY gp1", target=SMALL)
    assert (caught.value.line, caught.value.column) == (2, 1)
    for bad in ([1 << 32], [-1], [0.5], np.zeros((2, 2), np.uint32), None, 3):
        with pytest.raises(EmulatorError) as wrong:
            emulate(bad, target=SMALL)  # pyright: ignore[reportArgumentType]
        assert wrong.value.abort_class == "bad-token"


def test_preloads() -> None:
    vram = np.arange(40, dtype=np.float32) + np.float32(0.001)
    result = emulate(
        [],
        hbm=b"\x01\x02\x03",
        fp_sram=[1.0, 1e-12, 1e-6, 70000.0, -0.1],
        int_sram=[5, -1, 1 << 32],
        vram=vram,
        target=SMALL,
    )
    assert result.hbm[:4].tolist() == [1, 2, 3, 0]
    assert bf16_from_bits(result.fp_sram_bits[:4]).tolist() == [
        1.0,
        0.0,
        pytest.approx(1.013e-6, rel=1e-3),
        np.inf,
    ]
    assert result.fp_sram_bits[4] == bf16_bits(np.float32(np.float16(-0.1)))
    assert result.int_sram[:3].tolist() == [5, 0xFFFFFFFF, 0]
    np.testing.assert_array_equal(result.vram_bits.reshape(-1)[:40], bf16_bits(vram))
    assert not result.vram_bits.reshape(-1)[40:].any()


def test_vram_bits_are_taken_as_they_are() -> None:
    bits = np.array([0x7FC0, 0xFF81, 0x8000, 0x0001], np.uint16)
    assert emulate([], vram=bits, target=SMALL).vram_bits[0, :4].tolist() == bits.tolist()


def test_vram_may_be_a_tensor() -> None:
    values = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    assert emulate([], vram=values, target=SMALL).vram_bits[0, :2].tolist() == [0x3FC0, 0xC000]


@pytest.mark.parametrize("preload", [{"vram": "ab"}, {"fp_sram": ["a"]}, {"int_sram": [0.5]}], ids=str)
def test_preloads_that_are_no_numbers(preload) -> None:
    with pytest.raises(PlenaError, match="numbers"):
        emulate([], target=SMALL, **preload)


def test_vram_excess_is_ignored() -> None:
    result = emulate([], vram=np.ones(1000, np.float32), target=SMALL)
    assert (result.vram_bits == 0x3F80).all()


@pytest.mark.parametrize(
    "preload", [{"hbm": bytes(4097)}, {"fp_sram": [0.0] * 1025}, {"int_sram": [0] * 1025}], ids=str
)
def test_preloads_that_do_not_fit(preload) -> None:
    with pytest.raises(EmulatorError) as caught:
        emulate([], target=SMALL, **preload)
    assert caught.value.abort_class == "preload-too-large"
    assert caught.value.index is None
    assert str(caught.value).startswith("at load: ")


def test_dimensions_that_do_not_fit() -> None:
    for settings in ({"VLEN": 32}, {"BLEN": 5}):
        with pytest.raises(SettingsError):
            emulate([], target=SMALL.with_settings(settings))


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_the_shipped_machine_costs_what_it_touches() -> None:
    emulate([])
    before = resident_bytes()
    result = emulate("S_LUI_INT gp1, 65535\nV_ADD_VV gp1, gp0, gp0, 0")
    assert resident_bytes() - before < result.vram_bits.nbytes / 8
    assert result.vram_bits.shape == (4194304, 64)
    assert result.vram_touched.tolist() == [(65535 << 12) // 64]
    assert result.hbm.nbytes == 17179869184


def test_results_do_not_change_when_the_machine_goes_on() -> None:
    machine = Machine(SMALL)
    first = machine.run("S_ADDI_INT gp1, gp1, 1\nS_ST_INT gp1, gp0, 0\nV_ADD_VF gp0, gp0, f0, 0")
    machine.run("S_ADDI_INT gp1, gp1, 1\nS_ST_INT gp1, gp0, 0")
    assert (first.gp[1], first.int_sram[0], machine.gp[1], machine.int_sram[0]) == (1, 1, 2, 2)


# --- counters -----------------------------------------------------------------------------------------

NEST = """
C_LOOP_START gp1, 3
S_ADDI_INT gp3, gp3, 1
C_LOOP_START gp2, 4
S_MAP_V_FP gp0, gp0, 0
V_RED_SUM f0, gp0, 0
C_LOOP_END gp2
C_LOOP_END gp1
S_ADDI_INT gp4, gp0, 5
"""


def test_counters() -> None:
    result = emulate(NEST, target=SMALL)
    assert result.counters == {
        "C_LOOP_START": 4,
        "C_LOOP_END": 15,
        "S_ADDI_INT": 4,
        "S_MAP_V_FP": 12,
        "V_RED_SUM": 12,
    }
    assert result.executed == 47
    assert result.executed_at.tolist() == [1, 3, 3, 12, 12, 12, 3, 1]
    assert result.cycles_at.tolist() == [1, 1, 1, 32, 0, 1, 1, 1]
    assert result.cycles == (result.executed_at * result.cycles_at).sum() == 1 + 3 + 3 + 12 * 32 + 12 + 3 + 1


def test_loops_count_what_is_inside() -> None:
    loops = emulate(NEST, target=SMALL).loops
    assert (loops[0].iterations, loops[2].iterations) == (3, 12)
    assert (loops[0].instructions, loops[2].instructions) == (3 * (3 + 12), 12 * 3)
    assert (loops[0].cycles, loops[2].cycles) == (3 * (3 + 4 * 33), 12 * 33)


def test_loops_left_open_are_counted_to_the_end() -> None:
    text = "C_LOOP_START gp1, 100\n" * 40 + "S_ADDI_INT gp3, gp3, 1\nC_LOOP_END gp1"
    result = emulate(text, target=SMALL)
    assert result.gp[3] == 100
    assert result.loops[39].iterations == 100
    assert result.loops[0].instructions == result.executed - 1


def test_dma_is_reported_apart_and_where_it_happens() -> None:
    target = SMALL.with_settings(
        {
            "DMA_LOAD_LATENCY_PS": 10_000,
            "DMA_LOAD_WORD_PS": 1_000,
            "DMA_LOAD_GAP_PS": 100,
            "DMA_STORE_WORD_PS": 7_000,
        }
    )
    result = emulate(
        """S_ADDI_INT gp2, gp0, 2048
        C_SET_SCALE_REG gp2
        S_ADDI_INT gp3, gp0, 64
        C_SET_STRIDE_REG gp3
        H_PREFETCH_M gp0, gp0, a0, 0, 0
        H_PREFETCH_V gp0, gp0, a0, 1, 0
        H_STORE_V gp0, gp0, a0, 0, 0""",
        target=target,
    )
    contiguous, strided, store = 10 + 32, 10 + 8 + 0.3, 4 * 2 * 7
    assert result.cycles == 4
    assert result.dma_cycles_at.tolist() == [0, 0, 0, 0, contiguous, strided, store]
    assert result.dma_cycles == 117
    assert result.hbm_bytes_read == (32 + 8 + 8) * 64
    assert result.hbm_bytes_written == 8 * 64


@pytest.mark.parametrize(
    ("text", "cycles"),
    [
        ("H_PREFETCH_M gp0, gp0, a0, 0, 0", 122),
        ("S_ADDI_INT gp1, gp0, 384\nC_SET_STRIDE_REG gp1\nH_PREFETCH_M gp0, gp0, a0, 1, 0", 178),
        ("S_ADDI_INT gp1, gp0, 256\nC_SET_SCALE_REG gp1\nH_STORE_V gp0, gp0, a0, 0, 0", 110),
    ],
)
def test_dma_times_of_the_public_emulator(text: str, cycles: int) -> None:
    assert emulate(text).dma_cycles == cycles


# --- control flow -------------------------------------------------------------------------------------


def loop_of(body: int, trips: int) -> str:
    return f"C_LOOP_START gp1, {trips}\n" + "S_ADDI_INT gp2, gp2, 1\n" * body + "C_LOOP_END gp1"


def test_the_watchdog_allows_exactly_the_limit() -> None:
    target = SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 10})
    assert emulate(loop_of(9, 3), target=target).gp[2] == 27
    with pytest.raises(EmulatorError) as caught:
        emulate(loop_of(10, 3), target=target)
    assert caught.value.abort_class == "loop-watchdog"
    assert (caught.value.index, caught.value.mnemonic) == (11, "C_LOOP_END")
    assert "loop at instruction 0" in caught.value.reason


def test_the_watchdog_counts_inner_loops() -> None:
    target = SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 10})
    inner = "C_LOOP_START gp1, 2\nC_LOOP_START gp2, {n}\nC_LOOP_END gp2\nC_LOOP_END gp1"
    emulate(inner.format(n=8), target=target)
    with pytest.raises(EmulatorError, match="loop-watchdog"):
        emulate(inner.format(n=9), target=target)


def test_a_closed_loop_is_watched_no_more() -> None:
    target = SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 10})
    emulate(loop_of(9, 1) + "\n" + "S_ADDI_INT gp2, gp2, 1\n" * 50, target=target)


def test_counter_counts_down_and_can_be_changed() -> None:
    text = """C_LOOP_START gp1, 3
    S_ADD_INT gp2, gp2, gp1
    C_LOOP_END gp1"""
    assert emulate(text, target=SMALL).gp[2] == 3 + 2 + 1
    early = text.replace("C_LOOP_END", "S_ADDI_INT gp1, gp0, 1\nC_LOOP_END")
    assert emulate(early, target=SMALL).gp[2] == 3


def test_progress_is_called_and_may_stop_the_run() -> None:
    calls: list[tuple[int, int]] = []
    text = (
        "C_LOOP_START gp1, 3000\nC_LOOP_START gp3, 20\n"
        + "S_ADDI_INT gp2, gp2, 1\nC_LOOP_END gp3\nC_LOOP_END gp1"
    )
    result = emulate(text, target=SMALL, progress=lambda executed, cycles: calls.append((executed, cycles)))
    assert calls
    assert calls == sorted(calls)
    assert calls[-1][0] < result.executed

    def interrupt(executed: int, cycles: int) -> None:
        raise KeyboardInterrupt

    machine = Machine(SMALL)
    with pytest.raises(KeyboardInterrupt):
        machine.run(text, progress=interrupt)
    assert 0 < machine.gp[2] < 60_000


# --- single steps -------------------------------------------------------------------------------------


def test_single_steps_share_the_state() -> None:
    machine = Machine(SMALL)
    for word in words("S_ADDI_INT gp1, gp0, 16\nS_ADDI_INT gp2, gp1, 16"):
        machine.execute(word)
    machine.fp[1] = 0.5
    machine.vram[1] = 3.0
    machine.execute(words("V_MUL_VF gp2, gp1, f1, 0")[0])
    assert (machine.vram[2] == 1.5).all()
    assert machine.gp[:3].tolist() == [0, 16, 32]
    machine.write_vram(0, np.full(20, 2.0))
    result = machine.run(words("V_ADD_VV gp0, gp0, gp1, 0"))
    assert bf16_from_bits(result.vram_bits[0]).tolist() == [4.0] * 4 + [5.0] * 12
    assert machine.hb.shape == (16,)
    assert machine.mram.shape == (2, 16, 16)


def test_loops_cannot_be_stepped() -> None:
    machine = Machine(SMALL)
    for text in ("C_LOOP_START gp1, 2", "C_LOOP_END gp1", "C_BREAK"):
        with pytest.raises(PlenaError, match="whole program"):
            machine.execute(words(text)[0])


def test_stepping_aborts_as_running_does() -> None:
    machine = Machine(SMALL)
    with pytest.raises(EmulatorError) as caught:
        machine.execute(words("S_ST_INT gp1, gp0, 2000")[0])
    assert caught.value.abort_class == "int-sram-range"


# --- values that the vectors pin only in larger programs -----------------------------------------------


def test_a_weight_travels_from_hbm_to_a_product() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16, 16)).astype(np.float32)
    x = rng.standard_normal((4, 16)).astype(np.float32)
    elements, scales = MX_E4M3.encode(weight)
    result = emulate(
        """S_ADDI_INT gp1, gp0, 256
        C_SET_SCALE_REG gp1
        H_PREFETCH_M gp0, gp0, a0, 0, 0
        S_ADDI_INT gp2, gp0, 64
        M_MM 0, gp2, gp0
        M_MM_WO gp2, gp0, 4""",
        hbm=np.concatenate([elements.reshape(-1), scales.reshape(-1)]),
        vram=x,
        target=SMALL,
    )
    decoded = MX_E4M3.decode(elements, scales)
    np.testing.assert_array_equal(result.mram_bits[0], bf16_bits(decoded))
    exact = bf16_from_bits(bf16_bits(x)).astype(np.float64) @ decoded[:, 4:8].astype(np.float64)
    np.testing.assert_allclose(bf16_from_bits(result.vram_bits[4:8, 4:8]), exact, rtol=2**-7, atol=1e-5)
    assert not result.vram_bits[4:8, :4].any()


def test_free_instructions_check_nothing() -> None:
    result = emulate([INSTRUCTIONS["S_ADD_FP"].opcode | 9 << 10 | 12 << 14], target=SMALL)
    assert (result.cycles, result.executed) == (0, 1)


def test_store_types_that_the_machine_garbles_are_refused() -> None:
    target = SMALL.with_settings(
        {
            "HBM_V_ACT_TYPE": {
                "format": "Plain",
                "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 4, "mantissa": 3},
            }
        }
    )
    with pytest.raises(EmulatorError) as caught:
        emulate("H_STORE_V gp0, gp0, a0, 0, 0", target=target)
    assert caught.value.abort_class == "store-type"
    emulate("H_PREFETCH_V gp0, gp0, a0, 0, 0", target=target)
