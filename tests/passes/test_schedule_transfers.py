"""schedule-transfers: what a program computes stays, and the loads go where they wait for nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue

import plena
from plena.assembly import parse_asm, print_asm
from plena.dialects.loop import AffineOp, ForOp, Linear, YieldOp
from plena.dialects.plena_isa import OP_OF_MNEMONIC, GPRegister, Memory, RegisterOp
from plena.dialects.plena_isa.registers import ARegister
from plena.loops.effects import EffectTable
from plena.loops.scheduling.tiles import Room, untouched
from plena.machine.target import Target
from plena.passes.emission import Counted, counted
from plena.passes.schedule_transfers import ScheduleTransfers
from tests.affine.programs import Program, parse
from tests.affine.uninterpreted import TINY, final_state
from tests.lifting.affine_machine import memories
from tests.lifting.machines import machine

TARGET = Target().with_settings({"HBM_SIZE": 1 << 18, "VECTOR_SRAM_SIZE": 1 << 12})
ROW, TILE = 8, 64
TIMINGS = ("serialized", "rtl-v1")


class Writer:
    """Appends to a block; addresses are mostly those of a compiled program, sometimes any."""

    def __init__(self, draw: st.DrawFn, block: Block, base: SSAValue, zero: SSAValue) -> None:
        self.draw, self.block, self.base, self.zero = draw, block, base, zero

    def address(self, constant: int, *terms: tuple[SSAValue, int]) -> SSAValue:
        op = AffineOp(Linear.of(constant, terms))
        self.block.add_op(op)
        return op.results[0]

    def loop(self, trips: int) -> tuple[Writer, SSAValue]:
        loop = ForOp(trips)
        self.block.add_op(loop)
        last = loop.body.block.last_op
        assert last is not None
        last.detach()
        return Writer(self.draw, loop.body.block, self.base, self.zero), loop.index

    def pick(self, *values: int) -> int:
        return self.draw(st.sampled_from(values))

    def products(self, trips: int) -> None:
        """Loads, products and a write-out, in a loop."""
        body, index = self.loop(trips)
        tiles, first = self.pick(1, 2), self.pick(0, 0, 1)
        for group in range(self.pick(1, 1, 2)):
            loads, tile = body.loop(tiles)
            place = TILE * (first + group * tiles * self.pick(1, 1, 0))
            loads.emit(
                "H_PREFETCH_M",
                dst=loads.address(place, (tile, TILE), (index, TILE * self.pick(0, 0, 0, 1))),
                off=loads.address(0, (index, TILE * tiles), (tile, self.pick(TILE, TILE, 2 * TILE))),
                base=self.base,
                scale=loads.address(2048),
            )
            loads.close()
            inner, step = body.loop(tiles)
            mat = inner.address(self.pick(place, place, 0), (step, TILE))
            inner.emit("M_MM", mat=mat, vec=inner.address(ROW * self.pick(32, 32, 0), (step, ROW)))
            inner.close()
        body.emit("M_MM_WO", dst=body.address(0, (index, ROW * self.pick(4, 4, 0))), stride=self.zero)
        if self.pick(0, 0, 1):
            body.rows(self.pick(2, 4))
        body.close()

    def work(self, trips: int, unit: int) -> None:
        """Rows that are changed, in a loop."""
        body, index = self.loop(trips)
        body.rows(1, (index, unit))
        body.close()

    def rows(self, count: int, *around: tuple[SSAValue, int]) -> None:
        body, index = self.loop(count)
        to = self.pick(0, 0, 44)
        body.emit(
            "V_ADD_VV",
            dst=body.address(ROW * to, (index, ROW), *around),
            a=body.address(0, (index, ROW), *around),
            b=body.address(ROW * self.pick(60, 0)),
        )
        if self.pick(0, 0, 1):
            body.emit("V_EXP_V", dst=body.address(ROW * 61), a=body.address(ROW * self.pick(61, 0)))
        body.close()

    def emit(self, mnemonic: str, **values: SSAValue) -> None:
        self.block.add_op(OP_OF_MNEMONIC[mnemonic].named(values))

    def close(self) -> None:
        self.block.add_op(YieldOp())


@st.composite
def layers(draw: st.DrawFn) -> Program:
    """Products with loads and vector work behind and before them, sometimes in a loop."""
    module = ModuleOp([])
    block = module.body.block
    base, zero = RegisterOp(ARegister.at(0)), RegisterOp(GPRegister.at(0))
    block.add_ops((base, zero))
    writer = Writer(draw, block, base.cell, zero.cell)
    around = draw(st.sampled_from((1, 1, 1, 2)))
    inside = writer.loop(around)[0] if around > 1 else writer
    for _ in range(draw(st.integers(1, 3))):
        trips = inside.pick(2, 3, 4)
        if inside.pick(0, 1):
            inside.work(inside.pick(4, 8), ROW)
        if inside.pick(0, 0, 1):
            source = inside.address(ROW * inside.pick(0, 50))
            inside.emit(
                "H_STORE_V", src=source, off=inside.address(0), base=base.cell, scale=inside.address(2048)
            )
        inside.products(trips)
        if inside.pick(0, 1, 1):
            inside.work(trips * inside.pick(1, 2, 4), ROW)
    if inside is not writer:
        inside.close()
    return Program(module)


@settings(max_examples=40, deadline=None)
@given(layers(), st.sampled_from(TIMINGS), st.booleans())
def test_what_a_program_leaves_is_the_same(program: Program, timing: str, spare_tiles: bool) -> None:
    module, terms = program.module, dict[object, int]()
    spare = untouched(module, EffectTable(TINY))
    before = final_state(module, TINY, terms)
    TINY.attach(module)
    ScheduleTransfers(timing, spare_tiles).apply(Context(), module)
    module.verify()
    after = final_state(module, TINY, terms)
    if spare_tiles:
        for address in range(spare.start, spare.stop):
            after.pop((Memory.MATRIX, address), None)
    assert after == before


TILES_LOADED_TWICE = """
  %a = plena_isa.register : !plena_isa.a<a0>
  %zero = plena_isa.register : !plena_isa.gp<gp0>
  loop.for %i = 0 to 3 {
    %scale = loop.affine 4096
    loop.for %group = 0 to 2 {
      loop.for %k = 0 to 2 {
        %tile = loop.affine 0 + 128 * %group + 64 * %k
        %off = loop.affine 0 + 1024 * %i + 512 * %group + 64 * %k
        plena_isa.h_prefetch_m dst(%tile) off(%off) base(%a : !plena_isa.a<a0>) scale(%scale)
      }
    }
    %again = loop.affine 128
    %other = loop.affine 8192 + 64 * %i
    plena_isa.h_prefetch_m dst(%again) off(%other) base(%a : !plena_isa.a<a0>) scale(%scale)
    plena_isa.m_mm mat(%again) vec(%again)
    %y = loop.affine 256 + 32 * %i
    plena_isa.m_mm_wo dst(%y) stride(%zero : !plena_isa.gp<gp0>)
    loop.for %row = 0 to 3 {
      %x = loop.affine 256 + 32 * %i + 8 * %row
      plena_isa.v_exp_v dst(%x) a(%x)
    }
  }
