"""Running patterns over a module, with errors that a user can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
)

from plena.dialects.refusals import BlamedOn
from plena.errors import PlenaError


def rewrite(module: ModuleOp, patterns: Sequence[RewritePattern]) -> None:
    """Apply patterns until none applies."""
    _walk(PatternRewriteWalker(_Blaming(GreedyRewritePatternApplier(list(patterns)))), module)


def rewrite_once(module: ModuleOp, pattern: RewritePattern) -> None:
    """Apply a pattern to every op that is there, in order, not to those that it makes."""
    _walk(PatternRewriteWalker(_Blaming(pattern), apply_recursively=False), module)


@dataclass
class _Blaming(RewritePattern):
    """A pattern whose errors say at which operation they were raised."""

    pattern: RewritePattern

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        with BlamedOn(op):
            self.pattern.match_and_rewrite(op, rewriter)


def _walk(walker: PatternRewriteWalker, module: ModuleOp) -> None:
    try:
        walker.rewrite_module(module)
    except PlenaError as error:
        # xDSL attaches a print of the module to what a pattern raises; ours say where in the model it was.
        error.__notes__ = []
        raise
