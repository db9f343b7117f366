"""Loops of the affine form: effects, dependence, and the transformations that rest on them."""
