"""allocate-buffers: space is shared where lives do not meet, never otherwise, and what does not fit is explained."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import IntAttr, ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.loop import ForOp
from plena.dialects.tile import BufferOp, ConstantOp, ShiftOp, TileOp, ZeroOp, root_of
from plena.driver import run_pipeline
from plena.errors import CompileError
from plena.machine.target import Target
from plena.passes.allocate_buffers import capacity
from plena.passes.convert_tile_to_isa import SCALE_PLANE
from tests.harness_tile import SMALL, parse
from tests.properties.strategies_isa import Text


def allocated(text: str, target: Target = SMALL) -> dict[str, BufferOp]:
    """The buffers of a module after the pass, by name."""
    module = parse(text, target)
    run_pipeline(module, ("allocate-buffers",))
    module.verify()
    return {op.symbol.data: op for op in module.body.block.ops if isinstance(op, BufferOp)}


def span(op: BufferOp) -> tuple[int, int]:
    assert op.address is not None
    return op.address.data, op.address.data + op.size.data


def share(a: BufferOp, b: BufferOp) -> bool:
    (low, end), (start, high) = span(a), span(b)
    return a.space == b.space and low < high and start < end


def zeros(*names: str) -> str:
    return "\n".join(f"tile.zero dst(%{name} : vector) rows = 1" for name in names)


DECLARATIONS = "\n".join(f"%{name} = tile.buffer @{name} [64] : !tile.buffer<vector>" for name in "abc")


def test_lives_that_do_not_meet_share_space() -> None:
    buffers = allocated(f"{DECLARATIONS}\n{zeros('a', 'b', 'a', 'c')}")
    assert not share(buffers["a"], buffers["b"])
    assert share(buffers["c"], buffers["a"]) or share(buffers["c"], buffers["b"])


def test_what_a_loop_uses_lives_through_it() -> None:
    """b is first used behind a in the loop's body, but in the next iteration a's number is still needed."""
    buffers = allocated(f"""{DECLARATIONS}
    {zeros("a")}
    loop.for %i = 0 to 3 {{
      tile.shift out(%c : vector) x(%a : vector) rows = 1 blocks = 1
      {zeros("b")}
    }}""")
    assert not share(buffers["a"], buffers["b"])
    assert share(buffers["b"], buffers["c"])


@pytest.mark.parametrize(("kind", "meets"), [("input", "before"), ("output", "after")])
def test_tensors_of_the_host_live_from_the_start_or_to_the_end(kind: str, meets: str) -> None:
    placement = f"""#tile.placement<"t" of {kind} 0 as column_blocks [4, 16] bf16>"""
    buffers = allocated(f"""
    %t = tile.buffer @t [64] : !tile.buffer<vector> placements [{placement}]
    %before = tile.buffer @before [64] : !tile.buffer<vector>
    %after = tile.buffer @after [64] : !tile.buffer<vector>
    {zeros("before", "t", "after")}""")
    assert not share(buffers["t"], buffers[meets])
    assert max(span(op)[1] for op in buffers.values()) == 128


def test_equal_constants_share_words_before_the_buffers() -> None:
    module = parse(
        """
    %a = tile.constant [1.0, 2.0]
    %b = tile.constant [3.0]
    %c = tile.constant [1.0, 2.0]
    %f = tile.buffer @f [5] : !tile.buffer<fp>""",
        SMALL,
    )
    run_pipeline(module, ("allocate-buffers",))
    found = [op.address for op in module.walk() if isinstance(op, ConstantOp)]
    assert [a.data for a in found if a is not None] == [0, 2, 0]
    assert all(op.address == IntAttr(3) for op in module.walk() if isinstance(op, BufferOp))


def test_addresses_are_aligned() -> None:
    buffers = allocated("""
    %m = tile.buffer @m [300] : !tile.buffer<matrix>
    %n = tile.buffer @n [300] : !tile.buffer<matrix>
    %v = tile.buffer @v [17] : !tile.buffer<vector>
    %w = tile.buffer @w [17] : !tile.buffer<vector>
    %h = tile.buffer @h [70] : !tile.buffer<hbm>
    %p = tile.buffer @p [70] : !tile.buffer<hbm>""")
    for op in buffers.values():
        start, _ = span(op)
        assert start % {"matrix": SMALL.tile, "vector": SMALL.vlen, "hbm": 64}[op.space] == 0


def test_scales_follow_the_elements() -> None:
    module = parse("%h = tile.buffer @h [5000] : !tile.buffer<hbm>", SMALL)
    run_pipeline(module, ("allocate-buffers",))
    plane = module.attributes[SCALE_PLANE]
    assert isinstance(plane, IntAttr) and plane.data >= 5000 and plane.data % SMALL.tile == 0


