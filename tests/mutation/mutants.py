"""One line broken at a time: where, how, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A line of the compiler and what it becomes.

    Attributes:
        name: the idea that the line carries.
        file: path in the repository.
        line: the line, without its indentation; it must occur exactly once.
        broken: what stands there instead.
        tests: pytest arguments: the tests that belong to the idea.
    """

    name: str
    file: str
    line: str
    broken: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "register colours",
        "plena/registers/coloring.py",
        "free = next((c for c in colors if c not in taken), None)",
        "free = next(iter(colors), None)",
        ("tests/registers/test_coloring.py",),
    ),
    Mutant(
        "solvable equation",
        "plena/loops/diophantine.py",
        "if target % self.divisor[at]:",
        "if target % self.divisor[0] or target % 2:",
        ("tests/loops/test_diophantine.py",),
    ),
    Mutant(
        "dependence predicate",
        "plena/loops/dependence.py",
        "variables.append((1, 1 - b.width, a.width - 1))",
        "variables.append((1, 0, 0))",
        ("tests/loops/test_dependence.py",),
    ),
    Mutant(
        "address stride",
        "plena/loops/expansion.py",
        "clone(body, inner, Substitution({loop.index: Linear.of(start + copy, [(inner.index, factor)])}))",
        "clone(body, inner, Substitution({loop.index: Linear.of(start + copy, [(inner.index, 1)])}))",
        ("tests/loops/test_cloning.py", "tests/properties/test_affine_passes.py"),
    ),
    Mutant(
        "loop trip count",
        "plena/loops/rolling/apply.py",
        "inner = scope.loop(node.count, self._origin(node))",
        "inner = scope.loop(node.count - 1, self._origin(node))",
        ("tests/passes/test_roll_loops.py",),
    ),
    Mutant(
        "roll's stride check",
        "plena/loops/rolling/search.py",
        "steps = linear_hash(self.stream.constants[second] - self.stream.constants[first])",
        "steps = linear_hash(self.stream.constants[second] - self.stream.constants[second])",
        ("tests/loops/rolling/test_search.py", "tests/passes/test_roll_loops.py", "tests/lifting"),
    ),
    Mutant(
        "live-in of a loop",
        "plena/registers/webs.py",
        "if cell in exposed or cell is counter:",
        "if cell is counter:",
        ("tests/registers/test_webs.py", "tests/properties/test_allocate_registers.py"),
    ),
    Mutant(
        "scale register",
        "plena/passes/set_state.py",
        "return Demand(linear_of(value))",
        "return None",
        ("tests/passes/test_set_state.py",),
    ),
    Mutant(
        "mask and stride flags",
        "plena/dialects/plena_isa/spec.py",
        "return int(value == 1)",
        "return int(value != 0)",
        ("tests/dialects/test_declaration.py",),
    ),
    Mutant(
        "rounding",
        "plena/machine/scalar_codes.py",
        "rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)",
        "rounded = (bits + np.uint32(0x8000)) >> np.uint32(16)",
        ("tests/machine/test_number_formats.py",),
    ),
    Mutant(
        "accumulator clear",
        "plena/emulator/matrix_unit.py",
        "acc[:, :] = np.float32(0)",
        "acc[0, :] = np.float32(0)",
        ("tests/emulator/test_emulator.py", "tests/conformance"),
    ),
    Mutant(
        "buffer lives",
        "plena/buffers/intervals.py",
        "return self.start <= other.end and other.start <= self.end",
        "return self.start < other.end and other.start < self.start",
        ("tests/passes/test_allocate_buffers.py",),
    ),
    Mutant(
        "watchdog",
        "plena/verification/program.py",
        "if loop is not tree and length > limit:",
        "if loop is not tree and length > limit + 1:",
        ("tests/verification",),
    ),
    Mutant(
        "scale planes apart",
        "plena/buffers/segments.py",
        "return number_format.ratio if isinstance(number_format, Mx) else 0",
        "return 0",
        ("tests/hunt/test_found.py",),
    ),
    Mutant(
        "rows behind the last",
        "plena/kernels/packing.py",
        "ctx.defined_rows.add(panel.buffer)",
        "return",
        ("tests/hunt/test_found.py",),
    ),
)
