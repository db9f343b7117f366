"""Loop transformations on the affine form as plain functions; the passes and `select-loops` call them."""

from plena.transforms.reorder import fuse, interchange, jam
from plena.transforms.unroll import expand, peel, strip_mine, unroll

__all__ = ["expand", "fuse", "interchange", "jam", "peel", "strip_mine", "unroll"]
