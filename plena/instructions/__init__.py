"""Lowerings of tile operations to instructions in the affine form, one function per operation."""
