"""Where in the user's model a node of the FX graph comes from."""

from __future__ import annotations

import re
from pathlib import Path
from traceback import extract_tb

import torch
from torch.fx import Node
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute

from plena.dialects.provenance import MODULE_ATTRIBUTE, NODE_ATTRIBUTE, SOURCE_ATTRIBUTE

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_MODULES = str(Path(torch.__file__).parent / "nn" / "modules")
_NOT_MODELS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


def source_line(node: Node) -> str | None:
    """`file:line` of the innermost frame outside torch and the importer that ran the node; in torch.nn if the model is
    one of its modules."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    outside = [(file, line) for file, line in frames if not file.startswith((*_NOT_MODELS, "<"))]
    inside = [(file, line) for file, line in frames if file.startswith(_MODULES)]
    found = outside or inside
    return f"{found[-1][0]}:{found[-1][1]}" if found else None


def line_of(error: BaseException) -> str | None:
    """`file:line` of the innermost frame outside torch and the compiler that an error passed through."""
    frames = [f for f in extract_tb(error.__traceback__) if not f.filename.startswith((*_NOT_MODELS, "<"))]
    called = [f for f in frames if f.name == "forward"]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if called else None


def module_path(node: Node) -> str | None:
    """The path of the innermost module that ran the node, e.g. `layers.0.self_attn.q_proj`; None for the
    root."""
    stack = node.meta.get("nn_module_stack")
    path = list(stack.values())[-1][0] if stack else ""
    return path or None


def location_attributes(node: Node) -> dict[str, Attribute]:
    """The discardable attributes that carry the node's origin: plena.node, plena.module, plena.source."""
    found = {
        NODE_ATTRIBUTE: node.name,
        MODULE_ATTRIBUTE: module_path(node),
        SOURCE_ATTRIBUTE: source_line(node),
    }
    return {key: StringAttr(text) for key, text in found.items() if text is not None}
