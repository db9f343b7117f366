"""Random nests of the affine form with the address patterns of kernels: shared classes, run-time symbols, resets."""

from __future__ import annotations

from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.instructions.instruction_builder import InstructionBuilder
from plena.machine.target import Target


class Program:
    """A module with its text as repr."""

    def __init__(self, module: ModuleOp) -> None:
        self.module = module

    def __repr__(self) -> str:
        return str(self.module)


KINDS = (
    "M_MM", "M_MM", "M_MM", "M_MM_WO", "M_MM_WO", "V_ADD_VV", "V_EXP_V", "S_LD_FP", "S_ST_FP",
    "S_MAP_V_FP", "M_BMM_WO", "S_LD_INT", "S_ST_INT", "C_SET_STRIDE_REG", "V_SHFT_V", "S_ADD_FP", "V_RED_MAX",
)  # fmt: skip

STEPS = (4, 64, 256, 4096, 24576, 1 << 18, 300_000)
BASES = (0, 64, 4096, 24576, 90112, 200_000, 262_143, 262_144, 1 << 20, (1 << 27) + 68)


@st.composite
def programs(
    draw: st.DrawFn, depth: int = 3, most: int = 14, symbols: bool = True, kinds: tuple[str, ...] = KINDS
) -> Program:
    """A random nest up to `depth` loops deep with at most `most` instructions."""
    builder = InstructionBuilder(Target())
    fs = [builder.f0, *(builder.f_cell() for _ in range(draw(st.integers(2, 12))))]
    left = [most]
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=3))
    bases = draw(st.lists(st.sampled_from(BASES), min_size=1, max_size=4))

    def address(values: list[Linear]) -> Linear:
        total = Linear(draw(st.sampled_from(bases)) + 256 * draw(st.integers(0, 3)))
        for value in values[-3:]:
            if draw(st.integers(0, 2)):
                total = total + value * draw(st.sampled_from(steps))
        if draw(st.integers(0, 9)) == 0 and values:
            total = total + 1_000_000 - values[-1] * draw(st.sampled_from(steps))
        return total

    def emit(values: list[Linear]) -> None:
        kind = draw(st.sampled_from(kinds))
        if kind in ("S_LD_INT", "S_ST_INT") and not symbols:
            kind = "M_MM"
        small = Linear(draw(st.integers(0, 100)))
        for value in values:
            if draw(st.booleans()) and not is_symbol(value):
                small = small + value * draw(st.integers(1, 4))
        match kind:
            case "M_MM":
                builder.emit(kind, mat=address(values), vec=address(values))
            case "M_MM_WO":
                stride: SSAValue | int = (
                    draw(st.sampled_from((0, 1, 2, 22))) if draw(st.integers(0, 3)) == 0 else -1
                )
                builder.emit(kind, dst=address(values), stride=builder.gp0 if stride == -1 else stride)
            case "V_ADD_VV":
                builder.emit(kind, dst=address(values), a=address(values), b=address(values))
            case "V_EXP_V":
                builder.emit(kind, dst=address(values), a=address(values))
            case "V_SHFT_V":
                builder.emit(kind, dst=address(values), a=address(values), amount=small)
            case "S_LD_FP":
                builder.emit(kind, dst=draw(st.sampled_from(fs[1:])), base=small)
            case "S_ST_FP":
                builder.emit(kind, src=draw(st.sampled_from(fs)), base=small)
            case "S_ADD_FP":
                a, b, dst = (draw(st.sampled_from(fs)) for _ in range(3))
                builder.emit(kind, dst=dst, a=a, b=b)
            case "V_RED_MAX":
                builder.emit(kind, acc=draw(st.sampled_from(fs)), a=address(values))
            case "S_MAP_V_FP":
                builder.emit(kind, dst=address(values), base=small)
            case "M_BMM_WO":
                builder.emit(kind, dst=address(values))
            case "C_SET_STRIDE_REG":
                builder.emit(kind, src=address(values))
            case "S_ST_INT":
                builder.emit(kind, src=address(values), base=small)
            case _:
                op = builder.emit(kind, base=small)
                values.append(Linear.index(op.results[0]))

    def item(values: list[Linear], depth: int) -> None:
        if left[0] <= 0:
            return
        if depth and draw(st.booleans()):
            with builder.loop(draw(st.integers(2, 4))) as index:
                inner = [*values, index]
                for _ in range(draw(st.integers(1, 4))):
                    item(inner, depth - 1)
            return
        left[0] -= 1
        emit(values)

    values: list[Linear] = []
    for _ in range(draw(st.integers(1, 4))):
        item(values, depth)
    return Program(builder.finish())


def is_symbol(value: Linear) -> bool:
    """Whether a value is a number loaded at run time."""
    from xdsl.ir import Operation

    return any(isinstance(v.owner, Operation) for v, _ in value.terms)
