"""`allocate-registers`: register cells become machine registers; what does not fit is rebuilt or spilled."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from plena.dialects.plena_isa import ARegister, FRegister, GPRegister, Instruction, PlenaRegister, RegisterOp
from plena.errors import CompileError
from plena.machine.constants import F_REGISTERS, GP_REGISTERS
from plena.registers.coloring import Coloring, color
from plena.registers.live_cells import Interference, bits, interference_of
from plena.registers.spilling import Spiller
from plena.registers.webs import split_webs


@dataclass(frozen=True)
class AllocateRegisters(ModulePass):
    """Gives every virtual cell a machine register: gp1 .. gp<gp>, f1 .. f<f>, a0 .. a7; never gp0 or f0.

    Cells that do not fit are rebuilt before each use when they hold a constant, else kept in INT SRAM or FP SRAM, in
    words that belong to the compiler. Loop counters are never spilled.

    Before::

        builtin.module {
          %z = plena_isa.register : !plena_isa.gp<gp0>
          %p = plena_isa.register : !plena_isa.gp
          %c = plena_isa.register : !plena_isa.gp
          plena_isa.s_addi_int dst(%p : !plena_isa.gp) a(%z : !plena_isa.gp<gp0>) imm = 64
          loop.for %i = 0 to 4 counter(%c : !plena_isa.gp) {
            plena_isa.v_exp_v dst(%p : !plena_isa.gp) a(%p : !plena_isa.gp)
            plena_isa.s_addi_int dst(%p : !plena_isa.gp) a(%p : !plena_isa.gp) imm = 64
          }
        }

    After::

        builtin.module {
          %z = plena_isa.register : !plena_isa.gp<gp0>
          %p = plena_isa.register : !plena_isa.gp<gp2>
          %c = plena_isa.register : !plena_isa.gp<gp1>
          plena_isa.s_addi_int dst(%p : !plena_isa.gp<gp2>) a(%z : !plena_isa.gp<gp0>) imm = 64
          loop.for %i = 0 to 4 counter(%c : !plena_isa.gp<gp1>) {
            plena_isa.v_exp_v dst(%p : !plena_isa.gp<gp2>) a(%p : !plena_isa.gp<gp2>)
            plena_isa.s_addi_int dst(%p : !plena_isa.gp<gp2>) a(%p : !plena_isa.gp<gp2>) imm = 64
          }
        }
    """

    name = "allocate-registers"
    gp: int = GP_REGISTERS - 1
    f: int = F_REGISTERS - 1

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for name, count, most in (("gp", self.gp, 15), ("f", self.f, 7)):
            if not 1 <= count <= most:
                raise CompileError(f"{name} must be 1 to {most} registers, got {count}", self.name)
        for inner in op.walk():
            if isinstance(inner, Instruction) and not all(
                isinstance(value.type, PlenaRegister) for value in inner.operands
            ):
                raise CompileError(
                    f"{inner.SPEC.mnemonic} has an address expression, not a register",
                    self.name,
                    "Run set-state,materialize-addresses before it.",
                )
        graph = interference_of(op.body.block)
        for kind, first, count in ((GPRegister, 1, self.gp), (FRegister, 1, self.f), (ARegister, 0, 8)):
            allocation = _Allocation(op, kind, [kind.from_index(first + i) for i in range(count)])
            graph = allocation.run(graph)


@dataclass
class _Allocation:
    """One register file."""

    module: ModuleOp
    kind: type[PlenaRegister]
    registers: list[PlenaRegister]
    temporary: set[SSAValue] = field(default_factory=set[SSAValue])
    """Cells made by spilling: they live for one instruction and cannot be spilled again."""

    def run(self, graph: Interference) -> Interference:
        """Colours, spilling until everything has a register; returns the graph of what became of the program."""
        spiller = Spiller(self.module, self.kind)
        is_split = False
        while (coloring := self._color(graph)).uncolored:
            if is_split:
                self.temporary |= spiller.spill(self._victims(graph, coloring.uncolored))
            else:
                split_webs(self.module, self.kind)
                is_split = True
            graph = interference_of(self.module.body.block)
        cells = graph.table.cells
        self._apply({cells[n]: self.registers[c] for n, c in coloring.colors.items()})
        return graph

    def _victims(self, graph: Interference, uncolored: list[int]) -> list[SSAValue]:
        """The cells to spill: those without a register that may be, else what stands in the way of the first.

        Raises:
            CompileError: nothing that could be spilled stands in the way.
        """
        cells = graph.table.cells
        count = len(self.registers)
        if self.kind is ARegister:
            raise CompileError(
                f"more than {count} HBM base addresses are needed at the same time",
                "allocate-registers",
                "use fewer tensors' bases at once: offsets reach 4 GiB from a base",
            )
        victims = [cells[n] for n in uncolored if self._may_spill(graph, n)]
        if victims:
            return victims
        blocking = [n for n in bits(graph.neighbours.get(uncolored[0], 0)) if self._may_spill(graph, n)]
        if not blocking:
            name = self.kind.name.removeprefix("plena_isa.")
            raise CompileError(
                f"{count} {name} registers are too few for the loops open at once and one instruction's operands",
                "allocate-registers",
                "every open loop counts in a register of its own: expand or merge loops, or give more registers",
            )
        return [cells[min(blocking, key=lambda n: graph.weight.get(n, 0.0))]]

    def _may_spill(self, graph: Interference, number: int) -> bool:
        cell = graph.table.cells[number]
        register = cell.type
        return (
            isinstance(register, self.kind)
            and not register.is_allocated
            and number not in graph.counters
            and cell not in self.temporary
        )

    def _color(self, graph: Interference) -> Coloring:
        nodes: list[int] = []
        fixed: dict[int, int] = {}
        for number, cell in enumerate(graph.table.cells):
            register = cell.type
            if not isinstance(register, self.kind):
                continue
            if not register.is_allocated:
                nodes.append(number)
            elif register in self.registers:
                fixed[number] = self.registers.index(register)
        cost = dict(graph.weight)
        for number in nodes:
            if not self._may_spill(graph, number):
                cost[number] = float("inf")
        return color(nodes, graph.neighbours, fixed, range(len(self.registers)), cost)

    def _apply(self, registers: dict[SSAValue, PlenaRegister]) -> None:
        for op in list(self.module.body.block.ops):
            if isinstance(op, RegisterOp):
                register = registers.get(op.cell)
                if register is None and isinstance(op.cell.type, self.kind) and not op.cell.uses:
                    if not op.cell.type.is_allocated:
                        op.detach()
                        op.erase()
                elif register is not None:
                    _set_type(op, register)


def _set_type(op: RegisterOp, register: PlenaRegister) -> None:
    """Declares the cell to be a machine register."""
    replacement = RegisterOp(register)
    replacement.attributes.update(op.attributes)
    block = op.parent_block()
    assert block is not None
    block.insert_op_before(replacement, op)
    op.cell.replace_all_uses_with(replacement.cell)
    replacement.cell.name_hint = op.cell.name_hint
    op.detach()
    op.erase()