@pytest.mark.parametrize("space", ["hbm", "matrix", "vector", "fp", "int"])
def test_what_does_not_fit_is_explained(space: str) -> None:
    """Which memory, needed, available, and the largest buffers."""
    available = capacity(space, SMALL)
    text = f"""
    %small = tile.buffer @small [{SMALL.tile}] : !tile.buffer<{space}>
    %large = tile.buffer @large [{available}] : !tile.buffer<{space}>
    %c = loop.affine 0"""
    # Buffers that nothing uses do not meet: what keeps both alive at once is a use of one between uses of the other.
    uses = {"vector": zeros("small", "large", "small")}.get(space)
    if uses is None:
        uses = "\n".join(
            f"tile.{name}"
            for name in {
                "hbm": [LOAD.format("small"), LOAD.format("large"), LOAD.format("small")],
                "matrix": [TILES.format("small"), TILES.format("large"), TILES.format("small")],
                "fp": [WORDS.format("small"), WORDS.format("large"), WORDS.format("small")],
                "int": [GATHER.format("small"), GATHER.format("large"), GATHER.format("small")],
            }[space]
        )
    with pytest.raises(CompileError) as error:
        allocated(f"{text}\n{OTHERS}\n{uses}")
    message = str(error.value)
    assert f"{space} memory" in message and f"{available:,} available" in message
    assert message.index("large (") < message.index("small (")


OTHERS = """
%v = tile.buffer @v [64] : !tile.buffer<vector>
%h = tile.buffer @h [64] : !tile.buffer<hbm>"""
LOAD = "load_rows dst(%v : vector) src(%{} : hbm) rows = 1 blocks = 1 src_row = 16"
TILES = "load_tiles dst(%{} : matrix) src(%h : hbm) outer = 1 inner = 1"
WORDS = 'map_scalars kind = "copy" out(%{0} : fp) a(%{0} : fp) count = 1'
GATHER = "gather_rows dst(%v : vector) table(%h : hbm) offsets(%{} : int) rows = 1 blocks = 1"


def test_too_many_constants_are_explained() -> None:
    values = ", ".join(f"{n}.0" for n in range(1025))
    with pytest.raises(CompileError, match="constants need 1025 words of FP SRAM, which has 1024"):
        allocated(f"%c = tile.constant [{values}]")


@st.composite
def programs(draw: st.DrawFn) -> Text:
    """Buffers of several sizes, defined before they are read; what only a loop's body uses is defined in it."""
    module = ModuleOp([])
    sizes = draw(st.lists(st.integers(1, 5), min_size=2, max_size=8))
    declared = [BufferOp(f"b{i}", "vector", size * SMALL.vlen) for i, size in enumerate(sizes)]
    module.body.block.add_ops(declared)
    values: list[SSAValue] = [op.buffer for op in declared]

    def fill(block: Block, known: set[SSAValue], depth: int) -> None:
        terminator = block.last_op if depth else None

        def add(op: Operation) -> None:
            if terminator is None:
                block.add_op(op)
            else:
                block.insert_op_before(op, terminator)

        for _ in range(draw(st.integers(1, 6))):
            choice = draw(st.integers(0, 3 if depth < 2 else 2))
            if choice == 3:
                loop = ForOp(draw(st.integers(1, 3)))
                add(loop)
                inner = set(known)
                fill(loop.body.block, inner, depth + 1)
                known |= inner
            elif choice == 0 or not known:
                dst = draw(st.sampled_from(values))
                add(ZeroOp(dst=dst, rows=1))
                known.add(dst)
            else:
                source = draw(st.sampled_from(sorted(known, key=values.index)))
                dst = draw(st.sampled_from(values))
                add(ShiftOp(out=dst, x=source, rows=1, blocks=1, x_block=0, out_block=0, lanes=0))
                known.add(dst)

    fill(module.body.block, set(), 0)
    return Text(module)


@given(programs())
def test_no_number_is_overwritten_before_it_is_read(program: Text) -> None:
    """Runs the program, each address remembering whose number it holds."""
    module = program.module.clone()
    SMALL.attach(module)
    run_pipeline(module, ("allocate-buffers",))
    owner: dict[int, BufferOp] = {}

    def buffer_of(value: SSAValue) -> BufferOp:
        root, _ = root_of(value)
        assert isinstance(root, BufferOp)
        return root

    def run(block: Block) -> None:
        for op in block.ops:
            if isinstance(op, ForOp):
                for _ in range(op.trips):
                    run(op.body.block)
            elif isinstance(op, TileOp):
                for name, value in op.buffers():
                    if name not in op.WRITES:
                        buffer = buffer_of(value)
                        assert all(owner[a] is buffer for a in range(*span(buffer))), buffer.symbol.data
                for name, value in op.buffers():
                    if name in op.WRITES:
                        owner.update(dict.fromkeys(range(*span(buffer_of(value))), buffer_of(value)))

    run(module.body.block)


@given(programs())
def test_the_sum_of_all_buffers_is_always_enough(program: Text) -> None:
    module = program.module.clone()
    SMALL.attach(module)
    run_pipeline(module, ("allocate-buffers",))
    buffers = [op for op in module.body.block.ops if isinstance(op, BufferOp)]
    assert max(span(op)[1] for op in buffers) <= sum(op.size.data for op in buffers)
    assert all(span(a)[0] % SMALL.vlen == 0 for a, _ in combinations(buffers, 2))
