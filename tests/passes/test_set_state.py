"""set-state: the state every instruction sees stays the same, and it is set as rarely as the loops allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import IndexType, ModuleOp
from xdsl.ir import Block, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa import Instruction, instructions_in
from plena.errors import CompileError
from plena.instructions.instruction_builder import InstructionBuilder
from plena.machine.target import Target
from plena.passes.set_state import SetState


class StateTrace:
    """Executes a program and tells with which state every instruction runs, sticky operands or registers."""

    RESET = {"scale": 0, "stride": 1, "v_mask": 0}

    def __init__(self) -> None:
        self.state = dict(self.RESET)
        self.bases: dict[str, int] = {}

    def run(self, block: Block, values: dict[SSAValue, int]) -> Iterator[tuple[object, ...]]:
        for op in block.ops:
            if isinstance(op, AffineOp):
                values[op.results[0]] = op.expression.evaluate(values)
            elif isinstance(op, ForOp):
                for i in range(op.trips):
                    yield from self.run(op.body.block, {**values, op.index: i})
            elif isinstance(op, Instruction):
                yield from self.step(op, values)

    def step(self, op: Instruction, values: dict[SSAValue, int]) -> Iterator[tuple[object, ...]]:
        given = {slot.name: value for slot, value in op.named_operands()}
        match op.SPEC.mnemonic:
            case "C_SET_ADDR_REG":
                self.bases[str(given["dst"].type)] = values[given["hi"]] << 32 | values[given["lo"]]
                return
            case "C_SET_SCALE_REG" | "C_SET_STRIDE_REG" | "C_SET_V_MASK_REG" as setter:
                name = setter.removeprefix("C_SET_").removesuffix("_REG").lower()
                self.state[name] = values[given["src"]]
                return
            case mnemonic:
                pass
        seen = {name: values[given[name]] if name in given else self.state[name] for name in op.SPEC.sticky}
        if "stride" in seen and op.number("rstride") != 1:
            del seen["stride"]
        if "v_mask" in seen and not op.number("mask"):
            del seen["v_mask"]
        if "base" in given:
            base = given["base"]
            seen["base"] = (
                values[base] if isinstance(base.type, IndexType) else self.bases.get(str(base.type), 0)
            )
        yield (mnemonic, *sorted(seen.items()))


def seen(module: ModuleOp) -> list[tuple[object, ...]]:
    return list(StateTrace().run(module.body.block, {}))


def settings_of(module: ModuleOp) -> Counter[str]:
    return Counter(o.SPEC.mnemonic for o in instructions_in(module) if o.SPEC.mnemonic.startswith("C_SET"))


def dynamic_settings(block: Block, times: int = 1) -> int:
    total = 0
    for op in block.ops:
        if isinstance(op, ForOp):
            total += dynamic_settings(op.body.block, times * op.trips)
        elif isinstance(op, Instruction) and op.SPEC.mnemonic.startswith("C_SET"):
            total += times
    return total


@st.composite
def programs(draw: st.DrawFn) -> ModuleOp:
    builder = InstructionBuilder(Target())
    numbers = draw(st.lists(st.sampled_from((0, 1, 64, 128, 1 << 20)), min_size=1, max_size=3))
    bases = draw(st.lists(st.sampled_from((0, 64, 4096, (1 << 33) + 128)), min_size=1, max_size=4))

    def number(choices: list[int], indices: list[Linear]) -> Linear:
        total = Linear(draw(st.sampled_from(choices)))
        if indices and draw(st.integers(0, 5)) == 0:
            total = total + draw(st.sampled_from(indices)) * 64
        return total

    def item(indices: list[Linear], depth: int) -> None:
        if depth and draw(st.booleans()):
            with builder.loop(draw(st.integers(2, 3))) as index:
                for _ in range(draw(st.integers(1, 3))):
                    item([*indices, index], depth - 1)
        elif draw(st.booleans()):
            builder.emit(
                "H_PREFETCH_V",
                dst=0,
                off=0,
                base=number(bases, indices),
                scale=number(numbers, indices),
                stride=number(numbers, indices),
                rstride=draw(st.integers(0, 1)),
            )
        else:
            builder.emit("V_EXP_V", dst=0, a=0, mask=draw(st.integers(0, 1)), v_mask=number(numbers, indices))

    for _ in range(draw(st.integers(1, 4))):
        item([], 3)
    return builder.finish()


@given(programs())
def test_every_instruction_sees_its_state(module: ModuleOp) -> None:
    before = seen(module)
    SetState().apply(Context(), module)
    module.verify()
    assert seen(module) == before
    assert all(op.operand_named(n) is None for op in instructions_in(module) for n in op.SPEC.sticky)
    text = str(module)
    SetState().apply(Context(), module)
    assert str(module) == text


def transfers(builder: InstructionBuilder, *states: tuple[int, int, int]) -> None:
    for base, scale, stride in states:
        builder.emit("H_PREFETCH_M", dst=0, off=0, base=base, scale=scale, stride=stride, rstride=1)


def applied(builder: InstructionBuilder) -> ModuleOp:
    module = builder.finish()
    SetState().apply(Context(), module)
    return module


def test_one_state_is_set_once_before_all_loops() -> None:
    builder = InstructionBuilder(Target())
    with builder.loop(4), builder.loop(5), builder.loop(6):
        transfers(builder, (4096, 1 << 20, 64))
    module = applied(builder)
    assert settings_of(module) == {"C_SET_SCALE_REG": 1, "C_SET_STRIDE_REG": 1, "C_SET_ADDR_REG": 1}
    assert dynamic_settings(module.body.block) == 3


def test_reset_values_are_known() -> None:
    builder = InstructionBuilder(Target())
    with builder.loop(4):
        transfers(builder, (0, 0, 1))
    assert not settings_of(applied(builder))


def test_two_states_in_turn() -> None:
    builder = InstructionBuilder(Target())
    with builder.loop(8):
        transfers(builder, (0, 4096, 64), (0, 4096, 128), (0, 4096, 128), (0, 4096, 64))
    module = applied(builder)
    assert settings_of(module) == {"C_SET_SCALE_REG": 1, "C_SET_STRIDE_REG": 3}
    assert dynamic_settings(module.body.block) == 1 + 1 + 2 * 8


def test_a_value_that_follows_an_outer_loop_is_set_outside_the_inner_ones() -> None:
    builder = InstructionBuilder(Target())
    with builder.loop(3) as layer, builder.loop(5):
        builder.emit("H_PREFETCH_M", dst=0, off=0, base=layer * 65536, scale=0)
    module = applied(builder)
    assert dynamic_settings(module.body.block) == 3


def test_seven_bases_get_registers_of_their_own() -> None:
    builder = InstructionBuilder(Target())
    with builder.loop(9):
        transfers(builder, *((4096 * n, 0, 1) for n in range(8)))
    module = applied(builder)
    assert settings_of(module) == {"C_SET_ADDR_REG": 7}
    assert dynamic_settings(module.body.block) == 7


def test_more_bases_share_what_is_used_least() -> None:
    builder = InstructionBuilder(Target())
    with builder.loop(9):
        transfers(builder, *((4096 * n, 0, 1) for n in range(1, 9)))
    before = seen(builder.finish())
    builder = InstructionBuilder(Target())
    with builder.loop(9):
        transfers(builder, *((4096 * n, 0, 1) for n in range(1, 9)))
    module = applied(builder)
    assert seen(module) == before
    assert dynamic_settings(module.body.block) == 6 + 2 * 9


def test_bases_of_different_parts_reuse_registers() -> None:
    builder = InstructionBuilder(Target())
    for part in range(4):
        with builder.loop(9):
            transfers(builder, *(((part * 8 + n + 1) * 4096, 0, 1) for n in range(5)))
    assert dynamic_settings(applied(builder).body.block) == 20


def test_a_base_must_not_cross_a_segment() -> None:
    builder = InstructionBuilder(Target())
    with builder.loop(3) as i:
        builder.emit("H_PREFETCH_M", dst=0, off=0, base=Linear((1 << 32) - 64) + i * 64, scale=0)
    with pytest.raises(CompileError, match=r"runs over a multiple of 2\^32"):
        applied(builder)