"""


@pytest.mark.parametrize("timing", TIMINGS)
def test_loads_of_one_tile_keep_their_order(timing: str) -> None:
    """The first loads do not all find rows to run beside; those that are late must not come after the last one."""
    module, terms = parse(TILES_LOADED_TWICE), dict[object, int]()
    before = final_state(module, TINY, terms)
    TINY.attach(module)
    ScheduleTransfers(timing).apply(Context(), module)
    assert final_state(module, TINY, terms) == before


PRODUCTS = """
  %a = plena_isa.register : !plena_isa.a<a0>
  loop.for %row = 0 to 1024 {{
    %x = loop.affine 0 + 64 * %row
    plena_isa.v_exp_v dst(%x) a(%x)
  }}
  loop.for %i = 0 to 8 {{
    loop.for %k = 0 to 4 {{
      %tile = loop.affine {tile} + 4096 * %k
      %weights = loop.affine 0 + 16384 * %i + 4096 * %k
      %scale = loop.affine 131072
      plena_isa.h_prefetch_m dst(%tile) off(%weights) base(%a : !plena_isa.a<a0>) scale(%scale)
    }}
    loop.for %k = 0 to 4 {{
      %tile = loop.affine {tile} + 4096 * %k
      %x = loop.affine 0 + 16384 * %k
      plena_isa.m_btmm mat(%tile) vec(%x)
    }}
    %y = loop.affine 65536 + 16384 * %i
    plena_isa.m_bmm_wo dst(%y)
  }}
"""

WORK = """
  loop.for %row = 0 to 2048 {
    %y = loop.affine 65536 + 64 * %row
    plena_isa.v_exp_v dst(%y) a(%y)
  }
