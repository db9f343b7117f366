"""Loops of the affine form: effects, dependence, and the transformations that rest on them, as plain functions."""

from plena.loops.expansion import expand, peel, strip_mine, unroll
from plena.loops.reorder import fuse, interchange, jam

__all__ = ["expand", "fuse", "interchange", "jam", "peel", "strip_mine", "unroll"]
