"""Where operations come from: discardable attributes that every level hands down."""

MODULE_ATTRIBUTE = "plena.module"
"""The path of the submodule in the user's model."""

STEP_ATTRIBUTE = "plena.step"
"""The step of a kernel, e.g. "softmax"."""

SOURCE_ATTRIBUTE = "plena.source"
"""The line of the user's model."""

LENGTH_ATTRIBUTE = "plena.length"
"""Tiles of a very long operand: what a kernel marks with them is to be scheduled whatever their number is."""

NODE_ATTRIBUTE = "plena.node"
"""The node of the exported graph."""