"""


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("work_behind", [False, True])
def test_most_loads_wait_for_nothing(timing: str, work_behind: bool) -> None:
    module = parse(PRODUCTS.format(tile=8192) + (WORK if work_behind else ""))
    TARGET.attach(module)
    scheduled = module.clone()
    ScheduleTransfers(timing).apply(Context(), scheduled)
    before, after = (counted(m, timing) for m in (module, scheduled))
    exposed = [c.cycles - c.without_waits.cycles_by(timing) for c in (before, after)]
    assert exposed[1] < 0.3 * exposed[0]
    assert after.cycles < before.cycles


NEST = """
  %a = plena_isa.register : !plena_isa.a<a0>
  %zero = plena_isa.register : !plena_isa.gp<gp0>
  loop.for %i = 0 to {trips} {{
    loop.for %k = 0 to {tiles} {{
      %tile = loop.affine 0 + {tile} * %k
      %off = loop.affine 0 + {weights} * %i + {tile} * %k
      %scale = loop.affine 131072
      plena_isa.h_prefetch_m dst(%tile) off(%off) base(%a : !plena_isa.a<a0>) scale(%scale)
    }}
    loop.for %r = 0 to {rows} {{
      loop.for %c = 0 to 2 {{
        loop.for %k = 0 to {tiles} {{
          %tile = loop.affine 0 + {tile} * %k + 4 * %c
          %x = loop.affine 512 + {row} * %k + 64 * %r
          plena_isa.m_mm mat(%tile) vec(%x)
        }}
        %y = loop.affine 0 + 64 * %i + 32 * %r + 4 * %c
        plena_isa.m_mm_wo dst(%y) stride(%zero : !plena_isa.gp<gp0>)
      }}
    }}
  }}
"""


def _nest(trips: int, tiles: int, rows: int, target: Target) -> ModuleOp:
    tile = target.tile
    text = NEST.format(trips=trips, tiles=tiles, rows=rows, tile=tile, weights=tiles * tile, row=target.vlen)
    return parse(text)


@pytest.mark.parametrize("trips", [3, 4, 9, 10])
@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_two_runs_of_tiles_in_turn_compute_the_same(trips: int, tiles: int, rows: int) -> None:
    """Also the tiles that every iteration filled hold in the end what they did."""
    module, terms = _nest(trips, tiles, rows, TINY), dict[object, int]()
    spare, before = untouched(module, EffectTable(TINY)), final_state(module, TINY, terms)
    TINY.attach(module)
    text = str(module)
    ScheduleTransfers("rtl-v1").apply(Context(), module)
    module.verify()
    assert str(module) != text
    after = final_state(module, TINY, terms)
    for address in range(spare.start, spare.stop):
        after.pop((Memory.MATRIX, address), None)
    assert after == before


@pytest.mark.parametrize("trips", [7, 8])
def test_loads_wait_for_nothing_beside_products(trips: int) -> None:
    """Under a profile in which loads run beside products, all but those of the first iterations are hidden."""
    module = _nest(trips, 3, 128, TARGET)
    TARGET.attach(module)
    scheduled = module.clone()
    ScheduleTransfers("rtl-v1").apply(Context(), scheduled)
    before, after = (counted(m, "rtl-v1") for m in (module, scheduled))
    exposed = [c.cycles - c.without_waits.cycles_by("rtl-v1") for c in (before, after)]
    assert exposed[1] < 0.4 * exposed[0]
    serialized = module.clone()
    ScheduleTransfers("serialized").apply(Context(), serialized)
    assert str(serialized) == str(module)


BEHIND = """
  loop.for %i = 0 to {tiles} {{
    %tile = loop.affine 0
    %off = loop.affine 0 + {tile} * %i
    %scale = loop.affine {scale}
    plena_isa.h_prefetch_m dst(%tile) off(%off) base(%a : !plena_isa.a<a0>) scale(%scale)
  }}
"""


def _scheduled_alike(text: str) -> tuple[ModuleOp, Room]:
    """A module with loads ahead, which leaves memories as it did, but for the tiles that nothing used; these, too."""
    module, terms = parse(text), dict[object, int]()
    spare, before = untouched(module, EffectTable(TINY)), final_state(module, TINY, terms)
    TINY.attach(module)
    ScheduleTransfers("rtl-v1").apply(Context(), module)
    module.verify()
    after = final_state(module, TINY, terms)
    for address in range(spare.start, spare.stop):
        after.pop((Memory.MATRIX, address), None)
    assert after == before
    return module, spare


@pytest.mark.parametrize(
    ("tiles", "scale", "loads_behind"), [(26, 131072, False), (27, 131072, True), (27, 0, False)]
)
def test_the_last_iteration_may_load_for_nobody(tiles: int, scale: int, loads_behind: bool) -> None:
    """That saves copies of the body, where what lies behind the tensor is something that is loaded anyway."""
    trips, loads = 8, 3
    behind = BEHIND.format(tiles=tiles, tile=TINY.tile, scale=scale)
    nest = NEST.format(
        trips=trips, tiles=loads, rows=2, tile=TINY.tile, weights=loads * TINY.tile, row=TINY.vlen
    )
    module, _ = _scheduled_alike(nest + behind)
    _, run = counted(module, "rtl-v1").statistics.opcodes["H_PREFETCH_M"]
    assert run == trips * loads + tiles + (loads if loads_behind else 0)


HALVES = """
  %a = plena_isa.register : !plena_isa.a<a0>
  %zero = plena_isa.register : !plena_isa.gp<gp0>
  loop.for %i = 0 to {trips} {{
    loop.for %h = 0 to 2 {{
      loop.for %k = 0 to {tiles} {{
        %tile = loop.affine 0 + {tile} * %k
        %off = loop.affine 0 + {next} * %i + {weights} * %h + {tile} * %k
        %scale = loop.affine 131072
        plena_isa.h_prefetch_m dst(%tile) off(%off) base(%a : !plena_isa.a<a0>) scale(%scale)
      }}
      loop.for %r = 0 to 2 {{
        loop.for %c = 0 to 4 {{
          loop.for %k = 0 to {tiles} {{
            %tile = loop.affine 0 + {tile} * %k
            %x = loop.affine 512 + {row} * %k + 64 * %r + 256 * %h
            plena_isa.m_mm mat(%tile) vec(%x)
          }}
          %y = loop.affine 1024 + 32 * %r + 4 * %c
          plena_isa.m_mm_wo dst(%y) stride(%zero : !plena_isa.gp<gp0>)
        }}
      }}
      loop.for %r = 0 to 4 {{
        %y = loop.affine 0 + 32 * %i + 8 * %r
        %part = loop.affine 1024 + 8 * %r
        plena_isa.v_add_vv dst(%y) a(%y) b(%part)
      }}
    }}
  }}
