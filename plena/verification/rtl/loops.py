"""Rules about loops."""

from __future__ import annotations

from collections.abc import Iterator

from plena.lifting.structure import writes_gp
from plena.verification.rtl.rules import Breach, Evidence, rule
from plena.verification.rtl.view import ADD_IMMEDIATE, END, START, RtlView


@rule("R10", Evidence.CODE, "loops properly nested, four deep at most, with counters of their own")
def nesting(view: RtlView) -> Iterator[Breach]:
    code, build = view.code, view.build
    open_loops: list[int] = []
    for pc, op in enumerate(code.op):
        register = code.rd[pc]
        if op == START:
            if not register:
                yield Breach(pc, "gp0 cannot count", "counter")
            if any(code.rd[start] == register for start in open_loops):
                yield Breach(pc, f"gp{register} counts an open loop: this start is ignored", "counter")
            if not 1 <= code.imm[pc] <= build.most_trips:
                yield Breach(pc, f"a trip count is 1 .. {build.most_trips}", "count")
            open_loops.append(pc)
            if len(open_loops) > build.loop_depth:
                yield Breach(pc, f"loops nest {build.loop_depth} deep: this start is ignored, its end is not")
        elif op == END:
            if not open_loops:
                yield Breach(pc, "no loop is open")
            elif code.rd[open_loops.pop()] != register:
                yield Breach(pc, "it ends the innermost loop, whose counter is another register", "counter")
    for pc in open_loops:
        yield Breach(pc, "the loop is never closed")


@rule("R11", Evidence.DOCUMENT, "loops two deep at most, with an S_ADDI_INT as last instruction", warns=True)
def proven_loops(view: RtlView) -> Iterator[Breach]:
    ops, depth = view.code.op, 0
    for pc, op in enumerate(ops):
        if op == START:
            depth += 1
            if depth == view.build.proven_loop_depth + 1:
                yield Breach(pc, f"no passing workload nests more than {view.build.proven_loop_depth} deep")
        elif op == END:
            depth -= 1
            if pc and ops[pc - 1] not in (ADD_IMMEDIATE, END):
                yield Breach(pc, "the instruction before it may be lost: end the body with an S_ADDI_INT")


@rule("R12", Evidence.CODE, "no instruction writes the counter of an open loop")
def counters(view: RtlView) -> Iterator[Breach]:
    code, table = view.code, writes_gp()
    open_loops: list[int] = []
    for pc, op in enumerate(code.op):
        if op == START:
            open_loops.append(code.rd[pc])
        elif op == END:
            if open_loops:
                open_loops.pop()
        elif table[op] and code.rd[pc] in open_loops:
            yield Breach(pc, f"gp{code.rd[pc]} counts an open loop; the hidden count goes on without it")
