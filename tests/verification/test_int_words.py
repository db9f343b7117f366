"""Numbers that programs keep in INT SRAM: the static check says of them what a run shows."""

from __future__ import annotations

import random

import pytest

from plena.machine.target import Target
from plena.verification import verify

TARGET = Target()
WORDS = 1024
MASK = (1 << 32) - 1

ADVANCING = """
S_ADDI_INT gp1, gp0, 10
S_ADDI_INT gp3, gp0, 64
C_LOOP_START gp2, 4
S_ST_INT gp3, gp1, 0
S_ADDI_INT gp1, gp1, {step}
S_ADDI_INT gp3, gp3, 64
C_LOOP_END gp2
S_LD_INT gp4, gp0, {word}
V_EXP_V gp4, gp4, 0
"""
"""Words 10, 10 + step, ... hold 64, 128, 192, 256."""


@pytest.mark.parametrize("step", [1, 3])
def test_a_word_stored_at_an_advancing_address_is_known(step: int) -> None:
    for position in range(4):
        found = verify(ADVANCING.format(step=step, word=10 + position * step), TARGET)
        assert [(f.code, f.message) for f in found] == [
            ("unwritten-vector", f"it reads vector row {position + 1}, which nothing has written")
        ]


def test_a_word_beside_them_is_not_written() -> None:
    found = verify(ADVANCING.format(step=3, word=11), TARGET)
    assert "unwritten-int" in [f.code for f in found] and not any(f.is_error for f in found)


def test_one_wrong_word_among_right_ones_is_an_error() -> None:
    text = ADVANCING.format(step=1, word=12).replace("gp3, gp0, 64", "gp3, gp0, 65")
    (error,) = [f for f in verify(text, TARGET) if f.is_error]
    assert (error.code, error.line, error.message) == ("unaligned-vram", 10, "193 is not allowed")


# --- random programs, against a run of their own integers -----------------------------------------------


def program(chance: random.Random) -> list[str]:
    """Loops that store at moving addresses, then loads, then a row at a loaded address."""
    lines = [f"S_ADDI_INT gp1, gp0, {chance.randrange(5, 40)}", "S_ADDI_INT gp9, gp0, 1"]
    lines.append(f"S_ADDI_INT gp3, gp0, {64 * chance.randrange(1, 9) + (chance.random() < 0.3)}")

    def body(depth: int) -> None:
        for _ in range(chance.randrange(1, 4)):
            kind = chance.random()
            if kind < 0.4:
                lines.append(f"S_ST_INT gp3, gp1, {chance.randrange(4)}")
            elif kind < 0.6:
                lines.append(f"S_ADDI_INT gp1, gp1, {chance.randrange(1, 4)}")
            elif kind < 0.65:
                lines.append("S_SUB_INT gp1, gp1, gp9")
            elif kind < 0.75:
                lines.append(f"S_ADDI_INT gp3, gp3, {64 + (chance.random() < 0.3)}")
            elif kind < 0.82:
                lines.append(f"S_ST_INT gp3, gp{10 + depth}, 20")
            elif kind < 0.9:
                lines.append(f"S_LD_INT gp4, gp1, {chance.randrange(3)}")
            elif depth < 2:
                loop(depth + 1)

    def loop(depth: int) -> None:
        lines.append(f"C_LOOP_START gp{10 + depth}, {chance.randrange(1, 6)}")
        body(depth)
        lines.append(f"C_LOOP_END gp{10 + depth}")

    for _ in range(chance.randrange(1, 3)):
        loop(0)
        if chance.random() < 0.5:
            lines.append(f"S_ADDI_INT gp1, gp0, {chance.randrange(5, 40)}")
    for _ in range(chance.randrange(1, 4)):
        base, offset = chance.choice((("gp0", chance.randrange(5, 60)), ("gp1", 0)))
        lines.append(f"S_LD_INT gp5, {base}, {offset}")
    lines.append("V_EXP_V gp5, gp5, 0")
    return lines


def outcome(lines: list[str]) -> tuple[set[int], tuple[int, str] | None]:
    """Positions of loads that read what nothing wrote, and the abort, if any."""
    gp, memory, loops, unwritten, pc = [0] * 16, dict[int, int](), list[int](), set[int](), 0
    while pc < len(lines):
        mnemonic, _, rest = lines[pc].partition(" ")
        a, b, c = ([int(x.strip().removeprefix("gp")) for x in rest.split(",")] + [0, 0])[:3]
        address = (gp[b] + c) & MASK
        if mnemonic in ("S_ST_INT", "S_LD_INT") and address >= WORDS:
            return unwritten, (pc, "int-sram-range")
        match mnemonic:
            case "S_ADDI_INT":
                gp[a] = address
            case "S_SUB_INT":
                gp[a] = (gp[b] - gp[c]) & MASK
            case "S_ST_INT":
                memory[address] = gp[a]
            case "S_LD_INT":
                if address not in memory:
                    unwritten.add(pc)
                gp[a] = memory.get(address, 0)
            case "C_LOOP_START":
                gp[a] = b
                loops.append(pc)
            case "C_LOOP_END" if gp[a] > 1:
                gp[a] -= 1
                pc = loops[-1]
            case "C_LOOP_END":
                gp[a] = 0
                loops.pop()
            case _:
                if gp[a] % 64:
                    return unwritten, (pc, "unaligned-vram")
        pc += 1
    return unwritten, None


def test_random_programs() -> None:
    aborted = read_unwritten = 0
    for seed in range(400):
        lines = program(random.Random(seed))
        unwritten, abort = outcome(lines)
        found = verify("\n".join(lines), TARGET)
        errors = {(f.index, f.code) for f in found if f.is_error}
        assert errors == ({abort} if abort else set()), (seed, lines)
        if abort is None:
            reported = {f.index for f in found if f.code == "unwritten-int"}
            assert reported <= unwritten, (seed, lines)
            read_unwritten += len(reported)
        aborted += abort is not None
    assert aborted > 5 and read_unwritten > 50
