"""`apply-loop-choices`: changes loops as somebody else chose; what `plena.compile` decided, as a pass option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop import ForOp
from plena.dialects.loop.nests import loops_in, loops_numbered, require_affine
from plena.errors import CompileError
from plena.gc_pause import without_collection
from plena.loops.dependence import Legality
from plena.loops.effects import EffectTable
from plena.loops.reorder import perfect_inner
from plena.loops.selection.apply import apply_changes
from plena.loops.selection.changes import LoopChange
from plena.machine.target import Target


@dataclass(frozen=True)
class ApplyLoopChoices(ModulePass):
    """Expands, unrolls or jams the named loops of the affine form.

    `choices`: one text a loop, inner loops before those around them; numbers are pre-order positions in the module as
    it comes. `3 expand`, `3 unroll 4` (iterations left over follow as straight code), `3 jam 2x4` (2 iterations of
    loop 3 together, then 4 of the loop inside), `3 jam 2x4 interchanged` (the two loops change places first);
    `3 expand flat`, `3 unroll 4 flat` and `3 keep flat` expand the loops inside. `select-loops` chooses by itself.

    Without choices it changes nothing.

    Before::

        builtin.module {
          loop.for %i = 0 to 4 {
            %x = loop.affine 0 + 64 * %i
            plena_isa.v_exp_v dst(%x) a(%x)
          }
        }

    After::

        builtin.module {
          loop.for %i = 0 to 4 {
            %x = loop.affine 0 + 64 * %i
            plena_isa.v_exp_v dst(%x) a(%x)
          }
        }
    """

    name = "apply-loop-choices"
    choices: tuple[str, ...] = ()

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        changes = [LoopChange.parse(text) for text in self.choices]
        loops_numbered(op, tuple(change.loop for change in changes))  # refuses loops that there are not
        numbered = list(loops_in(op))
        loops = [numbered[change.loop] for change in changes]
        _require_order(loops, changes)
        legality = Legality(EffectTable(Target.from_module(op)))
        for loop, change in zip(loops, changes, strict=True):
            require_affine(loop)
            if change.kind == "jam":
                _require_legal(loop, change, legality)
        with without_collection():
            apply_changes(op, changes)


def _require_order(loops: Sequence[ForOp], changes: Sequence[LoopChange]) -> None:
    """A changed loop is another loop: it can neither be changed again nor hold one that is to be changed.

    Raises:
        CompileError: naming the loop.
    """
    gone: set[ForOp] = set()
    for loop, change in zip(loops, changes, strict=True):
        if loop in gone:
            raise CompileError(
                f"`{change}` comes after the loop was changed",
                "apply-loop-choices",
                "Name each loop once, inner loops before those around them.",
            )
        everything = change.flat or change.kind != "keep"
        gone.update((loop, *loops_in(loop)) if everything else (loop,))


def _require_legal(loop: ForOp, change: LoopChange, legality: Legality) -> None:
    """
    Raises:
        CompileError: the nest is not perfect, or its iterations depend on each other.
    """
    perfect_inner(loop)
    permutable = legality.can_interchange(loop)
    if not permutable and (change.interchange or not legality.can_jam(loop, change.factor)):
        raise CompileError(
            f"`{change}` would change the result: iterations depend on each other",
            f"loop {change.loop}",
            "Use a smaller factor, or unroll.",
        )


__all__ = ["ApplyLoopChoices"]
