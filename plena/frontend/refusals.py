"""Refusals of operators in the FX graph: as plena.refusals, before there is IR."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import Node
from torch.utils import _pytree as pytree

from plena.dialects.refusals import UNSUPPORTED, OperatorError, bug, operator_text
from plena.errors import CompileError, PlenaError
from plena.frontend.locations import module_path, source_line
from plena.tensor.element_types import element_type


def name_of(node: Node) -> str:
    """The operator's full name, e.g. `aten.linear.default`."""
    return str(node.target) if not isinstance(node.target, str) else f"{node.op} {node.target}"


def refusal_at(node: Node, why: str | None, hint: str = UNSUPPORTED) -> OperatorError:
    """The error for an operator of the graph that cannot be imported.

    Args:
        node: the operator.
        why: what about it, None if no form of it is supported.
        hint: what to write instead.
    """
    return OperatorError(_signature(node), why, place_of(node), hint)


@contextmanager
def blamed_on_node(node: Node) -> Generator[None]:
    """What is raised inside says at which operator of the graph.

    Raises:
        OperatorError: from a CompileError that does not name it.
        CompilerBug: from any exception that is no PlenaError.
    """
    try:
        yield
    except OperatorError:
        raise
    except CompileError as error:
        raise OperatorError(
            _signature(node), error.what, place_of(node) or error.where, error.hint or UNSUPPORTED
        ) from error
    except PlenaError:
        raise
    except Exception as error:
        raise bug(error, _signature(node), place_of(node)) from error


def place_of(node: Node) -> str | None:
    """`file:line (module.path)`, whichever of it is known."""
    source, path = source_line(node), module_path(node)
    if source is None or path is None:
        return source or path
    return f"{source} ({path})"


def _signature(node: Node) -> str:
    taken = [arg for arg in pytree.tree_leaves((node.args, node.kwargs)) if isinstance(arg, Node)]
    return operator_text(name_of(node), [_types_of(arg) for arg in taken], [_types_of(node)])


def _types_of(node: Node) -> str:
    return ", ".join(_type_text(leaf) for leaf in pytree.tree_leaves(node.meta.get("val")))


def _type_text(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    element = element_type(value.dtype)
    return f"[{', '.join(map(str, value.shape))}] {element or value.dtype}"


__all__ = ["blamed_on_node", "name_of", "place_of", "refusal_at"]
