"""Random flat programs that do not abort: pointers of two kinds, moved in every way a register can be moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

ROWS, WORDS, COUNTERS = (1, 2, 3), (4, 5, 6), (8, 9, 10, 11, 7)
"""gp registers that hold row addresses, scalar memory addresses, loop counters."""

BACK_ROW, BACK_WORD, SCRATCH = 12, 13, 14
MID_ROW, MID_WORD = 16384, 500
SPILLS = {ROWS: (20, 21), WORDS: (22, 23)}
INT_FIRST, INT_LOW, INT_HIGH = 100, 480, 520
"""INT SRAM words from INT_FIRST on are preloaded with numbers in INT_LOW .. INT_HIGH."""

SETUP = f"""
S_LUI_INT gp{BACK_ROW}, 1048575
S_ADDI_INT gp{BACK_ROW}, gp{BACK_ROW}, 4088
S_SUB_INT gp{BACK_WORD}, gp0, gp15
S_ADDI_INT gp15, gp0, 1
S_SUB_INT gp{BACK_WORD}, gp{BACK_WORD}, gp15
""".strip().splitlines()


@dataclass
class Writer:
    """Draws a program line by line."""

    draw: st.DrawFn
    lines: list[str] = field(default_factory=list)
    open: list[int] = field(default_factory=list)

    def add(self, *lines: str) -> None:
        self.lines.extend(lines)

    def one(self, choices: tuple[int, ...]) -> int:
        return self.draw(st.sampled_from(choices))

    def small(self, most: int = 5) -> int:
        return self.draw(st.integers(0, most))

    def kind(self) -> tuple[int, ...]:
        return ROWS if self.draw(st.booleans()) else WORDS


def _vector(w: Writer) -> None:
    op = w.draw(st.sampled_from(("V_ADD_VV", "V_MUL_VV", "V_SUB_VV")))
    w.add(f"{op} gp{w.one(ROWS)}, gp{w.one(ROWS)}, gp{w.one(ROWS)}, {w.small(1)}")


def _vector_scalar(w: Writer) -> None:
    w.add(f"V_MUL_VF gp{w.one(ROWS)}, gp{w.one(ROWS)}, f{w.small(3)}, {w.small(1)}")


def _reduce(w: Writer) -> None:
    w.add(f"V_RED_MAX f{w.small(3)}, gp{w.one(ROWS)}, 0")


def _fp_memory(w: Writer) -> None:
    op = w.draw(st.sampled_from(("S_LD_FP f{0}", "S_ST_FP f{0}")))
    w.add(f"{op.format(1 + w.small(2))}, gp{w.one(WORDS)}, {w.small(9)}")


def _map(w: Writer) -> None:
    w.add(f"S_MAP_V_FP gp{w.one(ROWS)}, gp{w.one(WORDS)}, {w.small(9)}")


def _fp(w: Writer) -> None:
    w.add(f"S_ADD_FP f{w.small(3)}, f{w.small(3)}, f{w.small(3)}")


def _matrix(w: Writer) -> None:
    w.add(f"S_ADDI_INT gp{SCRATCH}, gp0, {32 * w.small(7)}", f"M_MM 0, gp{SCRATCH}, gp{w.one(ROWS)}")
    if w.draw(st.booleans()):
        stride = w.draw(st.sampled_from(("gp0", f"gp{SCRATCH}", "gp15")))
        w.add(
            f"S_ADDI_INT gp{SCRATCH}, gp0, {w.small(3)}",
            f"M_MM_WO gp{w.one(ROWS)}, {stride}, {4 * w.small(1)}",
        )


def _step(w: Writer) -> None:
    if w.draw(st.booleans()):
        register = w.one(ROWS)
        if w.draw(st.booleans()):
            w.add(f"S_ADDI_INT gp{register}, gp{register}, {8 * w.small()}")
        else:
            w.add(f"S_ADD_INT gp{register}, gp{register}, gp{BACK_ROW}")
    else:
        register = w.one(WORDS)
        if w.draw(st.booleans()):
            w.add(f"S_ADDI_INT gp{register}, gp{register}, {w.small(3)}")
        else:
            w.add(f"S_ADD_INT gp{register}, gp{register}, gp{BACK_WORD}")


def _copy(w: Writer) -> None:
    kind = w.kind()
    w.add(f"S_ADDI_INT gp{w.one(kind)}, gp{w.one(kind)}, 0")


def _set(w: Writer) -> None:
    if w.draw(st.booleans()):
        w.add(f"S_ADDI_INT gp{w.one(ROWS)}, gp0, {MID_ROW + 8 * w.small(40)}")
    else:
        w.add(f"S_ADDI_INT gp{w.one(WORDS)}, gp0, {MID_WORD + w.small(20)}")


def _from_counter(w: Writer) -> None:
    if not w.open:
        return
    counter = w.one(tuple(w.open))
    if w.draw(st.booleans()):
        w.add(f"S_ADDI_INT gp{w.one(WORDS)}, gp{counter}, {MID_WORD}")
    else:
        w.add(
            f"S_ADDI_INT gp{SCRATCH}, gp0, {8 * w.small()}",
            f"S_MUL_INT gp{SCRATCH}, gp{SCRATCH}, gp{counter}",
            f"S_ADDI_INT gp{w.one(ROWS)}, gp{SCRATCH}, {MID_ROW}",
        )


def _spill(w: Writer) -> None:
    kind = w.kind()
    w.add(f"S_ST_INT gp{w.one(kind)}, gp0, {w.one(SPILLS[kind])}")


def _reload(w: Writer) -> None:
    kind = w.kind()
    w.add(f"S_LD_INT gp{w.one(kind)}, gp0, {w.one(SPILLS[kind])}")


def _store_number(w: Writer) -> None:
    w.add(f"S_ST_INT gp{w.one(WORDS)}, gp{w.one(WORDS)}, {w.small(3)}")


def _load_number(w: Writer) -> None:
    w.add(f"S_LD_INT gp{w.one(WORDS)}, gp{w.one(WORDS)}, {w.small(3)}")


def _filler(w: Writer) -> None:
    nops = (
        "S_ADDI_INT gp0, gp0, 0",
        "S_MUL_FP f0, f1, f2",
        f"S_MUL_INT gp{SCRATCH}, gp{SCRATCH}, gp{SCRATCH}",
    )
    w.add(w.draw(st.sampled_from(nops)))


def _state(w: Writer) -> None:
    what = w.draw(
        st.sampled_from(("C_SET_V_MASK_REG", "C_SET_STRIDE_REG", "C_SET_SCALE_REG", "C_SET_ADDR_REG"))
    )
    if what == "C_SET_ADDR_REG":
        w.add(f"C_SET_ADDR_REG a{w.small(2)}, gp0, gp{w.one(ROWS + WORDS)}")
    else:
        w.add(f"S_ADDI_INT gp{SCRATCH}, gp0, {w.small()}", f"{what} gp{SCRATCH}")


def _transfer(w: Writer) -> None:
    op = w.draw(st.sampled_from(("H_PREFETCH_V", "H_STORE_V")))
    w.add(f"{op} gp{w.one(ROWS)}, gp{w.one(WORDS)}, a{w.small(2)}, {w.small(1)}, {w.small(1)}")


ITEMS: dict[Callable[[Writer], None], int] = {
    _vector: 4,
    _vector_scalar: 1,
    _reduce: 1,
    _fp_memory: 3,
    _map: 1,
    _fp: 1,
    _matrix: 1,
    _step: 6,
    _copy: 2,
    _set: 2,
    _from_counter: 2,
    _spill: 1,
    _reload: 1,
    _store_number: 1,
    _load_number: 1,
    _filler: 1,
    _state: 2,
    _transfer: 1,
}
CHOICES = [item for item, weight in ITEMS.items() for _ in range(weight)]


def _block(w: Writer, depth: int, most: int) -> None:
    for _ in range(w.draw(st.integers(1, most))):
        if depth and w.draw(st.integers(0, 2)) == 0:
            counter = COUNTERS[len(w.open)]
            w.add(f"C_LOOP_START gp{counter}, {w.draw(st.integers(1, 4))}")
            w.open.append(counter)
            _block(w, depth - 1, most)
            w.open.pop()
            w.add(f"C_LOOP_END gp{counter}")
        else:
            w.draw(st.sampled_from(CHOICES))(w)


@st.composite
def flat_programs(draw: st.DrawFn, depth: int = 3, most: int = 6) -> str:
    """Assembly text of a program that runs on SMALL with INT SRAM preloaded as above."""
    w = Writer(draw, list(SETUP))
    for register in ROWS:
        w.add(f"S_ADDI_INT gp{register}, gp0, {MID_ROW + 8 * w.small(20)}")
    for register in WORDS:
        w.add(f"S_ADDI_INT gp{register}, gp0, {MID_WORD + w.small(20)}")
    for kind, slots in SPILLS.items():
        for slot in slots:
            w.add(f"S_ST_INT gp{draw(st.sampled_from(kind))}, gp0, {slot}")
    _block(w, depth, most)
    return "\n".join(w.lines) + "\n"
