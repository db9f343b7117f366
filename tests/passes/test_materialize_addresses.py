"""What materialize-addresses spends on the nests of kernels: the figures that the project promises."""

from __future__ import annotations

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from plena.dialects.loop import ForOp, Linear
from plena.dialects.plena_isa import Instruction, instructions_in
from plena.errors import CompileError
from plena.instructions.instruction_builder import InstructionBuilder
from plena.machine.target import Target
from plena.passes.materialize_addresses import MaterializeAddresses
from tests.affine.programs import parse
from tests.calls import counted_calls
from tests.register_form.matmul_nests import dual, figures, single
from tests.register_form.trace import trace


def materialized(module: ModuleOp, registers: int = 15) -> ModuleOp:
    MaterializeAddresses(registers=registers).apply(Context(), module)
    module.verify()
    return module


@pytest.mark.parametrize(
    ("nest", "k", "static", "utilization"),
    [
        (single(384, rows=4), 384, 80, 0.744),
        (dual(384, rows=1), 384, 60, 0.75),
        (dual(384, rows=1, zigzag=False), 384, 60, 0.762),
        (dual(384, rows=2, zigzag=False), 384, 80, 0.787),
        (dual(384, rows=4, zigzag=False), 384, 125, 0.80),
        (single(1408), 1408, 90, 0.686),
    ],
    ids=[
        "single-384",
        "dual-384-zigzag",
        "dual-384",
        "dual-384-two-rows",
        "dual-384-four-rows",
        "single-1408",
    ],
)
def test_matmul_figures(nest: ModuleOp, k: int, static: int, utilization: float) -> None:
    result = figures(materialized(nest).body.block)
    assert result.static <= static
    assert result.utilization(k) >= utilization


def test_short_nests_keep_their_addresses() -> None:
    for build in (lambda: single(128, rows=2), lambda: dual(128, rows=2), lambda: single(128, 2, 2, "rj")):
        before = trace(build())
        assert trace(materialized(build())) == before


def straight_line(instructions: int) -> ModuleOp:
    builder = InstructionBuilder(Target())
    for n in range(instructions // 7):
        for q in range(6):
            builder.emit("M_MM", mat=q * 4096 + n // 16 % 16 * 256, vec=q * 4096 + n % 16 * 256)
        builder.emit("M_MM_WO", dst=24576 + n % 16 * 256 + n // 16 * 4, stride=builder.gp0)
    return builder.finish()


def test_straight_line_code_keeps_what_is_read_again_soonest() -> None:
    module = materialized(straight_line(7 * 256))
    products = sum(op.SPEC.mnemonic == "M_MM" for op in instructions_in(module))
    updates = sum(op.SPEC.mnemonic.startswith("S_") for op in instructions_in(module))
    assert updates < 0.86 * products


def test_addresses_take_few_calls_an_instruction() -> None:
    counts: list[int] = []
    for length in (2_000, 4_000):
        module = straight_line(length)
        with counted_calls() as calls:
            materialized(module)
        counts.append(calls())
    assert counts[1] < 2.5 * counts[0]


def test_constants_below_the_reach_of_an_immediate_need_no_register() -> None:
    builder = InstructionBuilder(Target())
    f = builder.f_cell()
    with builder.loop(4) as i:
        builder.emit("S_LD_FP", dst=f, base=5)
        builder.emit("S_ST_FP", src=f, base=Linear(9) + i * 2)
        builder.emit("S_LD_FP", dst=f, base=6)
    module = materialized(builder.finish())
    assert sum(op.SPEC.mnemonic.startswith("S_ADD") for op in instructions_in(module)) == 2


def test_too_many_loops() -> None:
    module = parse("""
    builtin.module {
      loop.for %i = 0 to 4 {
        loop.for %j = 0 to 4 {
          %a = loop.affine 0 + 64 * %i + 64 * %j
          plena_isa.v_exp_v dst(%a) a(%a)
        }
      }
    }""")
    with pytest.raises(CompileError, match=r"2 integer registers are too few .* \(2 deep\)"):
        materialized(module, registers=2)


def test_state_must_be_set_before() -> None:
    module = parse("""
    builtin.module {
      %zero = loop.affine 0
      plena_isa.h_prefetch_m dst(%zero) off(%zero) base(%zero)
    }""")
    with pytest.raises(CompileError, match="still carries its state `base`"):
        materialized(module)


def test_mixed_forms_are_refused() -> None:
    module = parse("""
    builtin.module {
      %r = plena_isa.register : !plena_isa.gp
      %zero = loop.affine 0
      plena_isa.v_exp_v dst(%r : !plena_isa.gp) a(%zero)
    }""")
    with pytest.raises(CompileError, match="mixes address expressions and integer registers"):
        materialized(module)


def test_spilled_registers_keep_away_from_the_words_of_the_program() -> None:
    builder = InstructionBuilder(Target())
    f = builder.f_cell()
    with builder.loop(24) as i:
        builder.emit("S_ST_FP", src=f, base=Linear(900) + i * 5)
        builder.emit("S_ST_INT", src=i, base=Linear(1000) + i)
    module = materialized(builder.finish())
    numbers = {name: attribute.value.data for name, attribute in module.attributes.items()}  # type: ignore[attr-defined]
    assert numbers == {
        "plena.fp_spill_base": 0,
        "plena.fp_spill_end": 900,
        "plena.int_spill_base": 0,
        "plena.int_spill_end": 1000,
    }


def vector_products(tiles: int, trips: int) -> ModuleOp:
    """Products of packed rows with `tiles` tiles a turn, whose address moves."""
    builder = InstructionBuilder(Target())
    with builder.loop(trips) as k:
        for tile in range(tiles):
            for c in range(4):
                base = k * (tiles * 4096) + tile * 4096
                builder.emit("M_BTMV", off=c * 16, mat=base, vec=k * (tiles * 256) + tile * 256 + c * 64)
    return builder.finish()


def products_of(module: ModuleOp) -> list[tuple[int, int]]:
    """The matrix and vector addresses of products, the two registers of the former added up."""
    found: list[tuple[int, int]] = []
    for _, _, numbers, _ in trace(module):
        assert isinstance(numbers, tuple)
        (_, mat), (_, off), (_, vec) = numbers
        found.append((mat + off, vec))
    return found


@pytest.mark.parametrize(("tiles", "saved"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_two_tiles_share_an_address_that_moves(tiles: int, saved: int) -> None:
    trips = 8
    counts: list[int] = []
    for share_bases in (False, True):
        module = vector_products(tiles, trips)
        MaterializeAddresses(share_bases=share_bases).apply(Context(), module)
        module.verify()
        assert products_of(module) == products_of(vector_products(tiles, trips))
        loop = next(op for op in module.body.block.ops if isinstance(op, ForOp))
        inside = (op for op in loop.body.block.ops if isinstance(op, Instruction))
        counts.append(sum(op.SPEC.mnemonic.startswith("S_") for op in inside))
    assert counts[0] - counts[1] == saved


def test_few_registers_leave_no_room_for_more_offsets() -> None:
    module = vector_products(4, 8)
    MaterializeAddresses(registers=6, share_bases=True).apply(Context(), module)
    assert products_of(module) == products_of(vector_products(4, 8))
