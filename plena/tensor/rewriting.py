"""Running patterns over a module, with errors that a user can read."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ModuleOp
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriteWalker, RewritePattern

from plena.errors import PlenaError


def rewrite(module: ModuleOp, patterns: Sequence[RewritePattern]) -> None:
    """Apply patterns until none applies."""
    _walk(PatternRewriteWalker(GreedyRewritePatternApplier(list(patterns))), module)


def rewrite_once(module: ModuleOp, pattern: RewritePattern) -> None:
    """Apply a pattern to every op that is there, in order, not to those that it makes."""
    _walk(PatternRewriteWalker(pattern, apply_recursively=False), module)


def _walk(walker: PatternRewriteWalker, module: ModuleOp) -> None:
    try:
        walker.rewrite_module(module)
    except PlenaError as error:
        # xDSL attaches a print of the module to what a pattern raises; ours say where in the model it was.
        error.__notes__ = []
        raise