"""


@pytest.mark.parametrize("trips", [3, 4, 5])
@pytest.mark.parametrize("tiles", [1, 2, 3])
@pytest.mark.parametrize(("apart", "more"), [(False, 0), (True, 0), (False, 64)])
def test_halves_fill_two_runs_of_tiles_in_turn(trips: int, tiles: int, apart: bool, more: int) -> None:
    """Halves of a reduction are one stream of loads, unless they are few or their tiles lie `apart`.

    Where `more` tiles are loaded, those behind the tensor are as well.
    """
    size = tiles * TINY.tile
    text = HALVES.format(
        trips=trips, tiles=tiles, tile=TINY.tile, weights=size, next=(3 if apart else 2) * size, row=TINY.vlen
    )
    text += BEHIND.format(tiles=more, tile=TINY.tile, scale=131072) if more else ""
    module, spare = _scheduled_alike(text)
    uses_other_tiles = untouched(module, EffectTable(TINY)).start != spare.start
    assert uses_other_tiles or trips < 4 or apart


def test_foreign_programs_are_scheduled_too() -> None:
    module = parse(PRODUCTS.format(tile=0) + WORK)
    TARGET.attach(module)
    text = print_asm(counted(module, "serialized").instructions)
    plain, ahead = (plena.optimize(text, TARGET, timing=timing) for timing in ("transactional", "rtl-v1"))
    before, after = (program.stats().latency["rtl-v1"] for program in (plain, ahead))
    assert before is not None and after is not None and after < before
    machines = machine(TARGET), machine(TARGET)
    machines[0].run(text)
    machines[1].run(ahead.words)
    for name, expected in memories(machines[0]).items():
        assert np.array_equal(expected.view(np.uint8), memories(machines[1])[name].view(np.uint8)), name


LOADED = """
S_LD_INT gp1, gp0, 0
S_LUI_INT gp2, 16
C_SET_SCALE_REG gp2
C_LOOP_START gp3, 4
H_PREFETCH_M gp0, gp1, a0, 0, 0
M_TMM 0, gp0, gp0
S_ADDI_INT gp1, gp1, 4096
C_LOOP_END gp3
"""


@pytest.mark.parametrize("timing", TIMINGS)
def test_transfers_count_where_addresses_hang_on_data(timing: str) -> None:
    """What a run takes is not known before it, but programs for it are compared by what they take on zeros."""
    known = LOADED.replace("S_LD_INT", "S_ADDI_INT")
    programs = [Counted.of(parse_asm(text), TARGET, timing) for text in (LOADED, known)]
    assert programs[0].statistics.latency[timing] is None
    assert programs[0].cycles == programs[1].cycles > 2 * programs[0].without_waits.cycles_by(timing)


def test_a_layer_waits_less_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the whole pipeline: what the loops before the pass look like decides, and no pass behind undoes it."""
    pytest.importorskip("transformers")
    from plena.compiler import beside_work
    from tests.models.builders import layer, public

    built = layer(public("clm-60m", 1), 256)
    ahead = plena.compile(built.module, built.inputs, timing="serialized").stats()
    monkeypatch.setattr(beside_work, "_loading_ahead", lambda *_: [])
    plain = plena.compile(built.module, built.inputs, timing="serialized").stats()
    before, after = (s.latency["serialized"] or 0 for s in (plain, ahead))
    assert 0 < after < before
    assert after - ahead.cycles["serialized"] <= 0.6 * (before - plain.cycles["serialized"])
    assert ahead.static <= 1.3 * plain.static
