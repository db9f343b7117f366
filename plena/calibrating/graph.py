"""What the graph of a module says of a node: its operator, the module it stands in, what merely moves values."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

LINEAR: Any = torch.ops.aten.linear.default

_LAYOUT = frozenset(
    [
        "view",
        "reshape",
        "_unsafe_view",
        "transpose",
        "permute",
        "contiguous",
        "clone",
        "flatten",
        "unflatten",
        "expand",
        "unsqueeze",
        "squeeze",
        "repeat_interleave",
        "alias",
        "detach",
    ]
)
"""Operators that only move values."""


def name_of(node: Node) -> str:
    """The operator without its overload, "" of what is none."""
    packet = getattr(node.target, "overloadpacket", None)
    return getattr(packet, "__name__", "") if node.op == "call_function" else ""


def owner_of(node: Node) -> str:
    """The path of the module that an operator stands in."""
    stack = node.meta.get("nn_module_stack") or {}
    return list(stack.values())[-1][0] if stack else ""


def moves(node: Node) -> bool:
    """Whether an operator only moves values."""
    return name_of(node) in _LAYOUT


def source_of(value: Any) -> Any:
    """What computes a value that may have been moved since."""
    while isinstance(value, Node) and moves(value) and isinstance(value.args[0], Node):
        value = value.args[0]
    return value
